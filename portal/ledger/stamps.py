"""Time stamps (RFC 3161) on checkpoints: what somebody else says of when a log had its entries.

Stamped are the bytes of the signed note as the log made it: three lines, an empty one, the log's own
signature lines; not the cosignatures that came later. A stamp over a checkpoint bounds the time of every
entry before it.
"""

import hashlib
import json
import secrets
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat import asn1
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.errors import LedgerError, TrustError
from portal.ledger import logs
from portal.ledger.models import Entry, Log, SignedCheckpoint, Stamp, StampTrouble
from portal.ledger.ports import Http
from portal.ledger.proofs import Proof
from portal.ledger.service import Fault
from portal.verification import (
    Outcome,
    StampReport,
    TimestampAuthority,
    Trust,
    inspect_key,
    verify_timestamp,
)

MAX_RESPONSE: Final = 256 * 1024
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=1)
_SHA256: Final = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_QUERY_TYPE: Final = "application/timestamp-query"
_REPLY_TYPE: Final = "application/timestamp-reply"
_ADDED: Final = "timestamp_authority.added"  # the entry of portal/suppliers/timestamping.py


# --- Asking ---------------------------------------------------------------------------------------


@asn1.sequence
class _Algorithm:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null


@asn1.sequence
class _Imprint:
    algorithm: _Algorithm
    digest: bytes


@asn1.sequence
class _Query:
    """TimeStampReq (RFC 3161 §2.4.1)."""

    version: int
    imprint: _Imprint
    nonce: int
    wants_certificates: bool


def query(message: bytes, nonce: int) -> bytes:
    """A TimeStampReq (DER) over SHA-256 of `message`; the answer shall bring the authority's certificates."""
    algorithm = _Algorithm(algorithm=_SHA256, parameters=asn1.Null())
    imprint = _Imprint(algorithm=algorithm, digest=hashlib.sha256(message).digest())
    return asn1.encode_der(_Query(version=1, imprint=imprint, nonce=nonce, wants_certificates=True))


def due(session: Session, clock: Clock, every: timedelta) -> SignedCheckpoint | None:
    """The checkpoint to be stamped now, if any: the last one of a closed log; the newest one of the open log
    where its last stamp is `every` old. While an authority fails, it is asked after growing pauses.
    """
    now = clock.now()
    for log in session.scalars(select(Log).where(Log.head > 0).order_by(Log.number)).all():
        last = newest(session, log)
        if last is not None and (last.size == log.head or (log.open and now < last.at + every)):
            continue
        trouble = session.get(StampTrouble, log.number)
        if trouble is None or now >= trouble.again_at:
            return logs.checkpoint(session, log)
    return None


def obtain(
    http: Http,
    url: str,
    checkpoint: SignedCheckpoint,
    authorities: Sequence[TimestampAuthority],
    clock: Clock,
) -> Stamp:
    """Ask for a stamp over a checkpoint and verify it. Nothing is stored.

    Raises LedgerError: no answer, or one that does not hold (another imprint or nonce, not granted, a
    signature or chain that fails, an authority that nobody here believes).
    """
    if not authorities:
        raise LedgerError("no time-stamp authority is believed: an administrator adds its certificate")
    message = checkpoint.note.encode()
    nonce = secrets.randbits(64)
    try:
        reply = http.post(url, query(message, nonce), MAX_RESPONSE, _QUERY_TYPE)
    except OSError as error:
        raise LedgerError(f"the time-stamp authority {url} gave no answer: {error}") from None
    content_type = reply.content_type.partition(";")[0].strip().lower()
    if (reply.status, content_type) != (200, _REPLY_TYPE):
        raise LedgerError(
            f"the time-stamp authority {url}: expected status 200 and {_REPLY_TYPE}, found "
            f"{reply.status} and {reply.content_type[:80]!r}"
        )
    now = clock.now()
    found = verify_timestamp(reply.body, message, _trust(tuple(authorities)), at=now.timestamp(), nonce=nonce)
    if found.outcome is not Outcome.PASS or found.at is None:
        raise LedgerError(f"the answer of the time-stamp authority {url} does not count: {found.why}")
    believed = next(one for one in authorities if one.id == found.authority)
    return Stamp(
        log=checkpoint.log,
        size=checkpoint.size,
        at=now,
        time=found.at,
        authority=believed.id,
        fingerprint=_fingerprint(believed.pem),
        certificate=believed.pem,
        response=reply.body,
    )


def keep(session: Session, stamp: Stamp) -> None:
    """Store what `obtain` gave. Where another worker was faster, its stamp stays."""
    if session.get(Stamp, (stamp.log, stamp.size)) is None:
        session.add(stamp)
    if trouble := session.get(StampTrouble, stamp.log):
        session.delete(trouble)
    session.flush()


def failed(session: Session, clock: Clock, checkpoint: SignedCheckpoint, why: str) -> None:
    """Remember why there is no stamp; ask again after 1, 2, 4 … minutes, an hour at most."""
    trouble = session.get(StampTrouble, checkpoint.log)
    failures = trouble.failures + 1 if trouble else 1
    pause = min(FIRST_PAUSE * 2 ** min(failures - 1, 10), LONGEST_PAUSE)
    now = clock.now()
    session.merge(
        StampTrouble(log=checkpoint.log, failures=failures, at=now, again_at=now + pause, why=why[:2000])
    )
    session.flush()


# --- Reading --------------------------------------------------------------------------------------


