"""Reports name a checkpoint that stays; bundles go on when a log is closed and the next is opened."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.adapters.keys import signer_in
from portal.cli.receipts import verify_receipt_command
from portal.ledger import logs
from portal.ledger.leaves import Opening
from portal.ledger.models import Cosignature, Entry, SignedCheckpoint
from portal.ledger.notes import Note
from portal.ledger.proofs import Proof
from portal.reports.anchored import receipts_of
from portal.reports.pdf import render
from portal.reports.read import assessment_report
from portal.reports.view import Audience, LedgerRow
from portal.review.models import GrantedException
from portal.review.service import close_exception
from tests.factories.zips import unzipped
from tests.unit.reports.bundles.conftest import World
from tests.unit.reports.bundles.packing import checked, packed, refusal


def test_a_report_names_the_first_checkpoint_over_all_that_it_tells_of(world: World) -> None:
    view = assessment_report(world.session, world.decided)
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
    assert assessment_report(world.session, world.decided).checkpoint == point


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
    files = unzipped(fresh.bundle())
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
    files = unzipped(fresh.bundle())
    name = f"exceptions/{gap.id}.json"
    document = json.loads(files[name]) | {"ended_at": None}
    files[name] = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    assert "whether it ended" in refusal(packed(files), fresh)


@pytest.mark.parametrize("audience", list(Audience))
def test_a_report_carries_receipts_that_verify(world: World, tmp_path: Path, audience: Audience) -> None:
    """Taken out by poppler, checked by the command: the entry's digests are those that are printed."""
    view = assessment_report(world.session, world.decided, audience=audience)
    (tmp_path / "report.pdf").write_bytes(render(view))
    (tmp_path / "policy").write_text(world.policy_text)
    (tmp_path / "out").mkdir()
    subprocess.run(["pdfdetach", "-saveall", "-o", tmp_path / "out", tmp_path / "report.pdf"], check=True)
    kinds = []
    for row in view.ledger:
        path = tmp_path / "out" / view.receipts[row.seq].name
        done = CliRunner().invoke(
            verify_receipt_command, [str(path), "--policy", str(tmp_path / "policy"), "--json"]
        )
        assert done.exit_code == 0, done.output
        entry = json.loads(done.output)["entry"]
        assert entry["seq"] == row.seq
        kinds.append(entry["kind"])
        if entry["subject"] == world.decided:
            assert (entry["facts"], entry["result"]) == (view.facts_digest, view.result_digest)
            assert entry["policy"]["digest"] == view.result.policy_digest
    assert {"assessment.made", "decision.made"} == set(kinds)
    assert len(list((tmp_path / "out").iterdir())) == len(view.ledger)


def test_a_report_has_the_same_bytes_when_the_log_has_grown(fresh: World) -> None:
    before = render(assessment_report(fresh.session, fresh.decided))
    fresh.desk.put(b"the log grows", "more.pdf")
    fresh.publish()
    assert render(assessment_report(fresh.session, fresh.decided)) == before


def test_receipts_of_one_report_may_be_of_two_logs(fresh: World) -> None:
    rows = assessment_report(fresh.session, fresh.decided).ledger
    log = logs.open_log(fresh.session)
    assert log is not None
    logs.close(fresh.session, fresh.clock, log)
    logs.create(fresh.session, fresh.clock, signer_in(fresh.settings, 2, "portal.example/ledger/2"))
    fresh.desk.put(b"in the second log", "more.pdf")
    fresh.publish()
    newest = fresh.session.scalars(select(Entry).order_by(Entry.seq.desc())).first()
    assert newest is not None
    later = LedgerRow("later", newest.seq, newest.at, newest.hash, newest.previous)
    found = receipts_of(fresh.session, [*rows, later])
    assert list(found) == [*(row.seq for row in rows), newest.seq]
    origins = set()
    for seq, one in found.items():
        proof = Proof.parse(one.text)
        opening = Opening.load(proof.extra)
        assert opening.facts["seq"] == seq
        origins.add(proof.check(opening.leaf(), fresh.policy.logs).checkpoint.origin)
    assert len(origins) == 2


def test_a_report_prefers_the_first_checkpoint_that_most_witnesses_cosigned(fresh: World) -> None:
    """So that its receipts meet a quorum, and stay as they are afterwards."""
    log = logs.open_log(fresh.session)
    assert log is not None
    sizes = [log.head]
    for number in range(4):
        fresh.desk.put(b"%d" % number, f"{number}.pdf")
        fresh.publish()
        sizes.append(log.head)

    def named() -> int:
        point = assessment_report(fresh.session, fresh.decided).checkpoint
        assert point is not None
        return point.size

    assert named() == sizes[0]
    for size, names in ((sizes[1], "a"), (sizes[2], "ab"), (sizes[3], "ab"), (sizes[4], "b")):
        for name in names:
            line = f"— {name}.example AAAAAAAA\n"
            fresh.session.add(
                Cosignature(
                    log=log.number, size=size, name=name, key_id="00", line=line, at=fresh.clock.now()
                )
            )
    fresh.session.flush()
    assert named() == sizes[2]
