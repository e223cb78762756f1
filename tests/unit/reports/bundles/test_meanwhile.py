"""Whom to believe changed while something was verified: what counts is what the run read when it began.

Such a run is examined again and not recorded. The bundle of a portal that records it is refused.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import rfc8785
from cryptography.x509.oid import ExtendedKeyUsageOID
from sqlalchemy import select

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.errors import LedgerError
from portal.evidence.models import Damage
from portal.ledger import service as ledger
from portal.ledger.models import Entry
from portal.reports.bundles.again import repeat
from portal.reports.bundles.checking import Checking
from portal.reports.bundles.opened import Bundle, Entries, Told, check_checkpoints, check_receipts
from portal.reports.bundles.runs import CHANGES_TRUST, check_trust
from portal.submissions import service as submissions
from portal.submissions.models import Submission, SubmissionKind
from portal.suppliers import timestamping
from portal.suppliers.keys import _CHANGES_TRUST, decide_key, distrust_key, register_key
from portal.suppliers.models import SigningKey
from portal.suppliers.revocation import keep_list
from tests.factories.interrupting import Act, meanwhile
from tests.unit.reports.bundles.conftest import World, made_in
from tests.unit.reports.bundles.packing import Files, checked, packed
from tests.unit.reports.bundles.test_counted_then import add, assessed, authorities
from tests.unit.reports.bundles.test_recorded import faults
from tests.unit.submissions.conftest import a_unit
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.syntax import raw_signature, time_stamp


@contextmanager
def interrupted(world: World, act: Act) -> Iterator[None]:
    """While the next submission is verified, `act` happens."""
    world.session.commit()
    with meanwhile(world.desk.jobs, act):
        yield


@dataclass
class Story:
    """A portal on which whom to believe changed during runs; the submission of each, by what changed."""

    world: World
    made: dict[str, str]
    files: Files


def reviewer(world: World) -> Actor:
    actor = world.desk.make.actor(RoleName.REVIEWER)
    world.session.commit()
    return actor


def distrusting(world: World, key: SigningKey) -> Act:
    actor, key_id = reviewer(world), key.id
    since = world.clock.now() - timedelta(hours=1)
    return lambda session: distrust_key(session, actor, world.clock, key_id, since=since, reason="stolen")


def approving(world: World, key: SigningKey) -> Act:
    actor, key_id, last = reviewer(world), key.id, key.fingerprint[-8:]
    return lambda session: decide_key(
        *(session, actor, world.clock, key_id), approve=True, fingerprint_typed=last, note="by telephone"
    )


def signed(world: World, key: str, version: str) -> str:
    image = world.desk.keys.image(None, version)
    return world.desk.firmware(image, version, world.desk.keys.sign(key, image))


def certified(world: World, signer: Identity, version: str) -> str:
    image = world.desk.keys.image(None, version)
    chain = world.desk.put(signer.pem.encode(), "chain.pem")
    signature = raw_signature(signer.key, image, "sha256")[1]
    return world.desk.firmware(image, version, signature, certificates_id=chain)


def stamped(world: World, anchor: Identity, version: str) -> str:
    desk, now = world.desk, world.clock.now()
    own = {"usages": [ExtendedKeyUsageOID.TIME_STAMPING], "critical_usages": True}
    stamping = anchor.issue("Clock", start=now - timedelta(90), end=now + timedelta(90), **own)
    image = desk.keys.image(None, version)
    signature = desk.keys.sign("maker", image)
    token = desk.put(time_stamp(signature, stamping, now - timedelta(minutes=1)), "image.tsr")
    return desk.firmware(image, version, signature, timestamp_id=token)


def authority(world: World, anchor: Identity) -> SigningKey:
    key = register_key(
        *(world.session, world.desk.actor, world.clock),
        pem=anchor.pem,
        label="authority",
        purposes=["firmware"],
        options={"root": True},
    )
    approving(world, key)(world.session)
    world.session.commit()
    return key


def signed_lot(world: World, key: str, number: str) -> str:
    desk = world.desk
    manifest = rfc8785.dumps(desk.manifest(f"{number}-a", f"{number}-b", lot=number))
    return desk.lot(manifest, lot=number, signature=desk.keys.sign(key, manifest))


def attested(world: World, lot: str, key: str, number: str) -> str:
    units = [a_unit(f"{number}-a"), a_unit(f"{number}-b")]
    return world.desk.attest(lot, world.desk.envelopes(key, units))


def told(world: World, expected: dict[str, str]) -> Story:
    desk, now, made = world.desk, world.clock.now(), {}

    def outcome(what: str) -> None:
        found = desk.checks(made[what])[CHECKS[what]]
        assert found.outcome == expected[what], found
        world.clock.advance(timedelta(minutes=1))

    with interrupted(world, distrusting(world, desk.key("first"))):
        made["key distrusted"] = signed(world, "first", "3.0.0")
    outcome("key distrusted")

    anchor = root("Release authority", start=now - timedelta(900), end=now + timedelta(900))
    signer = anchor.issue("Signer", start=now - timedelta(9), end=now + timedelta(9))
    key_id = authority(world, anchor).id
    kept = [anchor.revoke(made=now - timedelta(3)).encode()]
    kept.append(anchor.revoke((signer, now - timedelta(2), None), made=now - timedelta(2)).encode())
    keep_list(world.session, desk.actor, world.clock, key_id, kept[0])
    with interrupted(world, lambda other: keep_list(other, desk.actor, world.clock, key_id, kept[1])):
        made["list kept"] = certified(world, signer, "3.2.0")
    outcome("list kept")

    clock_root = root("Clock root", start=now - timedelta(900), end=now + timedelta(900))
    row, actor = add(world, clock_root.pem), desk.make.actor(RoleName.ADMINISTRATOR)
    row_id = row.id
    with interrupted(world, lambda other: timestamping.remove_authority(other, actor, world.clock, row_id)):
        made["authority removed"] = stamped(world, clock_root, "3.3.0")
    outcome("authority removed")

    about = {"label": "Clock again", "pem": clock_root.pem}
    with interrupted(world, lambda other: timestamping.add_authority(other, actor, world.clock, **about)):
        made["authority added"] = stamped(world, clock_root, "3.4.0")
    outcome("authority added")

    with interrupted(world, approving(world, desk.key("second", approve=None))):
        made["key approved"] = signed(world, "second", "3.5.0")
    outcome("key approved")

    with interrupted(world, distrusting(world, desk.key("third"))):
        made["key of a lot distrusted"] = signed_lot(world, "third", "L-7")
    outcome("key of a lot distrusted")

    # Where it counts, the checks of the lot are taken over into a second run with those of the attestations.
    with interrupted(world, distrusting(world, desk.key("fourth"))):
        made["key of attestations distrusted"] = attested(
            world, made["key of a lot distrusted"], "fourth", "L-7"
        )
    outcome("key of attestations distrusted")

    files = assessed(world)
    assert authorities(files)
    return Story(world, made, files)


CHECKS = {
    "key distrusted": "key",
    "list kept": "key",
    "authority removed": "timestamp",
    "authority added": "timestamp",
    "key approved": "signature",
    "key of a lot distrusted": "signature",
    "key of attestations distrusted": "signature",
}
BEFORE = dict.fromkeys(CHECKS, "pass") | {"authority added": "not_applicable", "key approved": "fail"}
AFTER = dict.fromkeys(CHECKS, "fail") | {
    "authority removed": "not_applicable",
    "authority added": "pass",
    "key approved": "pass",
}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with made_in(tmp_path_factory.mktemp("meanwhile")) as world:
        yield told(world, AFTER)


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """On a portal that recorded what was found whatever happened meanwhile."""
    with made_in(tmp_path_factory.mktemp("careless")) as world:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(submissions, "demand_current", lambda *_: None)
            found = told(world, BEFORE)
        assert world.desk.row(found.made["key of a lot distrusted"]).run == 2
        yield found


@pytest.mark.parametrize("change", CHECKS)
def test_what_was_found_before_the_change_is_not_recorded(story: Story, change: str) -> None:
    """What the first run says rests on the change, which was told before it was recorded."""
    session, made = story.world.session, story.made[change]
    ended = next(entry for entry in entries_of(story.world) if entry.subject_id == made)
    body = json.loads(ended.body)
    begun = session.scalar(select(Entry.seq).where(Entry.kind == "submission.made", Entry.subject_id == made))
    changes = session.scalars(
        select(Entry.seq).where(Entry.kind.in_(_CHANGES_TRUST), Entry.seq > begun, Entry.seq < ended.seq)
    )
    assert (body["run"], [body["trust_before"]]) == (1, [seq + 1 for seq in changes])


def test_the_bundle_holds(story: Story) -> None:
    """Old images that were not accepted, as those of two distrusted signers now are, are not in it."""
    assert set(story.made) == set(CHANGES)
    steps, warnings = checked(packed(story.files), story.world.policy)
    assert "Verified again: 5 signed files and 43 attestations" in steps[-1]
    assert not [text for text in warnings if "not verified again" in text]
    assert faults(story.world) == []


CHANGES = {
    "key distrusted": ("key.distrusted", "firmware.key: recorded is pass, verified again it is fail"),
    "list kept": ("revocation_list.kept", "firmware.key: recorded is pass, verified again it is fail"),
    "authority removed": (
        "timestamp_authority.removed",
        "firmware.timestamp: recorded is pass, verified again it is not_applicable",
    ),
    "authority added": (
        "timestamp_authority.added",
        "firmware.timestamp: recorded is not_applicable, verified again it is pass",
    ),
    "key approved": ("key.approved", "firmware.signature: recorded is fail, verified again it is pass"),
    "key of a lot distrusted": (
        "key.distrusted",
        "lot.signature: recorded is pass, verified again it is fail",
    ),
    "key of attestations distrusted": (
        "key.distrusted",
        "line 1: recorded is pass, verified again it is fail",
    ),
}
"""The entry that makes each of them, and what counts after it."""


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_is_recorded_all_the_same_is_refused(careless: Story, change: str) -> None:
    """Whoever signed could have made the portal wait with the distrust until the run was written down."""
    made, (kind, _) = careless.made[change], CHANGES[change]
    _, entries, checking = opened_again(packed(careless.files), careless.world)
    row = checking.documents("submissions")[made]
    changes = entries.of_kinds(CHANGES_TRUST)
    with pytest.raises(LedgerError, match=rf"run 1 of submission {made} was recorded by .* \({kind}\) had"):
        check_trust(entries, changes, row["kind"], made, 1)
    with pytest.raises(LedgerError, match="had changed whom to believe"):
        checked(packed(careless.files), careless.world.policy)
    said = f"run 1 of submission {made}: was recorded by what entries before"
    assert len([fault for fault in faults(careless.world) if fault.startswith(said)]) == 1


def test_both_sides_know_what_changes_trust() -> None:
    assert set(CHANGES_TRUST) == set(_CHANGES_TRUST)


@pytest.mark.parametrize("change", CHANGES)
def test_by_what_was_told_before_the_run_was_recorded_it_would_not(careless: Story, change: str) -> None:
    """Without its position, as entries of the first form are: then the change counts that came too late."""
    bundle, entries, checking = opened_again(packed(careless.files), careless.world)
    every = checking.documents("submissions")
    only = {careless.made[change]: every[careless.made[change]]}
    if "attestations" in change:
        only |= {careless.made["key of a lot distrusted"]: {**every[only_lot(every, only)], "runs": {}}}
    warnings: list[str] = []
    again = repeat(bundle, entries, only, checking.files, warnings.append)
    assert (again.files, again.attestations) in ((1, 0), (0, 2))
    assert warnings == []
    bare = Entries([replace(one, facts=without(one.facts)) for one in entries.told])
    with pytest.raises(LedgerError, match=CHANGES[change][1]):
        repeat(bundle, bare, only, checking.files, warnings.append)


def opened_again(data: bytes, world: World) -> tuple[Bundle, Entries, Checking]:
    bundle = Bundle(io.BytesIO(data))
    bundle.check_files()
    entries = check_receipts(bundle, check_checkpoints(bundle, world.policy))
    checking = Checking(bundle, entries)
    checking.evidence()
    return bundle, entries, checking


def only_lot(every: dict[str, dict[str, Any]], only: dict[str, dict[str, Any]]) -> str:
    lot: str = every[next(iter(only))]["lot"]
    return lot


def without(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != "trust_before"}


# --- A portal that is not honest, and one of before: its entries are as it wants them -----------------


def entering(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]) -> None:
    """From now on the entries of runs say something else."""
    append = ledger.append

    def enter(
        session: Any, clock: Any, kind: str, subject: str, body: dict[str, Any], *more: Any, **named: Any
    ) -> None:
        if kind == "verification.ended":
            change(body)
        append(session, clock, kind, subject, body, *more, **named)

    monkeypatch.setattr(submissions.ledger, "append", enter)


def test_a_run_that_believed_what_was_told_after_it_is_refused(
    fresh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entering(monkeypatch, lambda body: body.update(trust_before=body["trust_before"] + 1))
    made = signed(fresh, "maker", "3.0.0")
    said = f"run 1 of submission {made} believed .* before entry .*, but the run was recorded by then"
    with pytest.raises(LedgerError, match=said):
        checked(packed(assessed(fresh)), fresh.policy)


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (lambda found: found + 99, r"before entry \d+, but the run was recorded by then: its first is \d+"),
        (lambda _: 1 << 70, "but the run was recorded by then"),
        (lambda found: found - 1, r"but it was submitted no earlier: by entry \d+"),
        (lambda _: 0, "but it was submitted no earlier"),
        (lambda _: -1, "before entry -1: that is no number of an entry"),
        (lambda _: True, "before entry True: that is no number of an entry"),
        (lambda _: None, "before entry None: that is no number of an entry"),
        (str, r"before entry '\d+': that is no number of an entry"),
        (lambda found: found + 0.5, r"before entry \d+\.5: that is no number of an entry"),
        (lambda found: [found], r"before entry \[\d+\]: that is no number of an entry"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_digests_alone(
    world: World, digests: bytes, odd: Callable[[int], Any], said: str
) -> None:
    _, entries, checking = opened_again(digests, world)
    checking.entries = Entries([replace(one, facts=one.facts | otherwise(one, odd)) for one in entries.told])
    with pytest.raises(LedgerError, match=f"run 1 of submission [0-9a-f]* believed .*{said}"):
        checking.submissions()


def otherwise(entry: Told, odd: Callable[[int], Any]) -> dict[str, Any]:
    found = entry.facts.get("trust_before")
    return {} if found is None else {"trust_before": odd(found)}


def test_entries_of_the_first_form_count_by_what_came_before_them(
    fresh: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a lot whose second run took over what the first found: its key is distrusted in between."""
    entering(monkeypatch, lambda body: body.pop("trust_before", None))
    desk = fresh.desk
    key = desk.key("older")
    lot = signed_lot(fresh, "older", "L-7")
    distrusting(fresh, key)(fresh.session)
    fresh.session.commit()
    attested(fresh, lot, "maker", "L-7")
    signed(fresh, "maker", "3.0.0")
    assert (desk.row(lot).run, desk.checks(lot)["signature"].outcome) == (2, "pass")
    files = assessed(fresh)
    assert not [entry for entry in entries_of(fresh)[-3:] if "trust_before" in entry.body]
    steps, warnings = checked(packed(files), fresh.policy)
    assert "Verified again: 3 signed files and 43 attestations" in steps[-1]
    assert not [text for text in warnings if "not verified again" in text]
    assert faults(fresh) == []


