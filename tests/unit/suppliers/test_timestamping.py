"""Time-stamp authorities: added and removed by an administrator, believed for every supplier's evidence."""

from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.errors import InvalidInput, NotAllowed, NotFound
from portal.ledger.models import Entry
from portal.ledger.service import verify_chain
from portal.suppliers import timestamping
from portal.suppliers.keys import trust_for
from portal.verification import verify_file
from tests.unit.verification.authority import root
from tests.unit.verification.syntax import time_stamp


@pytest.fixture
def anchor(clock):
    now = clock.now()
    return root("Clock root", start=now - timedelta(900), end=now + timedelta(900))


@pytest.fixture
def administrator(make):
    return make.actor(RoleName.ADMINISTRATOR)


@pytest.fixture
def add(session, administrator, clock, anchor):
    def call(label="clock", pem=anchor.pem, actor=administrator):
        return timestamping.add_authority(session, actor, clock, label=label, pem=pem)

    return call


def test_it_is_kept_with_its_validity_and_in_the_ledger(session, add, anchor, clock):
    row = add(" clock ")
    assert (row.label, row.subject) == ("clock", anchor.subject)
    assert row.not_after == anchor.certificate.not_valid_after_utc
    entry = session.scalars(select(Entry).where(Entry.kind == "timestamp_authority.added")).one()
    assert entry.subject_id == row.id
    assert list(verify_chain(session)) == []


@pytest.mark.parametrize(
    "pem", ["", "no certificate", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_what_is_no_certificate_is_refused(add, pem):
    with pytest.raises(InvalidInput):
        add(pem=pem)


def test_a_name_or_a_key_twice_is_refused(add, clock):
    add()
    with pytest.raises(InvalidInput) as refused:
        add("another")
    assert refused.value.problems[0].where == "pem"
    now = clock.now()
    with pytest.raises(InvalidInput) as refused:
        add(pem=root("Other", start=now - timedelta(1), end=now + timedelta(1)).pem)
    assert refused.value.problems[0].where == "label"


def test_only_an_administrator_decides_whom_to_believe(add, make, session, clock):
    for role in (RoleName.REVIEWER, RoleName.AUDITOR):
        with pytest.raises(NotAllowed):
            add(actor=make.actor(role))
    with pytest.raises(NotAllowed):
        add(actor=make.supplier_actor())
    with pytest.raises(NotFound):
        timestamping.remove_authority(session, make.actor(RoleName.ADMINISTRATOR), clock, "0" * 32)


def test_its_stamps_count_until_it_is_removed(session, add, anchor, administrator, clock, make, tmp_path):
    now = clock.now()
    stamping = anchor.issue(
        "Clock",
        usages=[ExtendedKeyUsageOID.TIME_STAMPING],
        critical_usages=True,
        start=now - timedelta(90),
        end=now + timedelta(90),
    )
    path = tmp_path / "image"
    path.write_bytes(b"an image")
    token = time_stamp(b"an image", stamping, now - timedelta(2))
    supplier = make.supplier().id

    def found() -> tuple[str, str]:
        report = verify_file(path, trust_for(session, supplier), at=now.timestamp(), timestamp=token)
        stamp = next(check for check in report.checks if check.id == "firmware.timestamp")
        return stamp.outcome, report.document["time"]["source"]

    assert found() == ("not_applicable", "receipt")
    row = add()
    assert found() == ("pass", "timestamp")
    timestamping.remove_authority(session, administrator, clock, row.id)
    assert found() == ("not_applicable", "receipt")


def test_its_row_stays_and_another_may_take_its_name_and_its_key(session, add, administrator, clock):
    row = add()
    timestamping.remove_authority(session, administrator, clock, row.id)
    assert (timestamping.authorities(session), timestamping.ever(session)) == ([], [row])
    assert (row.removed_by, row.removed_at) == (administrator.user_id, clock.now())
    with pytest.raises(NotFound):
        timestamping.remove_authority(session, administrator, clock, row.id)
    again = add()
    assert timestamping.authorities(session) == [again]
    entries = session.scalars(select(Entry).where(Entry.kind == timestamping.REMOVED)).all()
    assert [entry.subject_id for entry in entries] == [row.id]
