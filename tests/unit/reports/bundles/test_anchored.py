"""Reports name a checkpoint that stays; bundles go on when a log is closed and the next is opened."""

import json

from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters.keys import signer_in
from portal.ledger import logs
from portal.ledger.models import SignedCheckpoint
from portal.ledger.notes import Note
from portal.reports.read import assessment_report
from portal.review.models import GrantedException
from portal.review.service import close_exception
from tests.unit.reports.bundles.conftest import World
from tests.unit.reports.bundles.test_bundles import checked, packed, refusal, unpacked


def test_a_report_names_the_first_checkpoint_over_all_that_it_tells_of(world: World) -> None:
    view = assessment_report(world.session, world.decided.id)
    point = view.checkpoint
    assert point is not None
    first = world.session.scalars(
        select(SignedCheckpoint)
        .where(SignedCheckpoint.size > max(row.seq for row in view.ledger))
        .order_by(SignedCheckpoint.size)
    ).first()
    assert first is not None
    assert (point.size, point.at) == (first.size, first.at)
    assert point.root in Note.parse(first.note).checkpoint.body
    world.desk.put(b"the log grows", "more.pdf")
    world.publish()
    assert assessment_report(world.session, world.decided.id).checkpoint == point


def test_a_bundle_has_receipts_of_a_closed_log_and_of_the_next(fresh: World) -> None:
    session = fresh.session
    log = logs.open_log(session)
    assert log is not None
    logs.close(session, fresh.clock, log)
    logs.create(session, fresh.clock, signer_in(fresh.settings, 2, "portal.example/ledger/2"))
    gap = session.scalars(select(GrantedException)).first()
    assert gap is not None
    close_exception(session, fresh.desk.make.actor(RoleName.APPROVER), fresh.clock, gap.id)
    session.commit()
    fresh.publish()
    files = unpacked(fresh.bundle())
    assert {"ledger/1/checkpoint", "ledger/2/checkpoint"} <= files.keys()
    assert json.loads(files[f"exceptions/{gap.id}.json"])["ended_at"]
    checked(packed(files), fresh.policy)
    swapped = files | {"ledger/2/checkpoint": files["ledger/1/checkpoint"]}
    assert "it belongs to another bundle" in refusal(packed(swapped), fresh)


def test_an_ended_gap_that_is_said_to_be_in_force_is_refused(fresh: World) -> None:
    gap = fresh.session.scalars(select(GrantedException)).first()
    assert gap is not None
    close_exception(fresh.session, fresh.desk.make.actor(RoleName.APPROVER), fresh.clock, gap.id)
    fresh.session.commit()
    fresh.publish()
    files = unpacked(fresh.bundle())
    name = f"exceptions/{gap.id}.json"
    document = json.loads(files[name]) | {"ended_at": None}
    files[name] = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    assert "whether it ended" in refusal(packed(files), fresh)
