"""Deletion: first tombstones and their ledger entries, all or none; then the bytes, also after a crash."""

from typing import Final

from sqlalchemy import ColumnElement, Select, exists, select, update
from sqlalchemy.orm import Session, aliased

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import Conflict, NotAllowed
from portal.evidence.models import Evidence, Tombstone
from portal.evidence.ports import BlobStore
from portal.ledger import service as ledger
from portal.retention.holds import covers, in_force
from portal.retention.preview import Preview, preview, still

_STEP: Final = 50  # blobs taken out in one transaction: less than half a second, also on a slow disk
# Between two of them. SQLite's lock goes to who asks next: others who wait for it ask every 100 ms at least.
PAUSE_SECONDS: Final = 0.15


def delete(
    session: Session, actor: Actor, clock: Clock, *, digest: str, seen: Preview | None = None
) -> Preview:
    """Delete what the preview with this digest shows, if that is still what the rules let go: nothing else.

    `seen`: the preview, made just before in a transaction that only reads, so that writers wait only while
    its files are judged anew; else it is made here. They are judged in this transaction: a hold waits for it,
    or it for the hold. The caller commits and enqueues `remove_bytes`. Raises NotAllowed, Conflict.
    """
    actor.must(Permission.ADMIN_RETENTION_MANAGE)
    if actor.user_id is None:
        raise NotAllowed("a deletion needs a person")
    ledger.take_turn(session)
    seen = seen or preview(session, clock)
    if seen.digest != digest or not still(session, clock, seen):
        raise Conflict("What would go has changed since you saw it. Nothing was deleted: look at it again.")
    if not seen.goes:
        raise Conflict("There is nothing that may go.")
    now = clock.now()
    made = [
        Tombstone(
            id=item.file.id,
            supplier_id=item.file.supplier_id,
            rule=item.rule,
            rules_version=seen.rules.version,
            rules_digest=seen.rules.digest,
            kept_until=item.kept_until,
            deleted_by=actor.user_id,
            deleted_at=now,
        )
        for item in seen.goes
    ]
    session.add_all(made)
    session.flush()
    ledger.append_all(
        session,
        clock,
        [
            ledger.New(
                "evidence.deleted",
                tombstone.id,
                {"sha256": item.file.sha256, "size": item.file.size, **says(tombstone)},
                tombstone.supplier_id,
            )
            for tombstone, item in zip(made, seen.goes, strict=True)
        ],
    )
    return seen


def says(tombstone: Tombstone) -> dict[str, object]:
    """What the ledger says of a deletion, besides digest and size."""
    return {
        "rule": tombstone.rule,
        "rules": f"sha256:{tombstone.rules_digest}",
        "rules_version": tombstone.rules_version,
        "kept_until": tombstone.kept_until.isoformat(),
        "by": tombstone.deleted_by,
    }


def remove_bytes(session: Session, clock: Clock, store: BlobStore) -> int:
    """Take from the store the bytes of deleted evidence that no other row needs; how many (at most 50).

    Call again after PAUSE_SECONDS, each time in a transaction of its own, until 0: also what a crash left is
    finished so. A hold that came after the deletion keeps bytes that are still there.
    """
    ledger.take_turn(session)  # no delivery of the same bytes and no hold comes between look and removal
    found = session.scalars(
        unneeded().where(Tombstone.removed_at.is_(None)).order_by(Tombstone.id).limit(_STEP)
    )
    waiting = list(dict.fromkeys(found))
    for sha256 in waiting:
        store.delete(sha256)
    same = select(Evidence.id).where(Evidence.sha256.in_(waiting))
    session.execute(
        update(Tombstone)
        .where(Tombstone.removed_at.is_(None), Tombstone.id.in_(same))
        .values(removed_at=clock.now())
    )
    return len(waiting)


def unneeded() -> Select[str]:
    """Digests of deleted evidence that no other row needs and no hold keeps; from Evidence and Tombstone."""
    return select(Evidence.sha256).join(Tombstone, Tombstone.id == Evidence.id).where(~_needed(), ~_held())


def _needed() -> ColumnElement[bool]:
    """Another row of evidence, of whatever supplier, has these bytes and no tombstone."""
    other, gone = aliased(Evidence), aliased(Tombstone)
    return exists().where(other.sha256 == Evidence.sha256, ~exists().where(gone.id == other.id))


def _held() -> ColumnElement[bool]:
    """Deleted evidence with these bytes is under hold: itself, its supplier, or a product that it was for."""
    same = aliased(Evidence)
    return exists().where(same.sha256 == Evidence.sha256, in_force(), covers(same))
