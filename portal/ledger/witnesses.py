"""The log's side of the witness protocol (C2SP tlog-witness): who has yet to cosign, what they answered."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.errors import LedgerError
from portal.ledger import logs
from portal.ledger.models import Cosignature, Log, SignedCheckpoint, WitnessState
from portal.ledger.notes import Checkpoint, Note, Signature, VerifierKey, number
from portal.ledger.policies import TrustPolicy
from portal.ledger.ports import Http, Reply
from portal.ledger.service import Fault
from portal.ledger.witnessing import SIZE_TYPE, Answer, Request

Reading = Callable[[], AbstractContextManager[Session]]
MAX_ANSWER: Final = 64 * 1024  # bytes
MAX_WITNESSES: Final = 16  # a checkpoint with all their lines stays below the size that readers take
AHEAD: Final = timedelta(minutes=10)  # how far a witness's clock may be before ours
BACK_OFF: Final = (timedelta(seconds=5), timedelta(minutes=15))  # after the first failure, and at most


@dataclass(frozen=True, slots=True)
class Witness:
    """One address that takes checkpoints, and the keys that answer there."""

    url: str
    keys: tuple[VerifierKey, ...]

    @property
    def name(self) -> str:
        return self.keys[0].name


@lru_cache(8)
def configured(path: Path | None) -> TrustPolicy | None:
    """The witnesses of a setting: a tlog-policy without logs. Raises LedgerError where it cannot be used.

    Read once, like the settings themselves.
    """
    if path is None:
        return None
    policy = TrustPolicy.read(path)
    if len(policy.witnesses) > MAX_WITNESSES:
        raise LedgerError(f"{path} names {len(policy.witnesses)} witnesses: expected at most {MAX_WITNESSES}")
    if policy.logs:
        raise LedgerError(f"{path} names logs: it is for witnesses, the portal knows its logs")
    for name, url in policy.urls.items():
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.hostname or len(url) > 480:
            raise LedgerError(
                f"{path}, witness {name}: expected an address with http or https, found {url!r}"
            )
    return policy


def addressed(policy: TrustPolicy) -> list[Witness]:
    """The witnesses of a policy that can be asked, in its order."""
    found: dict[str, list[VerifierKey]] = {}
    for name, url in policy.urls.items():
        found.setdefault(url.rstrip("/"), []).append(policy.witnesses[name])
    return [Witness(url, tuple(keys)) for url, keys in found.items()]


# --- What is to be asked --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A witness, and the logs (by number) whose last checkpoint it is to be offered now, in this order."""

    witness: Witness
    logs: tuple[int, ...]


def due(session: Session, clock: Clock, witnesses: Sequence[Witness]) -> list[Due]:
    """Who is to be asked now: for the newest log, and for one closed log whose last checkpoint they missed.

    One closed log at a time, the newest first, so that the newest log never waits for more than one question.
    Each pair of witness and log has its own pauses: a log that a witness does not know holds up no other.
    """
    heads = session.execute(
        select(Log.number, Log.head).where(Log.head > 0).order_by(Log.number.desc())
    ).all()
    newest = heads[0].number if heads else 0
    there = _cosigned(session, tuple_(Cosignature.log, Cosignature.size).in_([tuple(one) for one in heads]))
    resting = {
        (state.url, state.log)
        for state in session.scalars(select(WitnessState).where(WitnessState.next_at > clock.now()))
    }
    found = []
    for one in witnesses:
        wanted = [
            log
            for log, _ in heads
            if (one.url, log) not in resting
            and any((log, key.name, key.id.hex()) not in there for key in one.keys)
        ]
        if wanted:
            found.append(Due(one, tuple(wanted[: 2 if wanted[0] == newest else 1])))
    return found


def _cosigned(session: Session, which: ColumnElement[bool]) -> set[tuple[int, str, str]]:
    """Log, name and key id of cosignatures."""
    rows = session.execute(select(Cosignature.log, Cosignature.name, Cosignature.key_id).where(which))
    return {(log, name, key_id) for log, name, key_id in rows}


def last_size(session: Session, log: Log, witness: Witness) -> int:
    """The largest checkpoint of a log that a witness cosigned, as far as we know; 0 where none."""
    sizes = [
        session.scalar(
            select(func.max(Cosignature.size)).where(
                Cosignature.log == log.number,
                Cosignature.name == key.name,
                Cosignature.key_id == key.id.hex(),
            )
        )
        for key in witness.keys
    ]
    return max((size for size in sizes if size is not None), default=0)


def request_for(session: Session, log: Log, checkpoint: SignedCheckpoint, old: int) -> Request:
    proof = logs.tree(session, log, checkpoint.size).consistency(old) if 0 < old < checkpoint.size else []
    return Request(old, tuple(proof), Note.parse(checkpoint.note))


# --- Asking ---------------------------------------------------------------------------------------


