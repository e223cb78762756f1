"""Verbs of retention. (Holds: holds.py; what would go: preview.py; deletion: deleting.py.)"""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import Conflict, InvalidInput, NotAllowed, Problem
from portal.ledger import service as ledger
from portal.retention import rules
from portal.retention.deleting import PAUSE_SECONDS, delete, remove_bytes
from portal.retention.holds import ask_release, place, release
from portal.retention.models import RetentionRules
from portal.retention.preview import preview
from portal.retention.rules import Kind, Rule

__all__ = [
    "PAUSE_SECONDS",
    "ask_release",
    "delete",
    "place",
    "preview",
    "release",
    "remove_bytes",
    "set_rules",
]


def set_rules(
    session: Session, actor: Actor, clock: Clock, *, by_kind: Mapping[Kind, Rule], why: str, version: int
) -> RetentionRules:
    """Put new rules in force. `version` is that of the rules they replace, as the person saw it.

    Deletes nothing. Raises NotAllowed, InvalidInput, Conflict.
    """
    actor.must(Permission.ADMIN_RETENTION_MANAGE)
    if actor.user_id is None:
        raise NotAllowed("rules need a person")
    ledger.take_turn(session)
    before = rules.current(session)
    if before.version != version:
        raise Conflict(f"The rules were changed meanwhile (version {before.version}): look at them again.")
    text = rules.dump(by_kind)
    rules.load(text)
    if not 1 <= len(why.strip()) <= 500:
        raise InvalidInput(
            "The rules were not changed.", (Problem("why", "1 to 500 characters", str(len(why.strip()))),)
        )
    if rules.digest_of(text) == before.digest:
        raise Conflict("These are the rules in force.")
    row = RetentionRules(
        version=before.version + 1,
        rules=text,
        digest=rules.digest_of(text),
        why=why.strip(),
        set_by=actor.user_id,
        set_at=clock.now(),
    )
    session.add(row)
    session.flush()
    ledger.append(
        session, clock, "retention.changed", row.id, {"before": f"sha256:{before.digest}", **says(row)}
    )
    return row


def says(row: RetentionRules) -> dict[str, object]:
    """What the ledger says of a version of the rules."""
    return {
        "version": row.version,
        "rules": ledger.digest(row.rules),
        "why": ledger.digest(row.why),
        "by": row.set_by,
    }
