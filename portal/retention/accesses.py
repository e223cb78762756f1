"""Who of the buyer's people took a file that was on hold: a link of its chain of custody."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.errors import NotAllowed
from portal.evidence.models import Evidence
from portal.ledger import service as ledger
from portal.retention.holds import covers, in_force
from portal.retention.models import Access, Hold


def reference(session: Session, evidence_id: str) -> str | None:
    """What the oldest hold over a file is for; None where it is not on hold. Reads only."""
    return session.scalars(
        select(Hold.reference)
        .where(Evidence.id == evidence_id, in_force(), covers(Evidence))
        .order_by(Hold.placed_at, Hold.id)
        .limit(1)
    ).first()


def record(session: Session, actor: Actor, clock: Clock, evidence_id: str) -> Access | None:
    """Write down that a person takes a file, if it is on hold, before they get it. Raises NotAllowed."""
    if actor.user_id is None:
        raise NotAllowed("a file that is on hold goes to a person")
    ledger.take_turn(session)
    if (held_for := reference(session, evidence_id)) is None:
        return None
    row = Access(
        supplier_id=session.get_one(Evidence, evidence_id).supplier_id,
        evidence_id=evidence_id,
        reference=held_for,
        by=actor.user_id,
        at=clock.now(),
    )
    session.add(row)
    session.flush()
    ledger.append(session, clock, "evidence.downloaded", row.id, says(row), supplier_id=row.supplier_id)
    return row


def says(row: Access) -> dict[str, object]:
    """What the ledger says of a download."""
    return {"evidence": row.evidence_id, "reference": row.reference, "by": row.by}
