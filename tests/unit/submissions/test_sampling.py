"""Samples of lots: nobody chooses, everybody can draw again."""

import hashlib
import hmac
import json

import pytest
from sqlalchemy import select, update

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.errors import Conflict, InvalidInput, NotAllowed
from portal.ledger.models import Entry
from portal.reports.recorded.rows import LEDGERED, both_ways
from portal.submissions.lots import sampling
from portal.submissions.lots.models import Lot, Sample
from portal.submissions.lots.plan import plan_size
from portal.submissions.lots.service import lot_of
from portal.suppliers import sampling as seeds
from portal.suppliers.models import SamplingSeed
from tests.unit.submissions.conftest import Desk, NewDesk

UNITS = [f"SN-{n:03}" for n in range(60)]


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    return new_desk(components=())


@pytest.fixture
def reviewer(desk: Desk) -> Actor:
    found = desk.make.actor(RoleName.REVIEWER)
    desk.session.commit()
    return found


def submitted(desk: Desk, lot: str = "L-1") -> Lot:
    manifest = desk.manifest(*(f"{lot}-{serial}" for serial in UNITS), lot=lot)
    found = lot_of(desk.session, desk.lot(manifest, lot=lot))
    assert found is not None
    return found


def commit(desk: Desk) -> SamplingSeed:
    """As when a supplier creates the product."""
    seed = seeds.commit(desk.session, desk.clock, desk.product)
    desk.session.commit()
    return seed


def faults(desk: Desk) -> list[str]:
    rules = [rule for rule in LEDGERED if rule.table in (SamplingSeed, Sample)]
    return [fault.text for rule in rules for fault in both_ways(desk.session, rule)]


def draw(desk: Desk, reviewer: Actor, lot: Lot, size: int) -> sampling.Drawn:
    sampling.draw(desk.session, reviewer, desk.clock, lot, size)
    desk.session.commit()
    found = sampling.drawn(desk.session, lot)
    assert found is not None
    return found


def test_a_sample_comes_from_the_seed_that_was_committed_before(desk: Desk, reviewer: Actor) -> None:
    seed = commit(desk)
    lot = submitted(desk)
    found = draw(desk, reviewer, lot, 13)
    assert (found.sample.seed_id, found.ahead, len(found.serials)) == (seed.id, True, 13)
    told = json.loads(found.entry.body)
    committed = json.loads(found.committed.body)["commitment"]
    # As somebody outside would: the committed seed, the manifest that was delivered, the serials in it.
    opened = hashlib.sha256(b"lotgate sampling seed v1\n" + bytes.fromhex(told["seed"])).hexdigest()
    assert committed == f"sha256:{opened}"
    assert told["manifest"] in json.loads(found.submitted.body)["evidence"]
    ranked = sorted(
        (f"L-1-{serial}" for serial in UNITS),
        key=lambda serial: hmac.new(
            bytes.fromhex(told["seed"]),
            f"lotgate sample v1\n{told['manifest'][7:]}\n{serial}".encode(),
            "sha256",
        ).digest(),
    )
    assert found.serials == ranked[:13]
    assert told["serials"] == "sha256:" + hashlib.sha256("\n".join(ranked[:13]).encode()).hexdigest()
    assert faults(desk) == []


def test_a_larger_sample_has_the_smaller_one_in_it(desk: Desk, reviewer: Actor) -> None:
    commit(desk)
    lot = submitted(desk)
    small = draw(desk, reviewer, lot, 5).serials
    large = draw(desk, reviewer, lot, 60)
    assert large.serials[:5] == small
    assert sorted(large.serials) == [f"L-1-{serial}" for serial in UNITS]
    with pytest.raises(Conflict, match="All units"):
        sampling.draw(desk.session, reviewer, desk.clock, lot, 60)