class Contradiction(LedgerError):
    """A witness saw another history than ours: somebody has to look."""


@dataclass(frozen=True, slots=True)
class Line:
    """A cosignature that holds, and when it was made as the witness says."""

    key: VerifierKey
    signature: Signature
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """What came of asking: what holds, what does not. `alarm`: one trouble is a contradiction."""

    lines: tuple[Line, ...]
    troubles: tuple[str, ...]
    alarm: bool = False


def ask(
    reading: Reading, clock: Clock, http: Http, witness: Witness, number: int
) -> tuple[SignedCheckpoint, Told]:
    """Offer one witness the last checkpoint of a log; nothing is stored. Raises NotFound where there is none.

    A witness that remembers another size is asked once more from that one. No session is open while the
    network is waited for.
    """
    with reading() as session:
        log = logs.find(session, number)
        checkpoint = logs.checkpoint(session, log)
        old = last_size(session, log, witness)
        request = request_for(session, log, checkpoint, old)
    forgot: tuple[str, ...] = ()
    try:
        reply = _post(http, witness, request)
        if reply.status == Answer.OTHER_SIZE:
            size = _stated_size(reply)
            if size < old:
                forgot = (f"it cosigned {old} entries before and states {size} now: it has lost its memory",)
            with reading() as session:
                log = logs.find(session, number)
                checkpoint = logs.checkpoint(session, log)
                if size > checkpoint.size:
                    raise Contradiction(
                        f"it cosigned {size} entries of {log.origin}, here {checkpoint.size} were signed: "
                        "the log went back, or somebody else signs with its keys"
                    )
                request = request_for(session, log, checkpoint, size)
            reply = _post(http, witness, request)
        if reply.status != Answer.COSIGNED:
            raise _refusal(reply, log, request)
    except LedgerError as error:
        return checkpoint, Told((), (*forgot, error.message), isinstance(error, Contradiction))
    lines, troubles = told(clock, witness, request.note.checkpoint, reply.body)
    return checkpoint, Told(tuple(lines), (*forgot, *troubles))


def told(clock: Clock, witness: Witness, checkpoint: Checkpoint, body: bytes) -> tuple[list[Line], list[str]]:
    """What of an answer holds, and what does not: each line is verified by itself; other keys are refused."""
    lines: list[Line] = []
    troubles: list[str] = []
    for signature in _signatures(body, troubles):
        try:
            signed = Note(checkpoint, (signature,)).signed_by(witness.keys)
            if not signed:
                raise LedgerError(
                    f"it answered with a cosignature by {signature.name[:80]!r}, "
                    f"key {signature.key_id.hex()}, which is not configured"
                )
            key, at = signed[0].key, _time(clock, signed[0].time)
            if all(key != line.key for line in lines):
                lines.append(Line(key, signature, at))
        except LedgerError as error:
            troubles.append(error.message)
    troubles += [
        f"it did not sign with its key {key.name}+{key.id.hex()}"
        for key in witness.keys
        if all(key != line.key for line in lines)
    ]
    return lines, troubles


def record(
    session: Session, clock: Clock, witness: Witness, checkpoint: SignedCheckpoint, came: Told
) -> list[str]:
    """Keep what holds, and how it went, in the caller's transaction. Returns the troubles that are new."""
    same = (Cosignature.log == checkpoint.log) & (Cosignature.size == checkpoint.size)
    there = _cosigned(session, same)
    session.add_all(
        Cosignature(
            log=checkpoint.log,
            size=checkpoint.size,
            name=line.key.name,
            key_id=line.key.id.hex(),
            at=line.at,
            line=str(line.signature),
        )
        for line in came.lines
        if (checkpoint.log, line.key.name, line.key.id.hex()) not in there
    )
    state = session.get(WitnessState, (witness.url, checkpoint.log))
    if state is None:
        state = WitnessState(
            url=witness.url, log=checkpoint.log, failures=0, next_at=clock.now(), trouble="", alarm=False
        )
        session.add(state)
    before = state.trouble.split("\n")
    state.trouble, state.alarm = "\n".join(came.troubles), came.alarm
    state.failures = state.failures + 1 if came.troubles else 0
    first, most = BACK_OFF
    pause = min(first * 2 ** min(state.failures - 1, 16), most) if came.troubles else timedelta(0)
    state.next_at = clock.now() + pause
    session.flush()
    return [trouble for trouble in came.troubles if trouble not in before]


def _post(http: Http, witness: Witness, request: Request) -> Reply:
    try:
        return http.post(f"{witness.url}/add-checkpoint", str(request).encode(), MAX_ANSWER)
    except OSError as error:
        raise LedgerError(f"it could not be reached: {error}") from None


def _stated_size(reply: Reply) -> int:
    kind = reply.content_type.partition(";")[0].strip()
    if kind != SIZE_TYPE:
        raise LedgerError(f"it answered 409 with {kind[:80]!r}, expected {SIZE_TYPE}")
    text = reply.body.decode("utf-8", "replace")
    return number(text.removesuffix("\n"), "the size that it states")


