"""Whether the bytes of evidence may still be read: they may be deleted by a rule, or damaged in the store."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from portal.db import chunks
from portal.evidence.models import Damage, Evidence, Tombstone


def alive() -> ColumnElement[bool]:
    """The condition that a row of Evidence has no tombstone."""
    return ~exists().where(Tombstone.id == Evidence.id)


def spoilt() -> ColumnElement[bool]:
    """The condition that the bytes of a row of Evidence prove nothing any more: deleted, or damaged."""
    damaged = exists().where(Damage.sha256 == Evidence.sha256, Damage.mended_at.is_(None))
    return or_(~alive(), damaged)


def unusable(session: Session, evidence_ids: Iterable[str]) -> dict[str, str]:
    """Of these, the evidence that proves nothing any more, and why (a sentence for people). {id: reason}"""
    found: dict[str, str] = {}
    for ids in chunks(sorted(set(evidence_ids))):
        for row in session.scalars(
            select(Evidence)
            .join(Damage, (Damage.sha256 == Evidence.sha256) & Damage.mended_at.is_(None))
            .where(Evidence.id.in_(ids))
        ):
            found[row.id] = (
                f"{row.filename} is damaged in the evidence store: its bytes are not those delivered."
            )
        for tombstone in session.scalars(select(Tombstone).where(Tombstone.id.in_(ids))):
            found[tombstone.id] = tombstone.told
    return found
