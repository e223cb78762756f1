"""Whom the portal believed when it verified: removed or replaced since, a bundle brings it along."""

import hashlib
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import rfc8785
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import select, text

from portal.accounts.models import RoleName
from portal.reports.bundles.again import _CannotRepeatError, _Trusting
from portal.reports.bundles.opened import Bundle, Entries, Told
from portal.review.assessing import assess
from portal.review.models import Assessment, CaseCause
from portal.suppliers import timestamping
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import TimestampAuthority
from portal.suppliers.revocation import der, keep_list
from tests.factories.zips import unzipped
from tests.unit.reports.bundles.conftest import World, made_in
from tests.unit.reports.bundles.packing import Files, checked, packed, refusal
from tests.unit.reports.bundles.test_recorded import faults
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.syntax import raw_signature, time_stamp


def assessed(world: World) -> Files:
    """The files of the bundle of a new assessment."""
    desk = world.desk
    assess(world.session, world.clock, desk.product.id, cause="test", case_cause=CaseCause.SUBMISSION)
    world.session.commit()
    found = world.session.scalars(select(Assessment).order_by(Assessment.number.desc())).first()
    assert found is not None
    world.decided = found.id
    world.publish()
    return unzipped(world.bundle())


def add(world: World, pem: str, label: str = "Clock") -> TimestampAuthority:
    actor = world.desk.make.actor(RoleName.ADMINISTRATOR)
    row = timestamping.add_authority(world.session, actor, world.clock, label=label, pem=pem)
    world.session.commit()
    return row


def remove(world: World, row: TimestampAuthority) -> None:
    actor = world.desk.make.actor(RoleName.ADMINISTRATOR)
    timestamping.remove_authority(world.session, actor, world.clock, row.id)
    world.session.commit()


def stamped_firmware(world: World, clock_root: Identity, version: str) -> str:
    """What the portal says of the time stamp of a new image."""
    world.clock.advance(timedelta(minutes=1))
    desk, now = world.desk, world.clock.now()
    stamping = clock_root.issue(
        "Clock",
        usages=[ExtendedKeyUsageOID.TIME_STAMPING],
        critical_usages=True,
        start=now - timedelta(90),
        end=now + timedelta(90),
    )
    image = desk.keys.image(None, version)
    signature = desk.keys.sign("maker", image)
    token = desk.put(time_stamp(signature, stamping, now - timedelta(minutes=1)), "image.tsr")
    made = desk.firmware(image, version, signature, timestamp_id=token)
    return desk.checks(made)["timestamp"].outcome


def authorities(files: Files) -> list[str]:
    return [name for name in files if name.startswith("authorities/")]


@dataclass
class Removed:
    """A portal on which an authority counted for one image, and not for those before and after it."""

    world: World
    anchor: Identity
    row: TimestampAuthority
    files: Files


@pytest.fixture(scope="module")
def removed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Removed]:
    with made_in(tmp_path_factory.mktemp("removed")) as world:
        now = world.clock.now()
        anchor = root("Clock root", start=now - timedelta(900), end=now + timedelta(900))
        assert stamped_firmware(world, anchor, "3.0.0") == "not_applicable"
        row = add(world, anchor.pem)
        assert stamped_firmware(world, anchor, "3.1.0") == "pass"
        remove(world, row)
        assert stamped_firmware(world, anchor, "3.2.0") == "not_applicable"
        remove(world, add(world, anchor.pem))  # one by whose word nothing was verified
        yield Removed(world, anchor, row, assessed(world))


def test_an_authority_counts_for_what_was_verified_between_its_addition_and_its_removal(
    removed: Removed,
) -> None:
    assert authorities(removed.files) == [f"authorities/{removed.row.id}.json"]
    steps, warnings = checked(packed(removed.files), removed.world.policy)
    assert "Verified again: 4 signed files" in steps[-1]
    assert not [text for text in warnings if "not verified again" in text]
    assert faults(removed.world) == []


def test_a_bundle_without_the_authority_that_counted_is_refused(removed: Removed) -> None:
    files = dict(removed.files)
    del files[f"authorities/{removed.row.id}.json"]
    assert "of which this bundle tells nothing" in refusal(packed(files), removed.world)


