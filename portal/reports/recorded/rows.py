"""Tables whose every row has exactly one entry that says the same of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select, text, true
from sqlalchemy.orm import Session, joinedload, lazyload
from sqlalchemy.orm.interfaces import ORMOption

from portal.db import Base
from portal.evidence import service as evidence
from portal.evidence.models import Evidence, Tombstone
from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest
from portal.reassessment.filing import filed_says
from portal.reassessment.models import ChangeNotice, Reassessment
from portal.reassessment.service import handled_says, reassessment_says
from portal.reports.recorded.entries import body_of, differences, from_before, owner, same_time
from portal.retention import accesses, deleting, exporting, holds
from portal.retention import service as retention
from portal.retention.models import Access, Export, Hold, HoldAct, HoldStep, RetentionRules
from portal.review import entries as said
from portal.review.models import Assessment, Case, ChangeRequest, Comment, Decision
from portal.submissions.firmware import service as firmware
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.lots import sampling as samples
from portal.submissions.lots.models import Sample
from portal.submissions.models import CheckRecord
from portal.suppliers import sampling as seeds
from portal.suppliers.models import Component, SamplingSeed, Supplier
from portal.suppliers.service import component_says, supplier_says

ALL = true()


@dataclass(frozen=True, slots=True)
class Ledgered:
    """A table whose every row has exactly one ledger entry, and what that entry must say of the row."""

    table: type[Base]
    kind: str
    says: Callable[[Any], dict[str, object]]
    at: Callable[[Any], datetime]
    only: ColumnElement[bool] = ALL  # which rows of the table
    newer: bool = False  # a kind of entry that suppliers from before do not have for every row
    # Nothing beside it: a join would hide who refers to nothing.
    loads: tuple[ORMOption, ...] = (lazyload("*"),)


LEDGERED: tuple[Ledgered, ...] = (
    Ledgered(Supplier, "supplier.created", supplier_says, lambda row: row.created_at),
    Ledgered(Component, "component.added", component_says, lambda row: row.created_at),
    Ledgered(Evidence, "evidence.accepted", evidence.says, lambda row: row.received_at),
    Ledgered(
        Tombstone,
        "evidence.deleted",
        lambda row: {"sha256": row.evidence.sha256, "size": row.evidence.size, **deleting.says(row)},
        lambda row: row.deleted_at,
        loads=(joinedload(Tombstone.evidence, innerjoin=False),),
    ),
    Ledgered(RetentionRules, "retention.changed", retention.says, lambda row: row.set_at),
    Ledgered(Export, "evidence.exported", exporting.says, lambda row: row.exported_at),
    Ledgered(Access, "evidence.downloaded", accesses.says, lambda row: row.at),
    Ledgered(Hold, "hold.placed", holds.says, lambda row: row.placed_at),
    *(
        Ledgered(HoldAct, f"hold.{step.value}", holds.act_says, lambda row: row.at, HoldAct.step == step)
        for step in HoldStep
    ),
    Ledgered(
        FirmwareRelease,
        firmware.ACCEPTED,
        firmware.says,
        lambda row: row.accepted_at,
        FirmwareRelease.accepted_at.is_not(None),
        newer=True,
    ),
    Ledgered(
        FirmwareRelease,
        firmware.WITHDRAWN,
        firmware.says,
        lambda row: row.withdrawn_at,
        FirmwareRelease.withdrawn_at.is_not(None),
        newer=True,
    ),
    Ledgered(SamplingSeed, seeds.COMMITTED, seeds.says, lambda row: row.committed_at),
    Ledgered(Sample, samples.DRAWN, samples.says, lambda row: row.drawn_at),
    Ledgered(
        CheckRecord,
        "check.recorded",
        lambda row: {
            "submission": row.submission_id,
            "run": row.run,
            "check": row.check_id,
            "outcome": row.outcome.value,
            "reason": digest(row.reason),
        },
        lambda row: row.at,
    ),
    Ledgered(Assessment, "assessment.made", said.assessment_says, lambda row: row.created_at),
    Ledgered(Case, "case.opened", said.case_says, lambda row: row.opened_at, newer=True),
    Ledgered(Decision, "decision.made", said.decision_says, lambda row: row.decided_at),
    Ledgered(
        ChangeRequest,
        "change_request.answered",
        said.answer_says,
        lambda row: row.answered_at,
        ChangeRequest.answered_at.is_not(None),
        newer=True,
    ),
    Ledgered(Comment, "comment.made", said.comment_says, lambda row: row.at, newer=True),
    Ledgered(ChangeNotice, "change.filed", filed_says, lambda row: row.filed_at),
    Ledgered(
        ChangeNotice,
        "change.handled",
        handled_says,
        lambda row: row.handled_at,
        ChangeNotice.handled_at.is_not(None),
        newer=True,
    ),
    Ledgered(Reassessment, "reassessment.made", reassessment_says, lambda row: row.at, newer=True),
)


def owners(session: Session) -> Iterator[Fault]:
    """What belongs to a supplier refers to nothing that belongs to another."""
    tables = [table for table in Base.metadata.sorted_tables if "supplier_id" in table.c]
    for table in tables:
        for column in table.c:
            for key in column.foreign_keys:
                other = key.column.table
                if other not in tables:
                    continue
                rows = session.execute(
                    text(  # as text: there are many, and each would be made anew
                        "SELECT mine.id, mine.supplier_id, theirs.id, theirs.supplier_id "  # noqa: S608
                        f"FROM {table.name} AS mine JOIN {other.name} AS theirs "
                        f"ON theirs.{key.column.name} = mine.{column.name} "
                        "WHERE mine.supplier_id <> theirs.supplier_id"
                    )
                )
                for name, supplier, its, its_supplier in rows:
                    yield Fault(
                        f"{table.name} {name}",
                        f"belongs to supplier {supplier}, {other.name} {its} to which it refers to "
                        f"{its_supplier}",
                    )


def both_ways(session: Session, rule: Ledgered) -> Iterator[Fault]:
    """Every row has its entry that says the same, every entry its row."""
    table: Any = rule.table
    name = table.__tablename__
    rows = session.execute(
        select(table, Entry)
        .outerjoin(Entry, (Entry.subject_id == table.id) & (Entry.kind == rule.kind))
        .where(rule.only)
        .options(*rule.loads)
        .order_by(table.id)
        .execution_options(yield_per=500)
    )
    before = None
    for row, entry in rows:
        where = f"{name} {row.id}"
        if entry is None:
            if rule.newer and from_before(session, row.supplier_id):
                continue
            yield Fault(where, f"has no entry {rule.kind} in the ledger")
            continue
        if row.id == before:
            yield Fault(where, f"has more than one entry {rule.kind} in the ledger")
        before = row.id
        yield from _says(rule, where, row, entry)
        session.expunge_all()
    orphans = session.execute(
        select(Entry.seq, Entry.subject_id)
        .outerjoin(table, (table.id == Entry.subject_id) & rule.only)
        .where(Entry.kind == rule.kind, table.id.is_(None))
    )
    for seq, subject in orphans:
        yield Fault(f"ledger entry {seq}", f"tells of {name} {subject}, which is not in the database")


def _says(rule: Ledgered, where: str, row: Any, entry: Entry) -> Iterator[Fault]:
    body = body_of(entry)
    mine = row.id if isinstance(row, Supplier) else getattr(row, "supplier_id", None)
    yield from owner(where, mine, entry)
    yield from same_time(where, rule.at(row), entry)
    try:
        told = rule.says(row)
    except (AttributeError, StopIteration):
        yield Fault(where, "refers to something that is not in the database")
        return
    # Entries of the first form tell less.
    yield from differences(where, entry, body, {name: told[name] for name in told if name in body})
