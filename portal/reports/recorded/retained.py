"""Retention: what stands beside a text is its digest, and an export has the files that its manifest names."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.evidence.models import Tombstone
from portal.ledger.service import Fault, digest
from portal.reports.recorded.entries import SAME_TIME, in_chunks
from portal.retention.models import Export, ExportItem, RetentionRules


def rules(session: Session) -> Iterator[Fault]:
    """Each version of the rules has the digest that stands beside it."""
    for rows in in_chunks(session, RetentionRules):
        for row in rows:
            if digest(row.rules) != f"sha256:{row.digest}":
                told = "they do not have the digest beside them: one of them was altered"
                yield Fault(f"retention_rules {row.id}", told)


def exports(session: Session) -> Iterator[Fault]:
    """Each export has its manifest's digest and files, no more and no fewer."""
    for rows in in_chunks(session, Export, 20):  # with up to 1,000 files each
        items: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for item in session.execute(
            select(ExportItem.export_id, ExportItem.evidence_id, ExportItem.supplier_id).where(
                ExportItem.export_id.in_([row.id for row in rows])
            )
        ):
            items[item.export_id][item.evidence_id, item.supplier_id] += 1
        for row in rows:
            where = f"exports {row.id}"
            if digest(row.manifest) != f"sha256:{row.digest}":
                yield Fault(where, "its manifest does not have the digest beside it: one of them was altered")
            try:
                named = Counter((file["id"], row.supplier_id) for file in json.loads(row.manifest)["files"])
            except (ValueError, LookupError, TypeError):
                yield Fault(where, "its manifest cannot be read: it was altered")
                continue
            for file, _ in named - items[row.id]:
                yield Fault(where, f"names evidence {file}, which is none of its export_items")
            for file, _ in items[row.id] - named:
                yield Fault(where, f"has evidence {file} as one of its export_items, and does not name it")
    lost = select(ExportItem.id).outerjoin(Export, Export.id == ExportItem.export_id)
    for item_id in session.scalars(lost.where(Export.id.is_(None)).order_by(ExportItem.id)):
        yield Fault(f"export_items {item_id}", "is of an export that is not in the database")


def tombstones(session: Session) -> Iterator[Fault]:
    """No bytes were taken away before they were deleted."""
    early = select(Tombstone.id, Tombstone.deleted_at, Tombstone.removed_at).where(
        Tombstone.removed_at < Tombstone.deleted_at
    )
    for evidence_id, deleted_at, removed_at in session.execute(early.order_by(Tombstone.id)):
        # Another host may have removed them, by its own clock.
        if removed_at and deleted_at - removed_at > SAME_TIME:
            yield Fault(f"tombstones {evidence_id}", "its bytes were removed before it was deleted")


RULES = (
    ("retention.changed, and the rules", rules),
    ("evidence.exported, and the files", exports),
    ("evidence.deleted, and the removal", tombstones),
)
