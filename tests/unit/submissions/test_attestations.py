"""Attestations by securesystemslib about the units of a lot: every check, and what they do to the lot."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from portal.submissions import service as submissions
from portal.submissions.attestations.models import AttestationFailure
from portal.submissions.attestations.service import batch_of
from portal.submissions.lots.models import Unit
from portal.submissions.models import SubmissionState
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk, NewDesk, a_unit, statement

P, F, N, UNREADABLE = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN, Outcome.UNREADABLE
UNITS = [a_unit("SN-1"), a_unit("SN-2"), a_unit("SN-3")]


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    """A supplier with a key for attestations, whose product has limits and no firmware."""
    desk = new_desk(components=())
    desk.product.limits = {"capacity_ah": {"min": 100}}
    desk.session.commit()
    desk.key("attest", ("attestation",))
    return desk


@pytest.fixture
def lot(desk: Desk) -> str:
    return desk.lot(desk.manifest("SN-1", "SN-2", "SN-3"))


def line(desk: Desk, unit: dict[str, Any], key: str = "attest") -> bytes:
    return desk.envelopes(key, [unit])


def outcomes(desk: Desk, submission_id: str) -> tuple[Outcome, ...]:
    found = desk.checks(submission_id)
    return tuple(found[name].outcome for name in ("readable", "signature", "subject"))


def attested(desk: Desk, lot: str) -> Outcome:
    return desk.checks(lot)["attested"].outcome


def failures(desk: Desk, submission_id: str) -> dict[int, Outcome]:
    rows = select(AttestationFailure).where(AttestationFailure.submission_id == submission_id)
    return {row.line: row.outcome for row in desk.session.scalars(rows)}


def test_all_units_attested_completes_the_lot(desk: Desk, lot: str) -> None:
    assert attested(desk, lot) is N
    made = desk.attest(lot, desk.envelopes("attest", UNITS))
    assert outcomes(desk, made) == (P, P, P)
    assert desk.row(made).state is SubmissionState.ACCEPTED
    assert attested(desk, lot) is P
    assert (desk.row(lot).run, desk.row(lot).outcome, desk.row(lot).state) == (2, P, SubmissionState.ACCEPTED)
    lines = select(Unit.attested_line).where(Unit.attested_by == made).order_by(Unit.position)
    assert desk.session.scalars(lines).all() == [1, 2, 3]


def test_a_unit_without_attestation_is_named_and_a_second_file_completes_the_lot(
    desk: Desk, lot: str
) -> None:
    desk.attest(lot, desk.envelopes("attest", UNITS[:2]))
    found = desk.checks(lot)["attested"]
    assert found.outcome is F
    assert "1 of 3 units have no valid attestation: SN-3" in found.reason
    desk.attest(lot, line(desk, UNITS[2]))
    assert attested(desk, lot) is P


def with_member(name: str, value: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda envelope: json.dumps(envelope | {name: value}).encode()


def altered(envelope: dict[str, Any]) -> bytes:
    """The payload changed by one letter after it was signed."""
    payload = base64.b64decode(envelope["payload"]).replace(b'"passed"', b'"Passed"')
    return json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}).encode()


def flipped(envelope: dict[str, Any]) -> bytes:
    signature = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    signature[5] ^= 1
    signatures = [envelope["signatures"][0] | {"sig": base64.b64encode(signature).decode()}]
    return json.dumps(envelope | {"signatures": signatures}).encode()


@pytest.mark.parametrize(
    ("spoil", "outcome"),
    [
        (altered, F),
        (flipped, F),
        (with_member("payloadType", "text/plain"), UNREADABLE),
        (with_member("signatures", []), UNREADABLE),
        (with_member("payload", "!!!"), UNREADABLE),
        (with_member("payload", None), UNREADABLE),
        (lambda envelope: json.dumps(envelope).encode()[:-30], UNREADABLE),
        (lambda _: b"", UNREADABLE),
        (lambda _: b"\xff\xfe", UNREADABLE),
        (lambda _: b"[" * 100_000, UNREADABLE),
    ],
    ids=[
        *("altered", "a flipped bit", "another payload type", "no signature", "broken base64", "no payload"),
        *("truncated", "an empty line", "no UTF-8", "deep"),
    ],
)
def test_a_spoiled_line_covers_nothing_and_is_kept_with_its_number(
    desk: Desk, lot: str, spoil: Callable[[dict[str, Any]], bytes], outcome: Outcome
) -> None:
    bad = spoil(desk.keys.envelope("attest", statement(UNITS[1])))
    made = desk.attest(lot, line(desk, UNITS[0]) + bad + b"\n" + line(desk, UNITS[2]))
    assert failures(desk, made) == {2: outcome}
    assert desk.row(made).outcome is outcome
    failing = desk.checks(made)["signature" if outcome is F else "readable"]
    assert failing.outcome is outcome
    assert "line 2" in failing.reason
    assert desk.checks(lot)["attested"].reason.endswith("SN-2.")


@pytest.mark.parametrize("data", [b"\n", b"\n\n", b"not json\n", b"{}"])
def test_a_file_without_any_attestation(desk: Desk, lot: str, data: bytes) -> None:
    made = desk.attest(lot, data)
    assert desk.row(made).outcome is UNREADABLE
    assert attested(desk, lot) is N


def test_a_statement_signed_under_another_payload_type_is_none(desk: Desk, lot: str) -> None:
    """The signature is good, but over words that were never said to be a statement."""
    envelope = desk.keys.envelope("attest", statement(UNITS[0]), "application/json")
    made = desk.attest(lot, json.dumps(envelope).encode())
    assert failures(desk, made) == {1: UNREADABLE}
    assert attested(desk, lot) is N
    relabelled = envelope | {"payloadType": "application/vnd.in-toto+json"}
    assert failures(desk, desk.attest(lot, json.dumps(relabelled).encode())) == {1: F}
    assert attested(desk, lot) is N


def test_two_signatures_by_one_key_count_once(desk: Desk, lot: str) -> None:
    envelope = desk.keys.envelope("attest", statement(UNITS[0]))
    envelope["signatures"] *= 2
    made = desk.attest(lot, json.dumps(envelope).encode())
    desk.session.expire_all()
    batch = batch_of(desk.session, made)
    assert (batch.total, batch.passed, batch.failed, batch.unreadable) == (1, 1, 0, 0)
    covered = select(Unit.serial).where(Unit.attested_by == made)
    assert desk.session.scalars(covered).all() == ["SN-1"]


@pytest.mark.parametrize(
    "about", [a_unit("SN-9"), a_unit("SN-1", ocv_v=3.4)], ids=["another unit", "other values"]
)
def test_a_valid_attestation_about_other_data(desk: Desk, lot: str, about: dict[str, Any]) -> None:
    made = desk.attest(lot, line(desk, about))
    assert outcomes(desk, made) == (P, P, F)
    assert batch_of(desk.session, made).unmatched == 1
    assert f"{about['serial']} (line 1)" in desk.checks(made)["subject"].reason
    assert attested(desk, lot) is N


def test_keys_that_do_not_count(desk: Desk, lot: str) -> None:
    desk.key("firmware", ("firmware",))
    waiting = desk.key("waiting", approve=None)
    for name, words in (("unknown", "do not verify"), ("firmware", "do not verify"), ("waiting", "waits")):
        made = desk.attest(lot, line(desk, UNITS[0], name))
        found = desk.checks(made)["signature"]
        assert found.outcome is F
        assert words in found.reason
    assert waiting.fingerprint[-8:] in found.reason
    assert attested(desk, lot) is N


def test_verified_again_nothing_is_counted_twice(desk: Desk, lot: str) -> None:
    made = desk.attest(lot, desk.envelopes("attest", UNITS[:2]) + b"rubbish\n")
    for _ in range(2):
        submissions.verify(desk.session, desk.clock, desk.store, made, lambda *_: None)
        desk.session.commit()
    batch = batch_of(desk.session, made)
    assert (batch.total, batch.passed, batch.unreadable, desk.row(made).run) == (3, 2, 1, 3)
    assert desk.row(lot).run == 2  # nothing changed for the lot since


def test_withdrawn_attestations_cover_nothing_any_more(desk: Desk, lot: str) -> None:
    made = desk.attest(lot, desk.envelopes("attest", UNITS[:2]) + b"rubbish\n")
    submissions.withdraw(desk.session, desk.actor, desk.clock, desk.jobs, made)
    desk.session.commit()
    desk.session.expire_all()
    assert attested(desk, lot) is N
    assert desk.row(lot).run == 3