def entries_of(world: World) -> list[Entry]:
    wanted = select(Entry).where(Entry.kind == "verification.ended").order_by(Entry.seq)
    return list(world.session.scalars(wanted))


def test_a_run_that_takes_over_a_signature_names_what_counted_for_it(fresh: World) -> None:
    desk = fresh.desk
    key = desk.key("older")
    lot = signed_lot(fresh, "older", "L-7")
    distrusting(fresh, key)(fresh.session)
    fresh.session.commit()
    attested(fresh, lot, "maker", "L-7")
    said = [json.loads(entry.body)["trust_before"] for entry in entries_of(fresh) if entry.subject_id == lot]
    assert len(said) == 2
    assert said[0] == said[1]
    checked(packed(assessed(fresh)), fresh.policy)


def test_what_needs_nobodys_word_names_no_entry(fresh: World) -> None:
    """Answers, and a lot without a signature."""
    kinds = {row.id: row.kind.value for row in fresh.session.scalars(select(Submission))}
    silent = {kinds[entry.subject_id] for entry in entries_of(fresh) if "trust_before" not in entry.body}
    assert silent == {"questionnaire", "lot"}


def test_a_run_that_could_read_nothing_has_no_verdict_to_repeat(fresh: World) -> None:
    """Its files were damaged for a while. It needed nobody's word, and kept no verdict on any attestation."""
    session = fresh.session
    wanted = select(Submission).where(
        Submission.kind.in_((SubmissionKind.ATTESTATIONS, SubmissionKind.FIRMWARE))
    )
    rows = session.scalars(wanted).all()
    damages = [
        Damage(sha256=row.attachments[0].evidence.sha256, what="other bytes", found_at=fresh.clock.now())
        for row in rows
    ]
    session.add_all(damages)
    fresh.clock.advance(timedelta(minutes=1))
    for row in rows:
        submissions.verify(session, fresh.clock, fresh.store, row.id, lambda *_: None)
        assert set(fresh.desk.checks(row.id)) == {"verification"}
    for damage in damages:
        damage.mended_at = fresh.clock.now()
    session.commit()
    steps, _ = checked(packed(assessed(fresh)), fresh.policy)
    assert "Verified again: 0 signed files and 0 attestations" in steps[-1]
    assert faults(fresh) == []
