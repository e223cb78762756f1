"""Many DSSE envelopes, one a line, against the approved keys."""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

from portal import _verifier
from portal.verification.faults import contained
from portal.verification.hashing import Progress
from portal.verification.outcomes import Outcome
from portal.verification.trust import Purpose, Trust


@dataclass(frozen=True, slots=True)
class EnvelopeVerdict:
    """What became of one line (counted from 1): pass, fail or unreadable, and why.

    `subjects` are pairs of name and SHA-256 (hexadecimal; empty where only another digest binds the subject).
    They are proven only where the outcome is `pass`; otherwise they are what the line claims.
    """

    line: int
    outcome: Outcome
    reason: str
    subjects: tuple[tuple[str, str], ...]
    key_ids: tuple[str, ...]
    predicate_type: str


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How many lines there were and what became of them; `seconds` of wall time.

    `outcome` is `pass` only if there was at least one line and every line passed.
    """

    total: int
    passed: int
    failed: int
    unreadable: int
    seconds: float
    outcome: Outcome
    reason: str


Sink = Callable[[list[EnvelopeVerdict]], object]


@contained
def verify_attestations(
    path: str | PathLike[str],
    trust: Trust,
    *,
    at: float,
    sink: Sink | None = None,
    progress: Progress | None = None,
    purpose: Purpose = "attestation",
) -> BatchReport:
    """Verify a file of DSSE envelopes (in-toto Statement v1), one a line, in parallel and in bounded memory.

    `sink` gets the verdicts of up to 4,096 lines at a time, in input order, on this thread. Progress is in
    bytes. An exception from either ends the work and comes out unchanged.

    Raises OSError, UnreadableFile, ValueError and VerifierFault as `verify_file` does.
    """
    deliver: Callable[[list[_verifier.EnvelopeVerdict]], object] | None = None
    if sink is not None:
        give = sink

        def deliver(verdicts: list[_verifier.EnvelopeVerdict]) -> object:
            return give([_verdict(verdict) for verdict in verdicts])

    native = _verifier.verify_attestations(path, trust.native, purpose, at, deliver, progress)
    return BatchReport(
        total=native.total,
        passed=native.passed,
        failed=native.failed,
        unreadable=native.unreadable,
        seconds=native.seconds,
        outcome=Outcome(native.outcome),
        reason=native.reason,
    )


def _verdict(native: _verifier.EnvelopeVerdict) -> EnvelopeVerdict:
    return EnvelopeVerdict(
        line=native.line,
        outcome=Outcome(native.outcome),
        reason=native.reason,
        subjects=tuple(native.subjects),
        key_ids=tuple(native.key_ids),
        predicate_type=native.predicate_type,
    )
