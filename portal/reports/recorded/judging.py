"""Policies, cases, decisions and what they accept."""

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest
from portal.reports.recorded.entries import body_of, differences, entries_about, entries_of, first_of
from portal.review.effects import exception_facts
from portal.review.models import Assessment, GrantedException, PolicyVersion


def policies(session: Session) -> Iterator[Fault]:
    """Each policy that was applied: its text, its digest, its entry; and no assessment by another one."""
    kept: set[str] = set()
    for row in session.scalars(select(PolicyVersion).order_by(PolicyVersion.digest)):
        kept.add(f"sha256:{row.digest}")
        where = f"policy {row.policy_id} {row.version}"
        if digest(row.text) != f"sha256:{row.digest}":
            yield Fault(where, "its text does not have its digest: it was altered")
        entries = entries_about(session, "policy.adopted", row.digest)
        if len(entries) != 1:
            yield Fault(where, f"has {len(entries)} entries policy.adopted in the ledger, expected one")
        for entry in entries:
            found = {"policy": row.policy_id, "version": row.version, "digest": f"sha256:{row.digest}"}
            yield from differences(where, entry, body_of(entry), found)
    for entry in entries_of(session, "policy.adopted"):
        if f"sha256:{entry.subject_id}" not in kept:
            yield Fault(f"ledger entry {entry.seq}", f"tells of policy {entry.subject_id}, which is not kept")
    first = first_of(session, "policy.adopted")
    rows = session.execute(
        select(Assessment.policy_digest, func.max(Entry.seq))
        .join(Entry, (Entry.subject_id == Assessment.id) & (Entry.kind == "assessment.made"))
        .group_by(Assessment.policy_digest)
    )
    for name, last in rows:
        if name not in kept and first is not None and last > first:
            yield Fault(f"policy {name}", "was applied, and its text is not kept")


def exceptions(session: Session) -> Iterator[Fault]:
    """Each accepted gap: granted as the ledger says, and ended if and only if it says so."""
    first = first_of(session, "exception.granted")
    for row in session.scalars(select(GrantedException).order_by(GrantedException.id)):
        where = f"exceptions {row.id}"
        granted, ended = (entries_about(session, f"exception.{act}", row.id) for act in ("granted", "ended"))
        if not granted and not _granted_before(session, row, first):
            yield Fault(where, "has no entry exception.granted in the ledger")
        if len(granted) > 1 or len(ended) > 1:
            yield Fault(where, "was granted or ended more than once by the ledger")
        for entry in granted:
            yield from differences(where, entry, body_of(entry), exception_facts(row))
        if granted and (row.closed_at is None) == bool(ended):
            said = "ended" if ended else "in force"
            yield Fault(where, f"the ledger says that it is {said}, the database does not")
    known = select(GrantedException.id)
    for seq, subject in session.execute(
        select(Entry.seq, Entry.subject_id).where(
            Entry.kind.in_(("exception.granted", "exception.ended")), Entry.subject_id.not_in(known)
        )
    ):
        yield Fault(f"ledger entry {seq}", f"tells of exceptions {subject}, which is not in the database")


def _granted_before(session: Session, row: GrantedException, first: int | None) -> bool:
    """Whether its decision names it, in an entry older than the first one of an exception."""
    return any(
        {"control": row.control_id, "expires": row.expires_on.isoformat()}
        in body_of(entry).get("conditions", [])
        for entry in entries_about(session, "decision.made", row.decision_id)
        if first is None or entry.seq < first
    )


RULES = (
    ("policy.adopted", policies),
    ("exception.granted, exception.ended", exceptions),
)
