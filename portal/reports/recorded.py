"""Do the rows say what their ledger entries do? One rule for each kind of entry that tells of more than a row
in one sentence (portal/reports/consistency.py has the others).

Rows from before a kind of entry existed have none. They are known by entries of that time, never by a date
that stands beside them: those could be moved.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from portal.clock import rfc3339
from portal.ledger.models import Entry
from portal.ledger.service import Fault, digest, digest_of
from portal.review.effects import exception_facts
from portal.review.models import Assessment, GrantedException, PolicyVersion
from portal.submissions.models import CheckRecord, Submission, SubmissionState
from portal.submissions.service import declared
from portal.submissions.verdicts import checks_document, run_checks, verdicts_digest
from portal.suppliers import revocation, timestamping
from portal.suppliers.keys import key_facts
from portal.suppliers.models import KeyState, Product, RevocationList, SigningKey

_DECLARED: Final = frozenset({"answers", "component", "declared_version", "lot"})  # one of each kind
SAME_TIME: Final = timedelta(minutes=10)  # between a row and its entry: a writer may have waited for others


def runs(session: Session) -> Iterator[Fault]:
    """Each verification run and the digest of all it found, both ways."""
    told: set[tuple[str, int]] = set()
    for entry in _entries(session, "verification.ended"):
        body = _body(entry)
        if not isinstance(run := body.get("run"), int):
            continue
        where = f"run {run} of submission {entry.subject_id}"
        if (entry.subject_id, run) in told:
            yield Fault(where, "has more than one entry verification.ended in the ledger")
        told.add((entry.subject_id, run))
        checks = run_checks(session, entry.subject_id, run)
        found: dict[str, object] = {
            "checks": digest_of(checks_document(checks)),
            "verdicts": verdicts_digest(session, entry.subject_id, run),
        }
        yield from _differences(where, entry, body, found)
        session.expunge_all()
    first = _first(session, "verification.ended")
    rows = session.execute(
        select(CheckRecord.submission_id, CheckRecord.run, func.max(Entry.seq))
        .outerjoin(Entry, (Entry.subject_id == CheckRecord.id) & (Entry.kind == "check.recorded"))
        .group_by(CheckRecord.submission_id, CheckRecord.run)
        .order_by(CheckRecord.submission_id, CheckRecord.run)
    )
    for submission_id, run, last in rows:
        if (submission_id, run) not in told and last is not None and first is not None and last > first:
            yield Fault(
                f"run {run} of submission {submission_id}", "has no entry verification.ended in the ledger"
            )


def submitted(session: Session) -> Iterator[Fault]:
    """What was offered, for what, by whom and when; and that it stands where its newest run left it."""
    told: set[str] = set()
    for entry in _entries(session, "submission.made"):
        where = f"submission {entry.subject_id}"
        if entry.subject_id in told:
            yield Fault(where, "has more than one entry submission.made in the ledger")
        told.add(entry.subject_id)
        row = session.get(Submission, entry.subject_id)
        if row is None or row.submitted_at is None or row.state is SubmissionState.DRAFT:
            yield Fault(where, f"ledger entry {entry.seq} says that it was submitted, the database does not")
            continue
        if abs(row.submitted_at - entry.at) > SAME_TIME:
            yield Fault(
                where, f"is dated {rfc3339(row.submitted_at)}, ledger entry {entry.seq} {rfc3339(entry.at)}"
            )
        found: dict[str, object] = {
            "submission": row.kind.value,
            "supplier": row.supplier_id,
            "product": row.product_id,
            "by": row.submitted_by,
            "evidence": sorted(f"sha256:{one.evidence.sha256}" for one in row.attachments),
        }
        body = _body(entry)
        if _DECLARED & body.keys():  # entries of the first form do not tell it
            try:
                found |= declared(session, row)
            except NoResultFound:
                yield Fault(where, "what was declared with it is not in the database")
        yield from _differences(where, entry, body, found)
        if ended := _about(session, "verification.ended", row.id):
            outcome = row.outcome.value if row.outcome else None
            yield from _differences(where, ended[-1], _body(ended[-1]), {"run": row.run, "outcome": outcome})
        session.expunge_all()


def products(session: Session) -> Iterator[Fault]:
    """Each product is as it was last changed: its tier, its limits, the dates that retention counts from."""
    changed: dict[str, dict[str, tuple[Entry, Any]]] = {}
    for entry in _entries(session, "product.changed"):
        changes = _body(entry).get("changes")
        if isinstance(changes, dict):
            said = changed.setdefault(entry.subject_id, {})
            said.update({name: (entry, value) for name, value in changes.items()})
    for product_id, said in changed.items():
        where = f"products {product_id}"
        row = session.get(Product, product_id)
        if row is None:
            yield Fault(where, "is told of in the ledger, and is not in the database")
            continue
        for name, (entry, value) in said.items():
            kept = getattr(row, name, None)
            found = kept.isoformat() if isinstance(kept, date) else kept
            yield from _differences(where, entry, {name: value}, {name: found})


def policies(session: Session) -> Iterator[Fault]:
    """Each policy that was applied: its text, its digest, its entry; and no assessment by another one."""
    kept: set[str] = set()
    for row in session.scalars(select(PolicyVersion).order_by(PolicyVersion.digest)):
        kept.add(f"sha256:{row.digest}")
        where = f"policy {row.policy_id} {row.version}"
        if digest(row.text) != f"sha256:{row.digest}":
            yield Fault(where, "its text does not have its digest: it was altered")
        entries = _about(session, "policy.adopted", row.digest)
        if len(entries) != 1:
            yield Fault(where, f"has {len(entries)} entries policy.adopted in the ledger, expected one")
        for entry in entries:
            found = {"policy": row.policy_id, "version": row.version, "digest": f"sha256:{row.digest}"}
            yield from _differences(where, entry, _body(entry), found)
    for entry in _entries(session, "policy.adopted"):
        if f"sha256:{entry.subject_id}" not in kept:
            yield Fault(f"ledger entry {entry.seq}", f"tells of policy {entry.subject_id}, which is not kept")
    first = _first(session, "policy.adopted")
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
    first = _first(session, "exception.granted")
    for row in session.scalars(select(GrantedException).order_by(GrantedException.id)):
        where = f"exceptions {row.id}"
        granted, ended = (_about(session, f"exception.{act}", row.id) for act in ("granted", "ended"))
        if not granted and not _granted_before(session, row, first):
            yield Fault(where, "has no entry exception.granted in the ledger")
        if len(granted) > 1 or len(ended) > 1:
            yield Fault(where, "was granted or ended more than once by the ledger")
        for entry in granted:
            yield from _differences(where, entry, _body(entry), exception_facts(row))
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
        in _body(entry).get("conditions", [])
        for entry in _about(session, "decision.made", row.decision_id)
        if first is None or entry.seq < first
    )


def keys(session: Session) -> Iterator[Fault]:
    """Each signing key: registered, approved, rejected and distrusted as the ledger says."""
    for row in session.scalars(select(SigningKey).order_by(SigningKey.id)):
        where = f"signing key {row.id}"
        decided = {
            state: _about(session, f"key.{state.value}", row.id)
            for state in (KeyState.APPROVED, KeyState.REJECTED)
        }
        registered = _about(session, "key.registered", row.id)
        distrusted = _about(session, "key.distrusted", row.id)
        if len(registered) != 1:
            yield Fault(where, f"has {len(registered)} entries key.registered in the ledger, expected one")
        for state, entries in decided.items():
            if len(entries) != (row.state is state):
                yield Fault(where, f"is {row.state}; the ledger has {len(entries)} entries key.{state}")
        about = key_facts(row)
        for entry in (*registered, *decided[KeyState.APPROVED], *decided[KeyState.REJECTED], *distrusted):
            body = _body(entry)
            # Entries of the first form name neither the key's text nor its options.
            found = {name: value for name, value in about.items() if name in body}
            if entry.kind != "key.distrusted":
                found["purposes"] = row.purposes
            if entry.kind in ("key.approved", "key.rejected"):
                found["by"] = row.decided_by
            yield from _differences(where, entry, body, found)
        since = rfc3339(row.distrusted_from) if row.distrusted_from else None
        said = _body(distrusted[-1]).get("since") if distrusted else None
        if since != said:
            yield Fault(where, f"distrusted from: the database says {since}, the ledger says {said}")


def authorities(session: Session) -> Iterator[Fault]:
    """Each time-stamp authority: added, and removed if and only if the ledger says so."""
    known: set[str] = set()
    for row in timestamping.ever(session):
        known.add(row.id)
        where = f"time-stamp authority {row.id}"
        added, removed = (
            _about(session, kind, row.id) for kind in (timestamping.ADDED, timestamping.REMOVED)
        )
        if len(added) != 1:
            yield Fault(where, f"has {len(added)} entries {timestamping.ADDED} in the ledger, expected one")
        if len(removed) != (row.removed_at is not None):
            state = "removed" if row.removed_at else "in use"
            yield Fault(where, f"is {state}; the ledger has {len(removed)} entries {timestamping.REMOVED}")
        for entry in (*added, *removed):
            by = row.added_by if entry.kind == timestamping.ADDED else row.removed_by
            body, about = _body(entry), timestamping.facts(row) | {"by": by}
            # Entries of the first form do not name the certificate's text.
            yield from _differences(where, entry, body, {name: about[name] for name in about if name in body})
    removals = {entry.subject_id: entry for entry in _entries(session, timestamping.REMOVED)}
    for entry in _entries(session, timestamping.ADDED):
        gone = removals.get(entry.subject_id)
        # Removals of the first form do not say when it was added: they took the row away.
        if entry.subject_id not in known and (gone is None or "added" in _body(gone)):
            told = f"tells of time-stamp authority {entry.subject_id}, which is not in the database"
            yield Fault(f"ledger entry {entry.seq}", told)


def lists(session: Session) -> Iterator[Fault]:
    """Each revocation list that was kept, both ways."""
    known: set[tuple[str, object]] = set()
    ids = select(RevocationList.id).order_by(RevocationList.key_id, RevocationList.number)
    for row_id in session.scalars(ids).all():
        row = session.get_one(RevocationList, row_id)
        known.add((row.key_id, row.number))
        where = f"revocation list {row.number} of key {row.key_id}"
        try:
            if hashlib.sha256(revocation.der(row)).hexdigest() != row.sha256:
                yield Fault(where, "its text does not have its digest: it was altered")
        except ValueError:
            yield Fault(where, "its text cannot be read: it was altered")
        entries = [
            (entry, body)
            for entry in _about(session, revocation.KEPT, row.key_id)
            if (body := _body(entry)).get("number", row.number) == row.number
            and ("number" in body or body.get("sha256") == row.sha256)
        ]
        if not entries:
            yield Fault(where, f"has no entry {revocation.KEPT} in the ledger")
        for entry, body in entries:
            found = {name: value for name, value in revocation.says(row).items() if name in body}
            yield from _differences(where, entry, body, found)
        session.expunge_all()
    for entry in _entries(session, revocation.KEPT):
        # Those of the first form have no number: newer lists took the place of the rows.
        number = _body(entry).get("number")
        if number is not None and (entry.subject_id, number) not in known:
            told = (
                f"tells of revocation list {number} of key {entry.subject_id}, which is not in the database"
            )
            yield Fault(f"ledger entry {entry.seq}", told)


RULES = (
    ("product.changed", products),
    ("submission.made", submitted),
    ("verification.ended", runs),
    ("policy.adopted", policies),
    ("exception.granted, exception.ended", exceptions),
    ("key.registered, key.approved, key.rejected, key.distrusted", keys),
    ("timestamp_authority.added, timestamp_authority.removed", authorities),
    ("revocation_list.kept", lists),
)


def _entries(session: Session, kind: str) -> Iterator[Entry]:
    """In their order; memory does not grow with their number."""
    after = -1
    while True:
        found = session.scalars(
            select(Entry).where(Entry.kind == kind, Entry.seq > after).order_by(Entry.seq).limit(500)
        ).all()
        if not found:
            return
        after = found[-1].seq
        yield from found


def _about(session: Session, kind: str, subject_id: str) -> Sequence[Entry]:
    return session.scalars(
        select(Entry).where(Entry.kind == kind, Entry.subject_id == subject_id).order_by(Entry.seq)
    ).all()


def _first(session: Session, kind: str) -> int | None:
    return session.scalar(select(func.min(Entry.seq)).where(Entry.kind == kind))


def _body(entry: Entry) -> dict[str, Any]:
    try:
        body = json.loads(entry.body)
    except ValueError:
        body = {}
    return body if isinstance(body, dict) else {}  # a broken link is told by verify_chain


def _differences(where: str, entry: Entry, body: dict[str, Any], found: dict[str, Any]) -> Iterator[Fault]:
    for name, value in found.items():
        if body and body.get(name) != value:
            yield Fault(
                where, f"{name}: the database says {value}, ledger entry {entry.seq} says {body.get(name)}"
            )
