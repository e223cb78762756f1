"""Rules are data with versions; what is not known keeps."""

import json
from datetime import date

import pytest
from sqlalchemy import select

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import Conflict, InvalidInput, NotAllowed, PolicyError
from portal.ledger.models import Entry
from portal.retention import rules
from portal.retention.rules import DEFAULTS, Anchor, Kind, Rule
from portal.retention.service import set_rules
from tests.factories import Make

NEW = {**DEFAULTS, Kind.FIRMWARE: Rule(Anchor.DECIDED, 15)}


def test_without_rules_those_that_come_with_lotgate_count(session: TenantSession) -> None:
    found = rules.current(session)
    assert found.version == 0
    assert found.named(Kind.FIRMWARE) == (
        "firmware: 10 years from the product’s end of support (rules, version 0)"
    )


def test_a_change_is_a_version_and_an_entry_with_both_digests(
    session: TenantSession, clock: FixedClock, administrator: Actor
) -> None:
    before = rules.current(session)
    row = set_rules(session, administrator, clock, by_kind=NEW, why="Contract of 2026.", version=0)
    after = rules.current(session)
    assert (after.version, after.by_kind) == (1, NEW)
    said = json.loads(session.scalars(select(Entry).where(Entry.kind == "retention.changed")).one().body)
    assert (said["before"], said["rules"]) == (f"sha256:{before.digest}", f"sha256:{after.digest}")
    assert (said["by"], said["subject"]) == (administrator.user_id, row.id)


def test_rules_over_others_than_were_seen_are_refused(
    session: TenantSession, clock: FixedClock, administrator: Actor
) -> None:
    set_rules(session, administrator, clock, by_kind=NEW, why="Contract.", version=0)
    with pytest.raises(Conflict, match="changed meanwhile"):
        set_rules(session, administrator, clock, by_kind=DEFAULTS, why="Back.", version=0)


def test_the_same_rules_again_are_refused(
    session: TenantSession, clock: FixedClock, administrator: Actor
) -> None:
    with pytest.raises(Conflict, match="rules in force"):
        set_rules(session, administrator, clock, by_kind=DEFAULTS, why="Same.", version=0)


def test_rules_without_a_reason_are_refused(
    session: TenantSession, clock: FixedClock, administrator: Actor
) -> None:
    with pytest.raises(InvalidInput):
        set_rules(session, administrator, clock, by_kind=NEW, why=" ", version=0)


@pytest.mark.parametrize("role", [RoleName.REVIEWER, RoleName.APPROVER, RoleName.AUDITOR])
def test_rules_by_the_wrong_role_are_refused(
    session: TenantSession, clock: FixedClock, make: Make, role: RoleName
) -> None:
    with pytest.raises(NotAllowed):
        set_rules(session, make.actor(role), clock, by_kind=NEW, why="Mine.", version=0)


@pytest.mark.parametrize(
    ("kind", "given", "where"),
    [
        ("firmware", {"anchor": "received", "years": 0}, "firmware.years"),
        ("firmware", {"anchor": "received", "years": True}, "firmware.years"),
        ("firmware", {"anchor": "received", "years": 100}, "firmware.years"),
        ("firmware", {"anchor": "whenever", "years": 1}, "firmware.anchor"),
        ("firmware", {"years": 1}, "firmware"),
        ("firmware", None, "firmware"),
        ("unused", {"anchor": "end_of_support", "years": 1}, "unused.anchor"),
        ("parcels", {"anchor": "received", "years": 1}, "parcels"),
    ],
)
def test_rules_that_are_wrong_are_refused_and_named(kind: str, given: object, where: str) -> None:
    data = json.loads(rules.dump(DEFAULTS)) | {kind: given}
    with pytest.raises(InvalidInput) as refused:
        rules.load(json.dumps(data))
    assert [problem.where for problem in refused.value.problems] == [where]


@pytest.mark.parametrize("text", ["", "[]", '{"lot": 1, "lot": 2}'])
def test_rules_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises((InvalidInput, PolicyError)):
        rules.load(text)


@pytest.mark.parametrize(
    ("rule", "anchored", "received", "last"),
    [
        (Rule(Anchor.RECEIVED, 1), None, date(2024, 2, 29), date(2025, 3, 1)),
        (Rule(Anchor.END_OF_SUPPORT, 10), date(2020, 1, 5), date(2015, 1, 1), date(2030, 1, 5)),
        # Support had ended before it came: what came in late is not older for that.
        (Rule(Anchor.END_OF_SUPPORT, 10), date(2000, 1, 5), date(2015, 1, 1), date(2025, 1, 1)),
        (Rule(Anchor.END_OF_SUPPORT, 10), None, date(2015, 1, 1), None),
        (Rule(Anchor.DECIDED, 10), None, date(1990, 1, 1), None),
        (Rule(Anchor.NEVER, 1), date(1990, 1, 1), date(1990, 1, 1), None),
        (Rule(Anchor.END_OF_SALE, 99), date(9990, 1, 1), date(2015, 1, 1), date(9999, 12, 31)),
    ],
)
def test_the_last_day_of_a_period(
    rule: Rule, anchored: date | None, received: date, last: date | None
) -> None:
    assert rule.last_day(anchored, received) == last