def _refusal(reply: Reply, log: Log, request: Request) -> LedgerError:
    said = {
        Answer.MALFORMED: "it calls the request malformed",
        Answer.NOT_SIGNED: "it knows other keys of this log",
        Answer.UNKNOWN_LOG: f"it does not know the log {log.origin}: its operator has to add it",
        Answer.OTHER_SIZE: "it states another size each time",
        Answer.NOT_CONSISTENT: f"what it cosigned at {request.old} entries is no beginning of this log",
    }
    words = {int(answer): text for answer, text in said.items()}
    elsewhere = "it sends requests elsewhere, which is refused"
    text = words.get(reply.status, elsewhere if 300 <= reply.status < 400 else "it did not cosign")
    why = " ".join(reply.body[:300].decode("utf-8", "replace").split())
    kind = Contradiction if reply.status == Answer.NOT_CONSISTENT else LedgerError
    return kind(f"{text} (status {reply.status}{f': {why}' if why else ''})")


def _signatures(body: bytes, troubles: list[str]) -> Iterator[Signature]:
    text = body.decode("utf-8", "replace")
    if not text.endswith("\n"):
        troubles.append("its answer does not end with a line break")
        return
    for line in text[:-1].split("\n"):
        try:
            yield Signature.parse(line)
        except LedgerError as error:
            troubles.append(f"its answer: {error.message}")


def _time(clock: Clock, seconds: int | None) -> datetime:
    latest = int((clock.now() + AHEAD).timestamp())
    if not seconds or seconds > latest:
        raise LedgerError(f"its cosignature states an impossible time: {seconds}")
    return datetime.fromtimestamp(seconds, UTC)


# --- Reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """What one key of a witness has cosigned of one log."""

    name: str
    key_id: str
    size: int
    at: datetime


def standings(session: Session, log: Log) -> list[Standing]:
    """The newest cosignature of every key that ever cosigned a log."""
    newest_of = (
        select(Cosignature.name, Cosignature.key_id, func.max(Cosignature.size).label("size"))
        .where(Cosignature.log == log.number)
        .group_by(Cosignature.name, Cosignature.key_id)
        .subquery()
    )
    rows = session.execute(
        select(Cosignature.name, Cosignature.key_id, Cosignature.size, Cosignature.at)
        .join(
            newest_of,
            (Cosignature.name == newest_of.c.name)
            & (Cosignature.key_id == newest_of.c.key_id)
            & (Cosignature.size == newest_of.c.size),
        )
        .where(Cosignature.log == log.number)
        .order_by(Cosignature.name, Cosignature.key_id)
    )
    return [Standing(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Silent:
    """A configured witness that does not cosign a log at present, and why."""

    witness: Witness
    origin: str
    troubles: tuple[str, ...]
    alarm: bool


def silent(session: Session, policy: TrustPolicy | None) -> list[Silent]:
    """Of the newest log, and of closed ones whose last checkpoint somebody missed."""
    rows = session.execute(
        select(WitnessState, Log.origin)
        .join(Log, Log.number == WitnessState.log)
        .where(WitnessState.trouble != "")
        .order_by(Log.number.desc())
    ).all()
    return [
        Silent(witness, origin, tuple(state.trouble.split("\n")), state.alarm)
        for witness in (addressed(policy) if policy else ())
        for state, origin in rows
        if state.url == witness.url
    ]


# --- fsck -----------------------------------------------------------------------------------------


def audit(session: Session, policy: TrustPolicy | None) -> Iterator[Fault]:
    """Every cosignature against its checkpoint, by the keys configured today; of other keys, the form."""
    keys = list(policy.witnesses.values()) if policy else []
    query = select(Cosignature, SignedCheckpoint.note).outerjoin(
        SignedCheckpoint,
        (SignedCheckpoint.log == Cosignature.log) & (SignedCheckpoint.size == Cosignature.size),
    )
    rows = session.execute(query.order_by(Cosignature.log, Cosignature.size, Cosignature.name))
    for row, note in rows.yield_per(1000):
        where = f"the cosignature by {row.name} of log {row.log} over {row.size} entries"
        try:
            if note is None:
                raise LedgerError("its checkpoint is missing")
            if not row.line.endswith("\n"):
                raise LedgerError("its line was altered")
            line = Signature.parse(row.line[:-1])
            signed = Note(Note.parse(note).checkpoint, (line,)).signed_by(keys)
            times = [one.time for one in signed]
            if (line.name, line.key_id.hex()) != (row.name, row.key_id):
                raise LedgerError("its line is that of another key")
            if times and times != [int(row.at.timestamp())]:
                raise LedgerError("its line states another time")
        except LedgerError as error:
            yield Fault(where, error.message)