def forgeries(removed: Removed) -> dict[str, dict[str, str]]:
    now = removed.world.clock.now()
    key, own = removed.anchor.key, root("My clock", start=now - timedelta(9), end=now + timedelta(9)).pem
    twin = root("Another", key=key, start=now - timedelta(9), end=now + timedelta(9)).pem
    return {
        "is not the one that was added": {"pem": own},
        "key: the bundle says 'sha256:": {"pem": twin},  # the same key in another certificate
        "label: the bundle says 'Greenwich'": {"label": "Greenwich"},
    }


def test_a_forged_authority_is_refused(removed: Removed) -> None:
    name = f"authorities/{removed.row.id}.json"
    row = json.loads(removed.files[name])
    for said, values in forgeries(removed).items():
        changed = removed.files | {name: rfc8785.dumps(row | values)}
        assert said in refusal(packed(changed), removed.world)
    forged = row | {"id": "f" * 32}
    changed = removed.files | {f"authorities/{'f' * 32}.json": rfc8785.dumps(forged)}
    said = refusal(packed(changed), removed.world)
    assert "no receipt of an entry timestamp_authority.added is in the bundle" in said


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (
            "UPDATE timestamp_authorities SET removed_at = NULL, removed_by = NULL",
            "is in use; the ledger has 1",
        ),
        ("UPDATE timestamp_authorities SET removed_by = 'x' || removed_by", "by: the database says x"),
        ("UPDATE timestamp_authorities SET added_by = 'x' || added_by", "by: the database says x"),
        ("UPDATE timestamp_authorities SET label = 'Greenwich'", "label: the database says Greenwich"),
        ("UPDATE timestamp_authorities SET pem = pem || ' '", "key: the database says sha256:"),
        ("DELETE FROM timestamp_authorities", "which is not in the database"),
        (
            "DELETE FROM ledger_entries WHERE kind = 'timestamp_authority.removed'",
            "is removed; the ledger has 0",
        ),
        ("DELETE FROM ledger_entries WHERE kind = 'timestamp_authority.added'", "has 0 entries"),
    ],
)
def test_an_authority_of_which_the_ledger_tells_otherwise_is_named(
    removed: Removed, tamper: str, said: str
) -> None:
    session = removed.world.session
    about = "subject_id" if "ledger_entries" in tamper else "id"
    where = f"{'AND' if 'WHERE' in tamper else 'WHERE'} {about} = '{removed.row.id}'"
    try:
        session.execute(text("PRAGMA defer_foreign_keys = ON"))
        session.execute(text(f"{tamper} {where}"))
        session.expire_all()
        found = faults(removed.world)
        assert [fault for fault in found if said in fault], found
    finally:
        session.rollback()
        session.expire_all()


# --- Revocation lists ---------------------------------------------------------------------------------


@dataclass
class Listed:
    """A portal on which three revocation lists of one authority counted, the third for nothing here."""

    world: World
    key_id: str
    lists: list[bytes]
    files: Files


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listed]:
    with made_in(tmp_path_factory.mktemp("listed")) as world:
        desk, now = world.desk, world.clock.now()
        anchor = root("Release authority", start=now - timedelta(900), end=now + timedelta(900))
        signer = anchor.issue("Signer", start=now - timedelta(9), end=now + timedelta(9))
        key = register_key(
            *(world.session, desk.actor, world.clock),
            pem=anchor.pem,
            label="authority",
            purposes=["firmware"],
            options={"root": True},
        )
        decide_key(
            *(world.session, desk.make.actor(RoleName.REVIEWER), world.clock, key.id),
            approve=True,
            fingerprint_typed=key.fingerprint[-8:],
            note="by telephone",
        )
        world.session.commit()

        def bring(age: float, *revoked: Identity) -> bytes:
            when = (now - timedelta(age), None)
            pem = anchor.revoke(*((one, *when) for one in revoked), made=now - timedelta(age))
            kept = keep_list(world.session, desk.actor, world.clock, key.id, pem.encode())
            world.session.commit()
            return der(kept.row)

        def judged(version: str) -> str:
            world.clock.advance(timedelta(minutes=1))
            image = desk.keys.image(None, version)
            signature = raw_signature(signer.key, image, "sha256")[1]
            chain = desk.put(signer.pem.encode(), "chain.pem")
            return desk.checks(desk.firmware(image, version, signature, certificates_id=chain))["key"].outcome

        lists = [bring(3)]
        assert judged("3.0.0") == "pass"
        lists.append(bring(2, signer))
        assert judged("3.1.0") == "fail"
        lists.append(bring(1, signer))
        files = assessed(world)
        yield Listed(world, key.id, lists, files)


