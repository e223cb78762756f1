"""Receipts: from the portal to another machine, where they are checked without it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from portal.adapters.keys import MemoryFile
from portal.cli.main import main
from portal.ledger import logs
from portal.ledger.leaves import Opening
from portal.ledger.models import Entry
from portal.ledger.notes import Checkpoint
from portal.ledger.proofs import Proof
from portal.ledger.tree import EMPTY, tile_path, tile_width
from tests.factories import Make
from tests.unit.api.conftest import Machine
from tests.unit.api.conftest import machine as machine  # noqa: PLC0414
from tests.unit.ledger.conftest import Ledger

CONTENT = b"what the supplier delivered"


class Home:
    """A folder at home with what was taken along."""

    def __init__(self, folder: Path, ledger: Ledger, receipt: str) -> None:
        self.receipt, self.policy, self.file = folder / "r.tlog-proof", folder / "policy", folder / "file.bin"
        self.receipt.write_text(receipt)
        keys = ledger.signer.verifier_keys()
        self.policy.write_text("".join(f"log {key}\n" for key in keys) + "quorum none\n")
        self.file.write_bytes(CONTENT)

    def check(self, *more: str) -> Result:
        line = ["verify-receipt", str(self.receipt), "--policy", str(self.policy), *more]
        return CliRunner().invoke(main, line)


@pytest.fixture
def home(ledger: Ledger, machine: Machine, tmp_path: Path) -> Home:
    evidence_id = machine.send(CONTENT)
    assert machine.get(f"/evidence/{evidence_id}/receipt").status_code == 409  # it waits
    ledger.publish()
    told = machine.get(f"/evidence/{evidence_id}/receipt").get_json()
    assert told["origin"] == ledger.signer.origin
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder, ledger, told["proof"])


def test_a_receipt_is_checked_at_home(home: Home) -> None:
    done = home.check("--file", str(home.file))
    assert done.exit_code == 0, done.output
    assert done.output.count("ok  ") == 4
    assert hashlib.sha256(CONTENT).hexdigest() in done.output
    told = json.loads(home.check("--json").output)
    assert told["holds"] is True
    assert told["entry"]["kind"] == "evidence.accepted"


def test_a_receipt_for_other_bytes_is_refused(home: Home) -> None:
    home.file.write_bytes(CONTENT + b"!")
    done = home.check("--file", str(home.file))
    assert done.exit_code == 1
    assert "NOT the receipt is for other bytes" in done.output


def test_the_text_of_another_entry_is_refused(home: Home) -> None:
    """Replayed: a proof that holds, with the text of something that was never logged."""
    proof = Proof.parse(home.receipt.read_text())
    opening = Opening.load(proof.extra)
    forged = replace(opening, body=opening.body.replace("evidence.accepted", "decision.made"))
    home.receipt.write_text(str(replace(proof, extra=forged.dump())))
    done = home.check()
    assert done.exit_code == 1
    assert "does not lead to the root" in done.output


def test_a_log_that_the_policy_does_not_name_is_refused(home: Home) -> None:
    home.policy.write_text("quorum none\n")
    done = home.check()
    assert done.exit_code == 1
    assert "is not signed by any known log" in done.output


def test_a_quorum_that_is_not_met_is_refused(home: Home, ledger: Ledger) -> None:
    witness = replace(ledger.signer.verifier_keys()[1], name="witness.example", key=bytes(1312))
    home.policy.write_text(home.policy.read_text().replace("quorum none", f"witness w {witness}\nquorum w"))
    done = home.check()
    assert done.exit_code == 1
    assert "its quorum asks for others" in done.output


def test_what_is_no_text_is_refused(home: Home) -> None:
    home.receipt.write_bytes(b"\xff\xfe")
    done = home.check()
    assert (done.exit_code, done.output.startswith("NOT ")) == (1, True)


def test_another_supplier_gets_no_receipt(ledger: Ledger, machine: Machine, make: Make) -> None:
    evidence_id = machine.send(CONTENT)
    ledger.publish()
    other = make.supplier("Other")
    make.session.commit()
    assert other.id != machine.supplier.id
    entry = ledger.session.scalars(select(Entry).where(Entry.subject_id == evidence_id)).one()
    assert logs.log_of(ledger.session, entry) is not None
    assert machine.get(f"/evidence/{'0' * 32}/receipt").status_code == 404


def test_without_a_log_nobody_is_told_to_wait(machine: Machine) -> None:
    answer = machine.get(f"/evidence/{machine.send(CONTENT)}/receipt")
    assert answer.status_code == 409
    assert "no transparency log is open" in answer.text


# --- Old receipts and newer checkpoints --------------------------------------------------------------


def served(ledger: Ledger, folder: Path) -> Path:
    """The log as files, as somebody who copied it has them."""
    log = ledger.log
    (folder / "checkpoint").parent.mkdir(parents=True, exist_ok=True)
    (folder / "checkpoint").write_text(logs.checkpoint(ledger.session, log).note)
    for level in range(2):
        number = 0
        while width := tile_width(log.head, level, number):
            path = folder / tile_path(level, number, width)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(logs.tile(ledger.session, log, level, number, width))
            number += 1
    return folder


@pytest.mark.parametrize("more", [1, 255, 300, 1000])
def test_an_old_receipt_is_part_of_today_s_log(home: Home, ledger: Ledger, tmp_path: Path, more: int) -> None:
    ledger.add(more)
    ledger.publish()
    folder = served(ledger, tmp_path / "log")
    done = home.check("--tiles", str(folder))
    assert done.exit_code == 0, done.output
    assert f"The log of {more + 1:,} entries continues that of 1" in done.output
    ledger.add(5)
    ledger.publish()
    (tmp_path / "newest").write_text(logs.checkpoint(ledger.session, ledger.log).note)
    newer = home.check("--newer", str(tmp_path / "newest"), "--tiles", str(served(ledger, folder)))
    assert newer.exit_code == 0, newer.output


def test_a_log_that_was_rewritten_does_not_continue_the_receipt_s(
    home: Home, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.add(30)
    ledger.publish()
    folder = served(ledger, tmp_path / "log")
    tile = folder / tile_path(0, 0, 31)
    tile.write_bytes(tile.read_bytes()[:64] + bytes(32) + tile.read_bytes()[96:])
    done = home.check("--tiles", str(folder))
    assert done.exit_code == 1
    assert "history was rewritten" in done.output


def test_two_logs_of_one_size_are_a_fork(home: Home, ledger: Ledger, tmp_path: Path) -> None:
    """The same keys signed another history of the same length: for a second portal, or after a restore."""
    ledger.add(30)
    ledger.publish()
    entry = home.receipt.read_text()
    home.receipt.write_text(str(ledger.receipt(0)))
    other = Checkpoint(ledger.signer.origin, 31, bytes(32))
    tree = SimpleNamespace(size=31, root=lambda: other.root, consistency=lambda _: [])
    forked = replace(ledger.signer, memory=MemoryFile(tmp_path / "forked" / "signed"))
    with forked.memory.hold():
        forked.memory.keep(replace(other, size=0, root=EMPTY))
    folder = served(ledger, tmp_path / "log")
    (folder / "checkpoint").write_text(str(forked.sign(tree, ledger.clock)))  # type: ignore[arg-type]
    done = home.check("--tiles", str(folder))
    assert done.exit_code == 1
    assert "two different logs of 31 entries: history was rewritten" in done.output
    home.receipt.write_text(entry)  # a longer log is held against it too
    assert "history was rewritten" in home.check("--tiles", str(folder)).output


def test_an_older_checkpoint_is_no_newer_one(home: Home, ledger: Ledger, tmp_path: Path) -> None:
    old = served(ledger, tmp_path / "old")
    ledger.add(10)
    ledger.publish()
    home.receipt.write_text(str(ledger.receipt(0)))
    done = home.check("--tiles", str(old))
    assert done.exit_code == 1
    assert "the other checkpoint is older" in done.output


def test_a_place_without_the_log_is_told(home: Home, tmp_path: Path) -> None:
    for place, said in (("nowhere", "the address of a log or a folder"), (str(tmp_path), "cannot be read")):
        done = home.check("--tiles", place)
        assert done.exit_code == 1
        assert said in done.output
    assert home.check("--newer", str(home.policy)).exit_code == 2
