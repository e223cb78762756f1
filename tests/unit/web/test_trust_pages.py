"""Pages about whom to believe: revocation lists of certificate authorities, and time-stamp authorities."""

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from io import BytesIO
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import RoleName, User
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.reassessment.models import ChangeNotice
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import RevocationList, SigningKey, Supplier, TimestampAuthority
from tests.factories import Make, RecordingQueue
from tests.unit.verification.authority import Identity, root

SignIn = Callable[[User], FlaskClient]


@pytest.fixture
def authority(clock: FixedClock) -> Identity:
    now = clock.now()
    return root("Release authority", start=now - timedelta(900), end=now + timedelta(900))


@pytest.fixture
def supplier(make: Make) -> Supplier:
    return make.supplier("Nordhaven Cells")


@pytest.fixture
def key(
    session: TenantSession, clock: FixedClock, make: Make, supplier: Supplier, authority: Identity
) -> SigningKey:
    row = register_key(
        *(session, make.supplier_actor(supplier), clock),
        pem=authority.pem,
        label="Release authority",
        purposes=["firmware"],
        options={"root": True},
    )
    decide_key(
        *(session, make.actor(RoleName.REVIEWER), clock, row.id),
        approve=True,
        fingerprint_typed=row.fingerprint[-8:],
        note="by telephone",
    )
    session.commit()
    return row


def crl(clock: FixedClock, authority: Identity, *revoked: Identity, good: float = 30) -> bytes:
    now = clock.now()
    builder = x509.CertificateRevocationListBuilder(authority.certificate.subject)
    builder = builder.last_update(now - timedelta(1)).next_update(now + timedelta(good))
    for one in revoked:
        entry = x509.RevokedCertificateBuilder(one.certificate.serial_number, now - timedelta(2))
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


def bring(client: FlaskClient, side: str, key_id: str, content: bytes) -> Any:
    data = {"file": (BytesIO(content), "authority.crl")}
    return client.post(
        f"/{side}/keys/{key_id}/revocation-list", data=data, content_type="multipart/form-data"
    )


@pytest.mark.parametrize("side", ["s", "r"])
def test_a_list_is_brought_on_the_page_of_its_authority(
    side: str,
    make: Make,
    session: TenantSession,
    clock: FixedClock,
    sign_in: SignIn,
    supplier: Supplier,
    key: SigningKey,
    authority: Identity,
    jobs: RecordingQueue,
) -> None:
    person = make.user(RoleName.SUPPLIER_ADMIN, supplier) if side == "s" else make.user(RoleName.REVIEWER)
    client, key_id = sign_in(person), key.id
    session.commit()
    page = f"/{side}/keys/{key_id}"
    assert "whether a certificate of this authority was revoked is not known" in client.get(page).text

    for content in (b"", b"no list", crl(clock, root("Another", start=clock.now(), end=clock.now()))):
        refused = bring(client, side, key_id, content)
        assert refused.status_code == 422
        assert 'class="field-errors"' in refused.text
    assert session.scalars(select(RevocationList)).all() == []
    session.rollback()

    assert bring(client, side, key_id, crl(clock, authority)).location == page
    assert jobs.waiting == []  # it revokes nobody
    assert bring(client, side, key_id, crl(clock, authority, authority.issue("Signer"))).status_code == 302
    notice = session.scalars(select(ChangeNotice)).one()
    assert jobs.waiting == [("reassess", (notice.id,))]
    session.rollback()
    shown = client.get(page).text
    assert "Next one due" in shown
    assert "Out of date" not in shown
    assert bring(client, side, key_id, crl(clock, authority, good=-0.5)).status_code == 302
    assert "Out of date since" in client.get(page).text


def test_who_may_not_bring_a_list_sees_no_form(
    make: Make,
    session: TenantSession,
    sign_in: SignIn,
    supplier: Supplier,
    key: SigningKey,
    clock: FixedClock,
) -> None:
    for side, person in (
        ("s", make.user(RoleName.SUPPLIER_CONTRIBUTOR, supplier)),
        ("r", make.user(RoleName.AUDITOR)),
    ):
        client, key_id = sign_in(person), key.id
        session.commit()
        page = client.get(f"/{side}/keys/{key_id}").text
        assert "Revocation list" in page
        assert "revocation-list" not in page
        assert bring(client, side, key_id, b"").status_code == 403
    stranger = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    key_id = key.id
    session.commit()
    assert bring(stranger, "s", key_id, b"").status_code == 404


def test_time_stamp_authorities_are_added_shown_and_removed(
    make: Make, session: TenantSession, sign_in: SignIn, clock: FixedClock, authority: Identity
) -> None:
    client = sign_in(make.user(RoleName.ADMINISTRATOR))
    session.commit()
    page = "/admin/time-stamps"
    assert "No time-stamp authorities" in client.get(page).text
    refused = client.post(page, data={"label": "Clock", "pem": "no certificate"})
    assert refused.status_code == 422
    assert "no certificate" in refused.text
    assert client.post(page, data={"label": "", "pem": authority.pem}).status_code == 422
    assert client.post(page, data={"label": "Clock", "pem": authority.pem}).location == page
    twice = client.post(page, data={"label": "Clock 2", "pem": authority.pem})
    assert twice.status_code == 422
    assert "that of “Clock”" in unescape(twice.text)
    row = session.scalars(select(TimestampAuthority)).one()
    row_id = row.id
    session.rollback()
    shown = client.get(page).text
    assert "CN=Release authority" in shown
    assert "Expired" not in shown
    assert client.post(f"{page}/{row_id}/remove").location == page
    assert session.scalars(select(TimestampAuthority)).one().removed_at is not None
    session.rollback()
    assert "No time-stamp authorities" in client.get(page).text
    assert client.post(f"{page}/{row_id}/remove").status_code == 404
    session.rollback()
    assert client.post(f"{page}/{row_id}/remove").status_code == 404


@pytest.mark.parametrize("role", [RoleName.REVIEWER, RoleName.AUDITOR])
def test_nobody_else_decides_whose_time_counts(
    role: RoleName, make: Make, session: TenantSession, sign_in: SignIn
) -> None:
    client = sign_in(make.user(role))
    session.commit()
    assert client.get("/admin/time-stamps").status_code == 403
    assert client.post("/admin/time-stamps", data={"label": "x", "pem": "y"}).status_code == 403
