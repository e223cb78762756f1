"""The demo by its own command: what is found about each supplier, reports, and that fsck sees tampering."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from tests.journeys.commands import lotgate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),  # the demo itself, beside other tests
    pytest.mark.xdist_group("demo"),
]

SUPPLIERS = {
    "Nordhaven Cells": ("approvable", "approved", "closed"),
    "Kestrel UPS": ("high_risk", "new", "open"),
    "Aldgate BMS": ("high_risk", "new", "open"),
    "Lumen Rack": ("conditional", "new", "open"),
    "Ostrava Pack": ("high_risk", "new", "open"),
    "Tamar Storage": ("conditional", "new", "open"),
    "Brightwater Power": ("conditional", "approved", "open"),
    "Fenwick Energy": ("high_risk", "approved", "open"),
}
NOT_SIGNED = {
    "firmware.signed": "fail",
    "firmware.signature": "not_run",
    "firmware.key": "not_run",
    "firmware.algorithm": "not_run",
}
NOT_PASSED = {
    "Nordhaven Cells": {},
    "Kestrel UPS": NOT_SIGNED,
    "Aldgate BMS": {"firmware.lineage": "fail"},
    "Lumen Rack": {"firmware.rollback": "fail"},
    "Ostrava Pack": {"lot.serials_new": "fail"},
    "Tamar Storage": {"lot.attested": "fail", "attestations.signature": "fail"},
    "Brightwater Power": {},
    "Fenwick Energy": {"firmware.key": "fail"},
}


@dataclass(frozen=True)
class Played:
    """A demo that was played: its folder and what it printed."""

    var: Path
    found: dict[str, Any]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.var / 'lotgate.db'}?mode=ro", uri=True) as database:
            return database.execute(query, values).fetchall()


def last_object(text: str) -> dict[str, Any]:
    """The JSON object that ends `text`; whatever a build printed before it is passed over."""
    found = json.loads(text[text.rindex("\n{\n") if "\n{\n" in text else text.index("{") :])
    assert isinstance(found, dict)
    return found


def play(var: Path) -> Played:
    done = lotgate(var, "demo", "--no-serve", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return Played(var, last_object(done.stdout))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(tmp_path_factory.mktemp("demo") / "var")


def why(demo: Played, supplier: str) -> str:
    return "\n".join(demo.found["findings"][supplier]["why"])


# --- What is found --------------------------------------------------------------------------------


def test_every_supplier_is_rated_and_stands_as_the_table_says(demo: Played) -> None:
    assert demo.found["suppliers"] == list(SUPPLIERS)
    stood = {
        name: (
            demo.found["ratings"][name],
            demo.found["standings"][name],
            demo.found["findings"][name]["case"],
        )
        for name in SUPPLIERS
    }
    assert stood == SUPPLIERS


@pytest.mark.parametrize("supplier", NOT_PASSED)
def test_exactly_the_decisive_checks_do_not_pass(demo: Played, supplier: str) -> None:
    assert demo.found["findings"][supplier]["checks"] == NOT_PASSED[supplier]


def test_what_is_counted_is_what_is_in_the_database(demo: Played) -> None:
    checks = dict(
        demo.rows(
            "select check_id, count(*) from checks join submissions on submissions.id = submission_id"
            " where checks.run = submissions.run group by 1"
        )
    )
    assert {name: sum(counts.values()) for name, counts in demo.found["checks"].items()} == checks
    kinds = dict(demo.rows("select kind, count(*) from submissions group by 1"))
    assert {kind: sum(counts.values()) for kind, counts in demo.found["submissions"].items()} == kinds
    assert demo.found["cases"] == dict(demo.rows("select state, count(*) from cases group by 1"))
    assert demo.found["seconds"] >= sum(step["seconds"] for step in demo.found["steps"]) * 0.9


def test_nordhaven_has_2000_attested_units_and_two_different_approvers(demo: Played) -> None:
    units = demo.rows(
        "select count(*), count(attested_by) from units join suppliers on suppliers.id = units.supplier_id"
        " where suppliers.name = 'Nordhaven Cells'"
    )
    assert units == [(2000, 2000)]
    first, second = demo.rows(
        "select decisions.id, decided_by, kind, seconds_id, effective from decisions"
        " join suppliers on suppliers.id = decisions.supplier_id"
        " where suppliers.name = 'Nordhaven Cells' order by decided_at"
    )
    assert (first[2], second[2]) == ("approve", "approve")
    assert first[1] != second[1]
    assert second[3] == first[0]
    assert (first[4], second[4]) == (0, 1)


def test_kestrel_is_told_that_encryption_proves_nothing(demo: Played) -> None:
    assert "encrypted but not signed" in why(demo, "Kestrel UPS")
    (result,) = demo.rows(
        "select result from assessments join suppliers on suppliers.id = assessments.supplier_id"
        " where suppliers.name = 'Kestrel UPS' order by number desc limit 1"
    )[0]
    assert "FW-01" in {row["control_id"] for row in json.loads(result)["knock_outs"]}


def test_lumen_rack_is_refused_though_its_signature_is_valid(demo: Played) -> None:
    rows = demo.rows(
        "select check_id, checks.outcome from checks join submissions on submissions.id = submission_id"
        " join suppliers on suppliers.id = checks.supplier_id"
        " where suppliers.name = 'Lumen Rack' and submissions.title like '%3.1.4%'"
    )
    checks = dict(rows)
    assert checks["firmware.signature"] == checks["firmware.key"] == "pass"
    assert checks["firmware.rollback"] == "fail"
    assert "3.1.4" in why(demo, "Lumen Rack")
    assert "3.2.0" in why(demo, "Lumen Rack")


def test_ostrava_is_not_told_whose_serials_they_are(demo: Played) -> None:
    reasons = why(demo, "Ostrava Pack")
    assert reasons.startswith("40 serials were delivered before")
    assert "NHC26000500" in reasons
    assert [name for name in SUPPLIERS if name.split()[0] in reasons] == []


def test_tamar_is_told_each_line_and_each_unit(demo: Played) -> None:
    failed = demo.rows(
        "select line from attestation_failures join suppliers on suppliers.id = supplier_id"
        " where suppliers.name = 'Tamar Storage' order by line"
    )
    assert [line for (line,) in failed] == [121, 456, 872]
    assert "line 121, 456, 872" in why(demo, "Tamar Storage")
    for serial in ("TSM000121", "TSM000456", "TSM000872", "TSM001001"):
        assert serial in why(demo, "Tamar Storage")


@pytest.mark.parametrize(
    ("supplier", "kind", "now", "control"),
    [
        ("Brightwater Power", "bom", "conditional", "CMP-04"),
        ("Fenwick Energy", "key", "high_risk", "FW-02"),
    ],
)
def test_a_change_after_approval_opens_a_case_with_the_difference(
    demo: Played, supplier: str, kind: str, now: str, control: str
) -> None:
    ((told, difference, material, before, after, case),) = demo.rows(
        "select change_notices.kind, difference, material, was.rating, now.rating, cases.state"
        " from reassessments join change_notices on change_notices.id = change_notice_id"
        " join assessments was on was.id = before_id join assessments now on now.id = after_id"
        " join cases on cases.id = case_id"
        " join suppliers on suppliers.id = reassessments.supplier_id where suppliers.name = ?",
        supplier,
    )
    found = json.loads(difference)
    assert (told, material, before, after, case) == (kind, 1, "approvable", now, "open")
    assert (found["rating_was"], found["rating_now"]) == ("approvable", now)
    assert control in {row["control_id"] for row in found["controls"]}
    cases = demo.rows(
        "select state from cases join suppliers on suppliers.id = supplier_id where name = ? order by number",
        supplier,
    )
    assert [state for (state,) in cases] == ["closed", "open"]


@pytest.mark.parametrize("supplier", SUPPLIERS)
def test_each_supplier_has_a_report_that_can_be_read(demo: Played, supplier: str) -> None:
    stem = supplier.lower().replace(" ", "-")
    (row,) = [row for row in demo.found["reports"] if Path(row["path"]).stem == stem]
    pages = PdfReader(row["path"]).pages
    assert len(pages) == row["pages"]
    text = " ".join(page.extract_text() for page in pages)
    assert supplier in text
    assert demo.found["ratings"][supplier].replace("_", " ") in text.lower()


# --- A second run, and other data -----------------------------------------------------------------


def counts(demo: Played) -> dict[str, int]:
    tables = demo.rows(
        "select name from sqlite_master where type = 'table' and name not like 'dbos%'"
        " and name not in ('workflow_status', 'operation_outputs', 'account_events', 'worker_hosts')"
    )
    return {name: demo.rows(f'select count(*) from "{name}"')[0][0] for (name,) in tables}


def test_a_second_run_makes_new_passwords_and_nothing_else(demo: Played) -> None:
    before, passwords = counts(demo), demo.rows("select password from users order by id")
    again = play(demo.var)
    assert counts(demo) == before
    assert not set(passwords) & set(demo.rows("select password from users order by id"))
    assert [step["name"] for step in again.found["steps"]] == ["new passwords", "reports"]
    told = ("suppliers", "submissions", "checks", "ratings", "standings", "cases", "findings", "reports")
    assert {name: again.found[name] for name in told} == {name: demo.found[name] for name in told}


def test_other_data_is_never_touched(tmp_path: Path) -> None:
    var = tmp_path / "var"
    made = lotgate(var, "users", "add", "--email", "a@b.example", "--name", "A", "--role", "administrator")
    assert made.returncode == 0, made.stderr
    for option in ((), ("--fresh",)):
        refused = lotgate(var, "demo", "--no-serve", *option)
        assert refused.returncode != 0
        assert "other data" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert Played(var, {}).rows("select email from users") == [("a@b.example",)]


# --- fsck -----------------------------------------------------------------------------------------


def test_fsck_finds_nothing_wrong(demo: Played) -> None:
    done = lotgate(demo.var, "fsck")
    assert done.returncode == 0, done.stdout + done.stderr


def change(var: Path, statement: str, *values: object) -> None:
    """One statement past the triggers that keep tables append-only, as somebody with the file does it."""
    with sqlite3.connect(var / "lotgate.db") as database:
        for (name,) in database.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            database.execute(f'drop trigger "{name}"')
        assert database.execute(statement, values).rowcount == 1


def one(var: Path, query: str) -> str:
    return str(Played(var, {}).rows(query)[0][0])


def some_blob(var: Path) -> tuple[str, Path]:
    digest = one(var, "select sha256 from evidence where filename like '%.signed.bin' order by sha256")
    return digest, var / "evidence" / "sha256" / digest[:2] / digest[2:4] / digest


def flip_a_byte(var: Path) -> str:
    digest, path = some_blob(var)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    return digest


def delete_a_blob(var: Path) -> str:
    digest, path = some_blob(var)
    path.unlink()
    return digest


def edit_an_entry(var: Path) -> str:
    seq = one(var, "select seq from ledger_entries where kind = 'decision.made'")
    body = one(var, f"select body from ledger_entries where seq = {seq}")
    changed = body.replace('"approve"', '"reject"')
    assert changed != body
    change(var, "update ledger_entries set body = ? where seq = ?", changed, seq)
    return f"ledger entry {seq}"


def delete_an_entry(var: Path) -> str:
    seq = int(one(var, "select seq from ledger_entries where kind = 'check.recorded'"))
    change(var, "delete from ledger_entries where seq = ?", seq)
    return f"ledger entry {seq + 1}"


def delete_the_last_entry(var: Path) -> str:
    subject = one(var, "select subject_id from ledger_entries order by seq desc limit 1")
    change(var, "delete from ledger_entries where seq = (select max(seq) from ledger_entries)")
    return subject


def whitewash_a_check(var: Path) -> str:
    check = one(var, "select id from checks where outcome = 'fail'")
    change(var, "update checks set outcome = 'pass' where id = ?", check)
    return check


def change_a_size(var: Path) -> str:
    evidence = one(var, "select id from evidence")
    change(var, "update evidence set size = size + 1 where id = ?", evidence)
    return evidence


def raise_a_rating(var: Path) -> str:
    assessment = one(var, "select id from assessments where rating = 'high_risk'")
    change(var, "update assessments set rating = 'approvable' where id = ?", assessment)
    return assessment


def hand_to_another_supplier(var: Path) -> str:
    evidence, owner = Played(var, {}).rows("select id, supplier_id from evidence")[0]
    change(
        var,
        "update evidence set supplier_id = (select id from suppliers where id <> ?) where id = ?",
        owner,
        evidence,
    )
    return str(evidence)


@pytest.mark.parametrize(
    "tamper",
    [
        flip_a_byte,
        delete_a_blob,
        edit_an_entry,
        delete_an_entry,
        delete_the_last_entry,
        whitewash_a_check,
        change_a_size,
        raise_a_rating,
        hand_to_another_supplier,
    ],
)
def test_fsck_names_what_was_tampered_with(
    demo: Played, tmp_path: Path, tamper: Callable[[Path], str]
) -> None:
    var = tmp_path / "var"
    shutil.copytree(demo.var, var, ignore=shutil.ignore_patterns("demo", "reports"))
    named = tamper(var)
    done = lotgate(var, "fsck", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert not told["clean"]
    assert [fault for fault in told["faults"] if named in fault["where"]], told["faults"]


# --- Bundles --------------------------------------------------------------------------------------


def test_a_bundle_of_a_decided_case_is_verified_without_the_portal(demo: Played, tmp_path: Path) -> None:
    """With thousands of attestations, and a key that is distrusted by now."""
    for supplier in ("Nordhaven Cells", "Fenwick Energy"):
        ((number,),) = demo.rows(
            "select c.number from cases c join suppliers s on s.id = c.supplier_id "
            "where s.name = ? and c.state = 'closed'",
            supplier,
        )
        bundle = tmp_path / f"{number}.zip"
        made = lotgate(demo.var, "bundle", f"case:{number}", "-o", str(bundle))
        assert made.returncode == 0, made.stderr
        done = lotgate(tmp_path / "elsewhere", "verify-bundle", str(bundle), "--json")
        told = json.loads(done.stdout)
        assert told["holds"], told
        assert done.returncode == 3  # by its own keys: nobody gave a policy
        assert told["own_policy"]
        assert [text for text in told["steps"] if text.startswith("Verified again: 1 signed file and ")]
