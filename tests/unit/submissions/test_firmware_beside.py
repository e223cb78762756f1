"""What comes beside an image, a chain and a time stamp: kept as evidence and handed to the verifier."""

from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from portal.accounts.models import RoleName
from portal.errors import Conflict, InvalidInput, TooLarge
from portal.submissions import service as submissions
from portal.submissions.models import AttachmentRole
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import SigningKey
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.syntax import raw_signature, time_stamp

P, F = Outcome.PASS, Outcome.FAIL
IMAGE = b"\x01no format" + bytes(3000)


def enrol(desk: Desk, authority: Identity, *, approve: bool = True) -> SigningKey:
    key = register_key(
        *(desk.session, desk.actor, desk.clock),
        pem=authority.pem,
        label="Release authority",
        purposes=("firmware",),
        options={"root": True},
    )
    if approve:
        decide_key(
            *(desk.session, desk.make.actor(RoleName.REVIEWER), desk.clock, key.id),
            approve=True,
            fingerprint_typed=key.fingerprint[-8:],
            note="read out on the telephone",
        )
    desk.session.commit()
    return key


@pytest.fixture
def authority(desk: Desk) -> Identity:
    now = desk.clock.now()
    return root("Release authority", start=now - timedelta(900), end=now + timedelta(900))


@pytest.fixture
def signer(desk: Desk, authority: Identity) -> Identity:
    now = desk.clock.now()
    return authority.issue("Release signing", start=now - timedelta(9), end=now + timedelta(9))


def bare(signer: Identity) -> bytes:
    """A raw signature, which carries no certificate."""
    return raw_signature(signer.key, IMAGE, "sha256")[1]


def outcomes(desk: Desk, made: str) -> dict[str, Outcome]:
    return {name: check.outcome for name, check in desk.checks(made).items()}


def test_the_chain_is_kept_as_evidence_and_leads_to_the_approved_authority(
    desk: Desk, authority: Identity, signer: Identity
) -> None:
    enrol(desk, authority)
    chain = desk.put(signer.pem.encode(), "chain.pem")
    assert outcomes(desk, desk.firmware(IMAGE, "1.0", bare(signer)))["key"] is not P
    made = desk.firmware(IMAGE, "1.0", bare(signer), certificates_id=chain)
    assert outcomes(desk, made)["key"] is P
    roles = {row.role: row.evidence.filename for row in desk.row(made).attachments}
    assert roles[AttachmentRole.CERTIFICATES] == "chain.pem"


def test_a_chain_to_an_authority_that_waits_for_approval_says_so(
    desk: Desk, authority: Identity, signer: Identity
) -> None:
    enrol(desk, authority, approve=False)
    chain = desk.put(signer.pem.encode(), "chain.pem")
    checks = desk.checks(desk.firmware(IMAGE, "1.0", bare(signer), certificates_id=chain))
    assert checks["key"].outcome is not P
    assert "waits for approval" in checks["key"].reason


def test_a_time_stamp_is_kept_and_judged(desk: Desk, authority: Identity, signer: Identity) -> None:
    enrol(desk, authority)
    now = desk.clock.now()
    clock = root("Clock root", start=now - timedelta(900), end=now + timedelta(900)).issue(
        "Clock",
        usages=[ExtendedKeyUsageOID.TIME_STAMPING],
        critical_usages=True,
        start=now - timedelta(90),
        end=now + timedelta(90),
    )
    signature = bare(signer)
    token = desk.put(time_stamp(signature, clock, now - timedelta(1)), "image.tsr")
    chain = desk.put(signer.pem.encode(), "chain.pem")
    made = desk.firmware(IMAGE, "1.0", signature, certificates_id=chain, timestamp_id=token)
    # Nobody was named whose stamps count, which says nothing against this one.
    assert outcomes(desk, made)["timestamp"] is Outcome.NOT_APPLICABLE
    assert outcomes(desk, made)["key"] is P
    other = desk.put(time_stamp(b"something else", clock, now - timedelta(1)), "other.tsr")
    wrong = desk.firmware(IMAGE, "1.0", signature, certificates_id=chain, timestamp_id=other)
    assert outcomes(desk, wrong)["timestamp"] is F


def test_files_that_are_neither_are_told_and_no_pass(desk: Desk, signer: Identity) -> None:
    wrong = desk.put(b"neither", "wrong.pem")
    for given in ("certificates", "timestamp"):
        made = desk.firmware(IMAGE, "1.0", bare(signer), **{f"{given}_id": wrong})
        rows = submissions.newest_checks(desk.session, desk.row(made))
        found = {row.check_id: row.outcome for row in rows}
        assert found[f"firmware.{given}"] is Outcome.UNREADABLE
        assert desk.row(made).outcome is not P


def test_a_file_that_is_too_large_is_refused_at_once(desk: Desk, signer: Identity) -> None:
    large = desk.put(bytes(262_145), "large.pem")
    for given, words in (("certificates_id", "Certificates have"), ("timestamp_id", "A time stamp has")):
        with pytest.raises(TooLarge, match=f"{words} at most 262144 bytes"):
            desk.draft_firmware(IMAGE, "1.0", bare(signer), **{given: large})


def test_one_of_each_and_only_beside_firmware(desk: Desk, signer: Identity) -> None:
    chain = desk.put(signer.pem.encode(), "chain.pem")
    draft = desk.draft_firmware(IMAGE, "1.0", bare(signer), certificates_id=chain)
    with pytest.raises(Conflict, match="certificates already"):
        desk.attach(draft, chain, AttachmentRole.CERTIFICATES)
    with pytest.raises(InvalidInput):
        desk.attach(desk.draft_lot(b"{}"), chain, AttachmentRole.TIMESTAMP)


def test_a_later_run_judges_with_the_same_files(desk: Desk, authority: Identity, signer: Identity) -> None:
    enrol(desk, authority)
    chain = desk.put(signer.pem.encode(), "chain.pem")
    made = desk.firmware(IMAGE, "1.0", bare(signer), certificates_id=chain)
    limits = submissions.Limits()
    findings = submissions.examine(desk.session, desk.store, made, lambda *_: None, limits)
    submissions.record(desk.session, desk.clock, findings)
    desk.session.commit()
    assert desk.row(made).run == 2
    assert outcomes(desk, made)["key"] is P