def list_name(data: bytes) -> str:
    return f"revocation/{hashlib.sha256(data).hexdigest()}.crl"


def test_each_list_counts_for_what_was_verified_by_it(listed: Listed) -> None:
    there = {name: data for name, data in listed.files.items() if name.startswith("revocation/")}
    assert there == {list_name(data): data for data in listed.lists[:2]}
    steps, warnings = checked(packed(listed.files), listed.world.policy)
    assert "Verified again: 3 signed files" in steps[-1]
    assert not [text for text in warnings if "not verified again" in text]
    assert faults(listed.world) == []


def test_openssl_reads_the_lists_of_a_bundle(listed: Listed, tmp_path: Path) -> None:
    path = tmp_path / "list.crl"
    path.write_bytes(listed.files[list_name(listed.lists[1])])
    command = ["openssl", "crl", "-inform", "DER", "-in", path, "-noout", "-text"]
    assert "Serial Number:" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_bundle_without_a_list_that_counted_is_refused(listed: Listed) -> None:
    for data in listed.lists[:2]:
        files = {name: there for name, there in listed.files.items() if name != list_name(data)}
        assert "is missing: this list counted then" in refusal(packed(files), listed.world)


def test_a_list_of_which_the_ledger_does_not_tell_is_refused(listed: Listed) -> None:
    own = root("Release authority").revoke().encode()
    first, second = map(list_name, listed.lists[:2])
    for changed in (
        {list_name(own): own},
        {first: own},
        {first: listed.lists[1]},
        {first: listed.files[second], second: listed.files[first]},
    ):
        said = refusal(packed(listed.files | changed), listed.world)
        assert "the ledger tells of no such revocation list of these keys" in said


def test_a_list_that_an_older_version_replaced_is_told(listed: Listed) -> None:
    """Its entry has no number, and its row is gone: nothing can be repeated, and the bundle says so."""
    bundle = Bundle(io.BytesIO(packed(listed.files)))
    entries = Entries([Told(1, "revocation_list.kept", listed.key_id, {"sha256": "0" * 64})])
    trusting = _Trusting(bundle, entries, [], [])
    with pytest.raises(_CannotRepeatError, match="the revocation list that counted was not kept"):
        list(trusting._list_of({"id": listed.key_id}, 2))


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("UPDATE revocation_lists SET sha256 = '0'", "its text does not have its digest"),
        ("UPDATE revocation_lists SET pem = 'no list'", "its text cannot be read"),
        ("UPDATE revocation_lists SET revoked = 7", "revoked: the database says 7"),
        ("UPDATE revocation_lists SET next_update = this_update", "next_update: the database says"),
        ("UPDATE revocation_lists SET number = 9 WHERE number = 3", "has no entry revocation_list.kept"),
        ("DELETE FROM revocation_lists WHERE number = 1", "which is not in the database"),
        (
            "DELETE FROM ledger_entries WHERE kind = 'revocation_list.kept'",
            "has no entry revocation_list.kept",
        ),
    ],
)
def test_a_list_of_which_the_ledger_tells_otherwise_is_named(listed: Listed, tamper: str, said: str) -> None:
    session = listed.world.session
    try:
        session.execute(text(tamper))
        session.expire_all()
        found = faults(listed.world)
        assert [fault for fault in found if said in fault], found
    finally:
        session.rollback()
        session.expire_all()
