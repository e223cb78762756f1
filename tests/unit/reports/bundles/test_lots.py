"""Samples in a bundle: told once they were decided on, and drawn again by whoever has the bundle."""

import hashlib
import io
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.errors import LedgerError
from portal.reports.bundles.checking import Checking
from portal.reports.bundles.lots import check_samples
from portal.reports.bundles.opened import Bundle, Entries, Told, check_checkpoints, check_receipts
from portal.submissions.lots import sampling
from portal.submissions.lots.models import Sample
from portal.submissions.lots.service import lot_of
from tests.factories.zips import unzipped
from tests.unit.reports.bundles.conftest import World
from tests.unit.reports.bundles.packing import checked, packed
from tests.unit.reports.bundles.test_counted_then import assessed


def samples(files: dict[str, bytes]) -> list[str]:
    return [name for name in files if name.startswith("samples/")]


def test_a_sample_that_was_not_decided_on_is_not_told(fresh: World) -> None:
    """Its units could be prepared for the test. What it is drawn by is not told either."""
    desk = fresh.desk
    told = samples(unzipped(fresh.bundle()))
    assert len(told) == 1
    first = fresh.session.scalars(select(Sample)).one()
    sampling.draw(fresh.session, desk.make.actor(RoleName.REVIEWER), fresh.clock, first.lot, 9)
    lot = lot_of(fresh.session, desk.lot(desk.manifest("SN-a", "SN-b", "SN-c", lot="L-2"), lot="L-2"))
    assert lot is not None
    sampling.draw(fresh.session, desk.make.actor(RoleName.REVIEWER), fresh.clock, lot, 2)
    fresh.session.commit()
    fresh.publish()
    assert samples(unzipped(fresh.bundle())) == told
    undecided = assessed(fresh)
    assert samples(undecided) == []
    assert not [name for name, data in undecided.items() if b"sampling." in data and "tlog" in name]
    steps, _ = checked(packed(undecided), fresh.policy)
    assert "No sample of its lots was drawn before it was decided on." in steps


# --- A portal that is not honest: its entries are as it wants them ----------------------------------


class Story:
    """The whole bundle, and entries that can be changed."""

    def __init__(self, world: World, whole: bytes) -> None:
        self.bundle = Bundle(io.BytesIO(whole))
        self.bundle.check_files()
        self.entries = check_receipts(self.bundle, check_checkpoints(self.bundle, world.policy))
        self.checking = Checking(self.bundle, self.entries)
        self.checking.evidence()
        self.rows = self.checking.documents("samples")
        self.row = next(iter(self.rows.values()))
        self.submitted = self.entries.one("submission.made", self.row["lot"], "")

    def change(self, kind: str, **values: Any) -> None:
        """The facts of the entry of a kind."""
        self.entries = Entries(
            [replace(one, facts=one.facts | values) if one.kind == kind else one for one in self.entries.told]
        )

    def check(self) -> str:
        rows = self.checking.documents("submissions")
        return check_samples(self.bundle, self.entries, self.rows, rows, self.checking.files)


@pytest.fixture
def said(world: World, whole: bytes) -> Story:
    return Story(world, whole)


def test_units_that_its_seed_does_not_draw_are_refused(said: Story) -> None:
    said.row["serials"] = sorted(said.row["serials"], reverse=True)
    digest = hashlib.sha256("\n".join(said.row["serials"]).encode()).hexdigest()
    said.change("sampling.drawn", serials=f"sha256:{digest}")
    with pytest.raises(LedgerError, match="its seed draws other units from the manifest"):
        said.check()


def test_a_seed_that_does_not_open_what_was_committed_is_refused(said: Story) -> None:
    said.change("sampling.committed", commitment="sha256:" + "0" * 64)
    with pytest.raises(LedgerError, match="commitment: the bundle says 'sha256:"):
        said.check()


def test_another_manifest_than_the_lots_is_refused(said: Story) -> None:
    said.row["manifest"] = "sha256:" + "0" * 64
    said.change("sampling.drawn", manifest=said.row["manifest"])
    with pytest.raises(LedgerError, match="another manifest than the lot's"):
        said.check()


def test_an_older_seed_than_the_last_one_is_refused(said: Story) -> None:
    """Out of many that were committed one could be chosen."""
    last = Told(said.submitted.seq - 1, "sampling.committed", "f" * 32, {"product": said.checking.product})
    said.entries = Entries(sorted((*said.entries.told, last), key=lambda one: one.seq))
    with pytest.raises(LedgerError, match="another seed was the last one committed before the lot"):
        said.check()


def test_a_seed_that_was_committed_after_the_lot_was_submitted_is_told(said: Story) -> None:
    late = [
        replace(one, seq=said.submitted.seq + 1) if one.kind == "sampling.committed" else one
        for one in said.entries.told
    ]
    said.entries = Entries(sorted(late, key=lambda one: one.seq))
    assert "No seed had been committed before" in said.check()
    assert "whoever drew could have chosen" in said.check()
