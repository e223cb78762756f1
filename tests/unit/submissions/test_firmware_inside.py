"""What is inside an image is recorded with its submission, beside the verdict on its signatures."""

import json
import subprocess
from pathlib import Path

import pytest

from portal.errors import VerifierFault
from portal.submissions import service as submissions
from portal.submissions.firmware import inside
from portal.submissions.firmware.service import release_of
from portal.submissions.firmware.shown_inside import shown_inside
from portal.submissions.models import SubmissionState
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk

CHECKS = (
    *("private_keys", "certificates", "test_keys", "credentials"),
    *("known_bad", "rules", "sbom", "profile"),
)


def signed(desk: Desk, payload: bytes) -> str:
    desk.key("firmware")
    return desk.firmware(payload, "2.0", desk.keys.sign("firmware", payload))


def again(desk: Desk, made: str, folder: Path) -> None:
    limits = submissions.Limits(rules_folder=folder)
    findings = submissions.examine(desk.session, desk.store, made, lambda *_: None, limits)
    submissions.record(desk.session, desk.clock, findings)


def test_a_clean_image_is_looked_through_and_accepted(desk: Desk) -> None:
    desk.key("firmware")
    made = desk.firmware(desk.keys.image("firmware", "1.0.0"), "1.0.0")
    checks = desk.checks(made)
    assert [check.id for check in checks.values()][-8:] == [f"content.{name}" for name in CHECKS]
    assert {checks[name].outcome for name in CHECKS} <= {Outcome.PASS, Outcome.NOT_APPLICABLE}
    assert desk.row(made).state is SubmissionState.ACCEPTED
    kept = json.loads(release_of(desk.session, made).report or "{}")
    assert kept["content"]["profile"]["entropy"]["buckets"]
    assert [check["id"] for check in kept["content"]["checks"]] == [f"content.{name}" for name in CHECKS]


def test_a_private_key_inside_waits_for_a_person_and_the_signature_stands(desk: Desk) -> None:
    command = ("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    key = subprocess.run(command, check=True, capture_output=True).stdout
    made = signed(desk, b"\x7fa controller\0" * 99 + key)
    checks = desk.checks(made)
    assert checks["signature"].outcome is checks["key"].outcome is Outcome.PASS
    assert checks["private_keys"].outcome is Outcome.FAIL
    assert "an unprotected private key (RSA-2048, PKCS#8)" in checks["private_keys"].reason
    assert desk.row(made).state is SubmissionState.VERIFIED
    report = release_of(desk.session, made).report or ""
    assert key.splitlines()[5].decode() not in report


def test_the_buyers_rules_count_and_wrong_ones_are_told(desk: Desk, tmp_path: Path) -> None:
    made = signed(desk, b"\x7fa controller with AT+QIOPEN in it" * 9)
    assert desk.checks(made)["rules"].outcome is Outcome.PASS
    rule = tmp_path / "radio.yar"
    rule.write_text('rule modem { meta: severity = "fail" strings: $a = "AT+QIOPEN" condition: $a }')
    again(desk, made, tmp_path)
    assert desk.checks(made)["rules"].outcome is Outcome.FAIL
    page = shown_inside(release_of(desk.session, made).report)
    assert page is not None
    [found] = next(table.rows for table in page.tables if table.title == "Found inside")
    assert (found[0].text, found[1].text) == ("the rule modem matches", "fail")
    rule.write_text("rule modem {")
    again(desk, made, tmp_path)
    found = desk.checks(made)["rules"]
    assert found.outcome is Outcome.UNREADABLE
    assert "rules radio.yar:1:" in found.reason
    assert desk.checks(made)["signature"].outcome is Outcome.PASS
    again(desk, made, tmp_path / "none")
    assert "rules folder" in desk.checks(made)["rules"].reason


def test_a_fault_of_this_look_takes_nothing_from_the_signature(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise VerifierFault("The verifier itself failed.")

    monkeypatch.setattr(inside, "examine_content", fault)
    made = signed(desk, b"\x7fa controller" * 9)
    checks = desk.checks(made)
    assert checks["signature"].outcome is Outcome.PASS
    assert checks["profile"].outcome is Outcome.UNREADABLE
    assert desk.row(made).state is SubmissionState.VERIFIED


def test_the_parts_that_an_image_lists_are_on_its_page(desk: Desk) -> None:
    parts = (
        b'{"bomFormat": "CycloneDX", "specVersion": "1.5", "components": ['
        b'{"type": "library", "name": "mbedtls", "version": "3.5.0"}]}'
    )
    made = signed(desk, b"\x7fa controller" * 9 + b"\0" + parts)
    page = shown_inside(release_of(desk.session, made).report)
    assert page is not None
    table = next(table for table in page.tables if table.title == "Parts that the image lists")
    assert [[value.text for value in row] for row in table.rows] == [["mbedtls", "3.5.0"]]


def test_what_was_found_is_laid_out_for_people(desk: Desk) -> None:
    made = signed(desk, bytes(2048) + b"GCC: (Debian 12.2.0-14) 12.2.0\0login admin:admin\0")
    shown = shown_inside(release_of(desk.session, made).report)
    assert shown is not None
    tables = {table.title: table for table in shown.tables}
    assert set(tables) == {"Found inside", "Telling strings"}
    assert tables["Found inside"].columns == ("Finding", "Level", "Offset", "Bytes")
    [row] = tables["Found inside"].rows
    assert row[0].text == 'a well-known default login ("login admin:admin")'
    assert row[1].text == "warn"
    assert [value.text for value in tables["Telling strings"].rows[0]][2] == "GCC: (Debian 12.2.0-14) 12.2.0"
    assert shown.chart.startswith("0,80.0 1,80.0 1,80.0 2,80.0 2,")
    assert "% of the file looks compressed or encrypted" in shown.summary
    assert shown_inside(None) is shown_inside("{}") is shown_inside('{"content": null}') is None
