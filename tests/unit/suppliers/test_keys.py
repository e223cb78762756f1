"""Signing keys: what is refused at registration, at approval, at distrust, and which keys are trusted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.ledger.models import Entry
from portal.suppliers import enrolment, service
from portal.suppliers.keys import key_name, signer_named
from portal.suppliers.models import KeyState, SigningKey
from portal.verification import Root, TrustKey


def public_pem(key=None) -> str:
    key = key or ed25519.Ed25519PrivateKey.generate()
    return key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo).decode()


def authority_pem() -> str:
    key, name = (
        ed25519.Ed25519PrivateKey.generate(),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")]),
    )
    day = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, day, day + timedelta(days=3650))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return made.sign(key, None).public_bytes(ser.Encoding.PEM).decode()


@pytest.fixture
def admin(make):
    return make.supplier_actor()


@pytest.fixture
def reviewer(make):
    return make.actor(RoleName.REVIEWER)


@pytest.fixture
def register(session, clock, admin):
    def call(actor=admin, **values) -> SigningKey:
        values = {"pem": public_pem(), "label": "release key", "purposes": ["firmware"]} | values
        return service.register_key(session, actor, clock, **values)

    return call


def approve(session, reviewer, clock, key, typed=None):
    return service.decide_key(
        session,
        reviewer,
        clock,
        key.id,
        approve=True,
        fingerprint_typed=key.fingerprint[-8:] if typed is None else typed,
        note="read out by Ms Lind on the number of the contract",
    )


def test_registered_key_waits_and_is_not_trusted(session, register, admin):
    key = register(purposes=["manifest", "firmware"])
    assert key.state is KeyState.PENDING
    assert key.purposes == ["firmware", "manifest"]
    assert key.algorithm == "Ed25519"
    assert service.trust_for(session, admin.supplier_id).keys == ()


def test_approved_key_is_trusted_under_the_name_that_people_know(session, register, reviewer, admin, clock):
    key = approve(session, reviewer, clock, register())
    (trusted,) = service.trust_for(session, admin.supplier_id).keys
    name = f"{key.label} …{key.fingerprint[-8:]}"
    assert (trusted.id, trusted.fingerprint, trusted.purposes) == (name, key.fingerprint, ("firmware",))


def test_each_step_is_in_the_ledger(session, register, reviewer, clock):
    key = approve(session, reviewer, clock, register())
    service.distrust_key(session, reviewer, clock, key.id, since=clock.now(), reason="key leaked")
    kinds = session.scalars(select(Entry.kind).where(Entry.subject_id == key.id).order_by(Entry.seq)).all()
    assert kinds == ["key.registered", "key.approved", "key.distrusted"]


def test_private_key_is_refused_and_not_kept(session, register):
    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()
    )
    with pytest.raises(InvalidInput) as refused:
        register(pem=private.decode())
    assert refused.value.problems[0].where == "pem"
    assert "private" in str(refused.value.problems[0])
    assert session.scalars(select(SigningKey)).all() == []


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"pem": "not a key"}, "pem"),
        ({"pem": "x" * 70_000}, "pem"),
        ({"label": " "}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"purposes": []}, "purposes"),
        ({"purposes": ["firmware", "everything"]}, "purposes"),
        ({"options": {"rsa_padding": "pss"}}, "options"),
        ({"options": {"colour": "red"}}, "options"),
    ],
)
def test_bad_registration_is_refused_naming_the_field(register, values, where):
    with pytest.raises(InvalidInput) as refused:
        register(**values)
    assert [problem.where for problem in refused.value.problems] == [where]


def test_options_that_fit_the_key_are_kept(register):
    pem = public_pem(rsa.generate_private_key(public_exponent=65537, key_size=3072))
    assert register(pem=pem, options={"rsa_padding": "pss", "hash": ""}).options == {"rsa_padding": "pss"}


def test_builders_and_the_longest_salt_reach_the_verifier(register):
    options = {"rsa_padding": "pss", "pss_salt": "max", "builders": ["https://build.example/1"]}
    key = register(pem=public_pem(rsa.generate_private_key(65537, 3072)), options=options)
    entry = enrolment.entry("a", key)
    assert isinstance(entry, TrustKey)
    assert (entry.options.pss_salt, entry.builders) == ("max", ("https://build.example/1",))
    assert enrolment.words(key.options) == (
        "RSA with PSS padding, the longest salt that fits, may name the builder https://build.example/1"
    )


def test_a_certificate_authority_is_a_root_and_no_signer(session, register, reviewer, clock):
    key = register(pem=authority_pem(), options={"root": True, "usages": ["emailProtection"]})
    approve(session, reviewer, clock, key)
    entry = enrolment.entry("a", key)
    assert isinstance(entry, Root)
    assert entry.usages == ("emailProtection",)
    assert service.trust_for(session, key.supplier_id).keys == ()
    assert signer_named(session, key.supplier_id, key_name(key)) is key
    assert signer_named(session, key.supplier_id, "another") is None
    assert signer_named(session, key.supplier_id, None) is None


@pytest.mark.parametrize(
    "options",
    [
        {"root": True, "rsa_padding": "pss"},
        {"root": True, "usages": ["no usage"]},
        {"usages": ["codeSigning"]},
    ],
)
def test_options_of_a_root_that_do_not_fit_are_refused(register, options):
    with pytest.raises(InvalidInput) as refused:
        register(pem=authority_pem(), options=options)
    assert [problem.where for problem in refused.value.problems] == ["options"]


def test_a_bare_key_is_no_certificate_authority(register):
    with pytest.raises(InvalidInput):
        register(options={"root": True})


def test_same_key_twice_is_refused_even_under_another_label(register):
    pem = public_pem()
    register(pem=pem)
    with pytest.raises(Conflict, match="registered already"):
        register(pem=pem, label="another name")


def test_contributor_may_not_register_a_key(make, register):
    with pytest.raises(NotAllowed):
        register(actor=make.actor(RoleName.SUPPLIER_CONTRIBUTOR, make.supplier()))


def test_wrong_fingerprint_approves_nothing(session, register, reviewer, clock):
    key = register()
    for typed in ("", "00000000", key.fingerprint[-7:]):
        with pytest.raises(InvalidInput) as refused:
            approve(session, reviewer, clock, key, typed=typed)
        assert [problem.where for problem in refused.value.problems] == ["fingerprint"]
    assert key.state is KeyState.PENDING


def test_supplier_cannot_approve_its_own_key(session, register, admin, clock):
    with pytest.raises(NotAllowed):
        approve(session, admin, clock, register())


def test_key_is_decided_once(session, register, reviewer, clock):
    key = approve(session, reviewer, clock, register())
    with pytest.raises(Conflict):
        service.decide_key(session, reviewer, clock, key.id, approve=False, note="changed my mind")


def test_rejected_key_is_never_trusted(session, register, reviewer, admin, clock):
    key = register()
    service.decide_key(session, reviewer, clock, key.id, approve=False, note="nobody there knew it")
    assert key.state is KeyState.REJECTED
    assert service.trust_for(session, admin.supplier_id).keys == ()


def test_distrust_only_moves_to_an_earlier_time(session, register, reviewer, clock):
    key = approve(session, reviewer, clock, register())
    day = timedelta(days=1)
    for since in (clock.now() - day, clock.now() - 2 * day):
        service.distrust_key(session, reviewer, clock, key.id, since=since, reason="key leaked")
        assert key.distrusted_from == since
    with pytest.raises(Conflict):
        service.distrust_key(session, reviewer, clock, key.id, since=clock.now(), reason="later")


def test_distrust_in_the_future_or_of_a_pending_key_is_refused(session, register, reviewer, clock):
    pending = register()
    with pytest.raises(Conflict):
        service.distrust_key(session, reviewer, clock, pending.id, since=clock.now(), reason="x")
    key = approve(session, reviewer, clock, register())
    with pytest.raises(InvalidInput):
        later = clock.now() + timedelta(seconds=1)
        service.distrust_key(session, reviewer, clock, key.id, since=later, reason="x")
    assert key.distrusted_from is None


def test_keys_of_two_suppliers_stay_apart(session, make, register, reviewer, admin, clock):
    other, pem = make.supplier_actor(), public_pem()
    theirs = approve(session, reviewer, clock, register(actor=other, pem=pem))
    ours = register(pem=pem)
    assert ours.id != theirs.id
    assert service.trust_for(session, admin.supplier_id).keys == ()
    trusted = service.trust_for(session, other.supplier_id).keys
    assert [key.fingerprint for key in trusted] == [theirs.fingerprint]


def test_unknown_key_is_not_found(session, reviewer, clock):
    with pytest.raises(NotFound):
        service.decide_key(session, reviewer, clock, "0" * 32, approve=False, note="x")


def test_published_key_is_refused_by_its_name(session, register):
    published = Path(__file__).parents[2] / "vectors" / "mcuboot" / "root-ec-p256.pub.pem"
    with pytest.raises(InvalidInput) as refused:
        register(pem=published.read_text())
    assert "MCUboot sample key" in str(refused.value.problems[0])
    assert session.scalars(select(SigningKey)).all() == []