def test_the_seed_is_told_once_and_the_next_is_committed_then(desk: Desk, reviewer: Actor) -> None:
    first = commit(desk)
    early, beside = submitted(desk), submitted(desk, "L-2")
    told = [entry.body for entry in desk.session.scalars(select(Entry))]
    assert all(first.seed not in body for body in told)
    draw(desk, reviewer, early, 5)
    late = submitted(desk, "L-3")
    # What was submitted before the seed was told is drawn by it; what came later by the next one.
    assert draw(desk, reviewer, beside, 5).sample.seed_id == first.id
    found = draw(desk, reviewer, late, 5)
    assert (found.sample.seed_id != first.id, found.ahead) == (True, True)
    unspent = select(SamplingSeed).where(SamplingSeed.spent_at.is_(None))
    assert len(desk.session.scalars(unspent).all()) == 1


def test_a_lot_that_was_delivered_early_and_submitted_late_gets_the_later_seed(
    desk: Desk, reviewer: Actor
) -> None:
    """Else a supplier could deliver many manifests, and submit the one whose sample it likes."""
    first = commit(desk)
    lot = submitted(desk)
    manifest = desk.manifest("L-2-SN-1", lot="L-2")
    desk.put(json.dumps(manifest).encode(), "waiting.json")
    draw(desk, reviewer, lot, 5)
    later = lot_of(desk.session, desk.lot(manifest, lot="L-2"))
    assert later is not None
    assert draw(desk, reviewer, later, 1).sample.seed_id != first.id


def test_a_lot_from_before_any_commitment_says_so(desk: Desk, reviewer: Actor) -> None:
    found = draw(desk, reviewer, submitted(desk), 5)
    assert not found.ahead
    assert draw(desk, reviewer, submitted(desk, "L-2"), 5).ahead


@pytest.mark.parametrize("size", [0, -1, 61, 5])
def test_a_size_that_cannot_be_is_refused(desk: Desk, reviewer: Actor, size: int) -> None:
    lot = submitted(desk)
    draw(desk, reviewer, lot, 5)
    with pytest.raises(InvalidInput) as refused:
        sampling.draw(desk.session, reviewer, desk.clock, lot, size)
    assert "a number from 6 to 60" in str(refused.value.problems[0])
    desk.session.rollback()
    assert len(desk.session.scalars(select(Sample)).all()) == 1


def test_a_lot_that_does_not_count_is_not_sampled(desk: Desk, reviewer: Actor) -> None:
    lot = submitted(desk)
    lot.live = False
    with pytest.raises(Conflict, match="does not count"):
        sampling.draw(desk.session, reviewer, desk.clock, lot, 5)


@pytest.mark.parametrize("role", [RoleName.SUPPLIER_ADMIN, RoleName.AUDITOR, RoleName.ADMINISTRATOR])
def test_only_who_decides_cases_draws(desk: Desk, role: RoleName) -> None:
    lot = submitted(desk)
    supplier = desk.supplier if role is RoleName.SUPPLIER_ADMIN else None
    with pytest.raises(NotAllowed):
        sampling.draw(desk.session, desk.make.actor(role, supplier), desk.clock, lot, 5)


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        (Sample, {"serials": "L-1-SN-001"}, "serials: the database says"),
        (SamplingSeed, {"seed": "0" * 64}, "commitment: the database says"),
    ],
)
def test_fsck_names_a_sample_that_was_altered(
    desk: Desk, reviewer: Actor, table: type, change: dict[str, str], words: str
) -> None:
    commit(desk)
    draw(desk, reviewer, submitted(desk), 5)
    desk.session.execute(update(table).values(**change))
    desk.session.commit()
    desk.session.expire_all()
    assert any(words in fault for fault in faults(desk))


@pytest.mark.parametrize(
    ("units", "size"),
    [
        (1, 1),
        (2, 2),
        (8, 2),
        (9, 3),
        (50, 8),
        (51, 13),
        (280, 32),
        (281, 50),
        (10_000, 200),
        (10_001, 315),
        (10**6, 1250),
    ],
)
def test_the_plan_is_that_of_the_standard(units: int, size: int) -> None:
    assert plan_size(units) == size