def newest(session: Session, log: Log) -> Stamp | None:
    """The stamp over the most entries of a log."""
    return session.scalars(
        select(Stamp).where(Stamp.log == log.number).order_by(Stamp.size.desc()).limit(1)
    ).first()


@dataclass(frozen=True, slots=True)
class EntryTime:
    """When an entry was there at the latest: as a stamp proves, or (`stamp` None) as the portal claims."""

    at: datetime
    stamp: Stamp | None

    @property
    def authority(self) -> str | None:
        """Whose word it is; None is the portal's."""
        return self.stamp.authority if self.stamp else None

    @property
    def words(self) -> str:
        return f"time-stamped by {self.authority}" if self.stamp else "claimed by the portal"


def time_of(session: Session, entry: Entry, authorities: Sequence[TimestampAuthority]) -> EntryTime:
    """The time of one entry. `authorities` are those believed now: `timestamping.entries(session)`.

    With a stamp, it comes from the earliest stamped checkpoint that has the entry. For a bundle:
    `stamp.response` is the `.tsr`, `stamped_bytes(session, stamp)` is what it is over, and
    `proof(session, entry, stamp)` shows that the entry is in that checkpoint.
    """
    return times_of(session, [entry], authorities)[entry.seq]


def times_of(
    session: Session, entries: Iterable[Entry], authorities: Sequence[TimestampAuthority]
) -> dict[int, EntryTime]:
    """`time_of` for many, by sequence number. Each stamp is verified here, by who is believed now."""
    found = {entry.seq: EntryTime(entry.at, None) for entry in entries}
    believed = [_fingerprint(one.pem) for one in authorities]
    if not found or not believed:
        return found
    for log in session.scalars(select(Log).where(Log.head > 0)).all():
        within = [seq for seq in found if log.first_seq <= seq < log.first_seq + log.head]
        sizes = session.scalars(
            select(Stamp.size)
            .where(Stamp.log == log.number, Stamp.fingerprint.in_(believed))
            .order_by(Stamp.size)
        ).all()
        verified: dict[int, EntryTime | None] = {}
        for seq in within:
            for size in sizes[bisect_right(sizes, seq - log.first_seq) :]:
                if size not in verified:
                    verified[size] = _proven(session, log, size, authorities)
                if (time := verified[size]) is not None:
                    found[seq] = time
                    break
    return found


def proof(session: Session, entry: Entry, stamp: Stamp) -> Proof:
    """A receipt for an entry that rests on the stamped checkpoint, with the very bytes that were stamped."""
    log = logs.find(session, stamp.log)
    index = entry.seq - log.first_seq
    note = logs.checkpoint(session, log, stamp.size).note
    return Proof.of(
        index, logs.tree(session, log, stamp.size).inclusion(index), note, logs.opening(entry).dump()
    )


def stamped_bytes(session: Session, stamp: Stamp) -> bytes:
    """The signed note as the log made it: what a stamp is over."""
    return logs.checkpoint(session, logs.find(session, stamp.log), stamp.size).note.encode()


def _proven(
    session: Session, log: Log, size: int, authorities: Sequence[TimestampAuthority]
) -> EntryTime | None:
    stamp = session.get_one(Stamp, (log.number, size))
    message, trust = stamped_bytes(session, stamp), _trust(tuple(authorities))
    report = verify_timestamp(stamp.response, message, trust, at=stamp.at.timestamp())
    return EntryTime(report.at, stamp) if report.outcome is Outcome.PASS and report.at else None


@lru_cache(maxsize=8)
def _trust(authorities: tuple[TimestampAuthority, ...]) -> Trust:
    return Trust.build([], timestamp_authorities=authorities)


@lru_cache(maxsize=128)
def _fingerprint(pem: str) -> str:
    return inspect_key(pem).fingerprint


# --- fsck -----------------------------------------------------------------------------------------


def audit(session: Session) -> Iterator[Fault]:
    """Every stamp against its checkpoint, by the authority that it was believed by when it came. Whether
    that one is believed today is another question (`times_of`).
    """
    added = set()
    for body in session.scalars(select(Entry.body).where(Entry.kind == _ADDED)):
        try:
            added.add(json.loads(body)["fingerprint"])
        except (ValueError, LookupError, TypeError):
            continue  # an altered entry is told as such elsewhere
    query = select(Stamp, SignedCheckpoint.note).outerjoin(
        SignedCheckpoint, (SignedCheckpoint.log == Stamp.log) & (SignedCheckpoint.size == Stamp.size)
    )
    for stamp, note in session.execute(query.order_by(Stamp.log, Stamp.size)):
        if why := "its checkpoint is missing" if note is None else _wrong(stamp, note, added):
            yield Fault(f"the time stamp of log {stamp.log} over {stamp.size} entries", why)


def _wrong(stamp: Stamp, note: str, added: set[str]) -> str:
    """What is wrong with a stamp; empty when nothing is."""
    believed = TimestampAuthority(stamp.authority, stamp.certificate)
    try:
        fingerprint = _fingerprint(stamp.certificate)
        trust = _trust((believed,))
    except TrustError as error:
        return f"the certificate by which it was believed is damaged: {error.message}"
    if fingerprint != stamp.fingerprint or fingerprint not in added:
        return "it was believed by a certificate that no administrator added"
    report: StampReport = verify_timestamp(stamp.response, note.encode(), trust, at=stamp.at.timestamp())
    if report.outcome is not Outcome.PASS:
        return report.why
    if report.at != stamp.time:
        return f"it says {report.at}, beside it stands {stamp.time}: that was altered"
    return ""
