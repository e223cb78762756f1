"""Revocation lists: only the authority's own, whole and newer one is kept; what it revokes counts no more."""

import json
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound, TooLarge
from portal.ledger.models import Entry
from portal.reassessment.service import certificates_revoked
from portal.suppliers.keys import decide_key, register_key, trust_for
from portal.suppliers.models import KeyState, RevocationList
from portal.suppliers.revocation import LIST_MAX, keep_list, list_of, stale
from portal.verification import verify_file
from tests.unit.submissions.test_firmware_beside import IMAGE
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.syntax import raw_signature


@pytest.fixture
def authority(clock):
    now = clock.now()
    return root("Release authority", start=now - timedelta(900), end=now + timedelta(900))


@pytest.fixture
def admin(make):
    return make.supplier_actor()


@pytest.fixture
def key(session, clock, admin, authority, make):
    row = register_key(
        *(session, admin, clock),
        pem=authority.pem,
        label="authority",
        purposes=["firmware"],
        options={"root": True},
    )
    reviewer = make.actor(RoleName.REVIEWER)
    typed = row.fingerprint[-8:]
    return decide_key(
        session, reviewer, clock, row.id, approve=True, fingerprint_typed=typed, note="by telephone"
    )


@pytest.fixture
def crl(clock, authority):
    def made(
        *revoked: Identity, by: Identity = authority, age: float = 1, good: float = 30, extensions=()
    ) -> bytes:
        now = clock.now()
        builder = x509.CertificateRevocationListBuilder(by.certificate.subject)
        builder = builder.last_update(now - timedelta(age)).next_update(now + timedelta(good))
        for one in revoked:
            entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, now - timedelta(age))
            builder = builder.add_revoked_certificate(entry.build())
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)

    return made


@pytest.fixture
def keep(session, clock, admin, key):
    return lambda content, actor=admin: keep_list(session, actor, clock, key.id, content)


def test_a_list_is_kept_as_pem_and_entered_in_the_ledger(session, keep, crl, key, authority, clock):
    signer = authority.issue("Signer")
    kept = keep(crl(signer))
    assert (kept.row.revoked, kept.added) == (1, 1)
    assert kept.row.pem.startswith("-----BEGIN X509 CRL-----")
    assert not stale(kept.row, clock.now())
    assert stale(kept.row, clock.now() + timedelta(31))
    entry = session.scalars(select(Entry).where(Entry.kind == "revocation_list.kept")).one()
    assert entry.subject_id == key.id
    again = keep(kept.row.pem.encode())
    assert (again.row.id, again.added) == (kept.row.id, 0)
    assert len(session.scalars(select(Entry).where(Entry.kind == "revocation_list.kept")).all()) == 1


def test_a_newer_list_takes_the_place_and_an_older_one_does_not(session, keep, crl, key, authority):
    keep(crl(age=3))
    newer = keep(crl(authority.issue("A"), authority.issue("B"), age=1))
    assert newer.added == 2
    with pytest.raises(Conflict, match="was made later"):
        keep(crl(age=2))
    row = list_of(session, key)
    assert row is not None and row.revoked == 2
    rows = session.scalars(select(RevocationList).order_by(RevocationList.number)).all()
    assert [(one.number, one.revoked) for one in rows] == [(1, 0), (2, 2)]
    bodies = session.scalars(
        select(Entry.body).where(Entry.kind == "revocation_list.kept").order_by(Entry.seq)
    )
    assert [json.loads(body)["sha256"] for body in bodies] == [one.sha256 for one in rows]


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"\x30\x00"]
)
def test_what_is_no_list_is_refused(keep, content):
    with pytest.raises(InvalidInput) as refused:
        keep(content)
    assert "one X.509 revocation list" in refused.value.problems[0].expected


def test_a_list_by_somebody_else_or_in_another_name_is_refused(keep, crl, clock):
    now = clock.now()
    twin = root("Release authority", start=now - timedelta(9), end=now + timedelta(9))
    for by in (twin, root("Another", start=now - timedelta(9), end=now + timedelta(9))):
        with pytest.raises(InvalidInput) as refused:
            keep(crl(by=by))
        assert "its key did not sign" in refused.value.problems[0].found


def test_lists_of_the_future_and_incomplete_ones_are_refused(keep, crl):
    with pytest.raises(InvalidInput) as refused:
        keep(crl(age=-1))
    assert "before now" in refused.value.problems[0].expected
    with pytest.raises(InvalidInput) as refused:
        keep(crl(extensions=[x509.DeltaCRLIndicator(1)]))
    assert "delta" in refused.value.problems[0].found


def test_a_list_that_is_too_large_is_refused(keep):
    with pytest.raises(TooLarge):
        keep(bytes(LIST_MAX + 1))


def test_only_for_authorities_that_were_not_rejected(session, keep, crl, key):
    key.options = {}
    with pytest.raises(Conflict, match="no certificate authority"):
        keep(crl())
    key.options, key.state = {"root": True}, KeyState.REJECTED
    with pytest.raises(Conflict, match="rejected"):
        keep(crl())


def test_the_suppliers_administrator_and_reviewers_may_bring_one(keep, crl, make):
    keep(crl(), make.actor(RoleName.REVIEWER))
    with pytest.raises(NotAllowed):
        keep(crl(), make.actor(RoleName.AUDITOR))
    with pytest.raises(NotFound):
        keep(crl(), make.supplier_actor(make.supplier()))


def test_what_it_revokes_counts_no_more(session, keep, crl, authority, admin, clock, tmp_path):
    now = clock.now()
    signer = authority.issue("Signer", start=now - timedelta(9), end=now + timedelta(9))
    other = authority.issue("Other", start=now - timedelta(9), end=now + timedelta(9))
    path = tmp_path / "image"
    path.write_bytes(IMAGE)

    def outcome(by: Identity) -> str:
        report = verify_file(
            path,
            trust_for(session, admin.supplier_id),
            at=now.timestamp(),
            signature=raw_signature(by.key, IMAGE, "sha256")[1],
            certificates=by.pem.encode(),
        )
        return next(check for check in report.checks if check.id == "firmware.key").outcome

    assert (outcome(signer), outcome(other)) == ("pass", "pass")
    keep(crl(signer))
    assert (outcome(signer), outcome(other)) == ("fail", "pass")


def test_what_rests_on_an_approved_authority_is_judged_again(session, clock, jobs, key):
    notice = certificates_revoked(session, clock, jobs, key, 2)
    assert notice is not None
    assert (notice.signing_key_id, notice.title) == (key.id, "Certificates revoked: authority")
    assert jobs.waiting == [("reassess", (notice.id,))]
    key.state = KeyState.PENDING
    assert certificates_revoked(session, clock, jobs, key, 2) is None
