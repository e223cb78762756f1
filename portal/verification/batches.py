"""Many DSSE envelopes, one a line, against the approved keys."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise, repeat
from os import PathLike
from typing import Any, Literal

from portal import _verifier
from portal.verification.confined import children
from portal.verification.faults import contained
from portal.verification.hashing import Progress
from portal.verification.outcomes import Outcome
from portal.verification.trust import Purpose, Trust

SIGNED = "Signed by approved keys."


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
class Chunk:
    """The verdicts on `count` lines from `first` on: failures one by one, passes as columns.

    A million passes need not be a million objects: each column is a view of numbers. `lines`, `signers`,
     `subjects` and `kinds` have one entry for each line that passed, in order; what a line has several
    of (keys, digests, names) stands one after the other in a column of its own.
    """

    first: int
    count: int
    failures: tuple[EnvelopeVerdict, ...]
    lines: memoryview
    """How many lines after `first`."""
    signers: memoryview
    """How many different approved keys signed."""
    keys: memoryview
    """For each signer the place of its key in `Trust.keys`."""
    subjects: memoryview
    """How many subjects the statement has."""
    sha256: bytes
    """32 bytes for each subject; zeros where only another digest binds it."""
    name_ends: memoryview
    """For each subject where its name ends in `names`."""
    names: bytes
    """The subjects' names, in UTF-8."""
    kinds: memoryview
    """The place of the predicate type in `predicate_types`."""
    predicate_types: tuple[str, ...]

    def subject_rows(self) -> Iterator[tuple[int, str, bytes]]:
        """For each subject of a line that passed: line, name and SHA-256 (empty where there is none)."""
        lines = chain.from_iterable(map(repeat, self.lines, self.subjects))
        ends = pairwise(chain((0,), self.name_ends))
        for nth, (line, (start, end)) in enumerate(zip(lines, ends, strict=True)):
            digest = self.sha256[32 * nth : 32 * nth + 32]
            yield self.first + line, self.names[start:end].decode(), digest if any(digest) else b""

    def verdicts(self, key_ids: tuple[str, ...]) -> list[EnvelopeVerdict]:
        """One object for each line, in order; `key_ids` are those of the trust file."""
        subjects, keys = self.subject_rows(), iter(self.keys)
        rows = zip(self.lines, self.signers, self.subjects, self.kinds, strict=True)
        passed = [
            EnvelopeVerdict(
                line=self.first + after,
                outcome=Outcome.PASS,
                reason=SIGNED,
                subjects=tuple((name, digest.hex()) for _, name, digest in islice(subjects, many)),
                key_ids=tuple(key_ids[key] for key in islice(keys, signers)),
                predicate_type=self.predicate_types[kind],
            )
            for after, signers, many, kind in rows
        ]
        if not self.failures:
            return passed
        return sorted((*passed, *self.failures), key=lambda verdict: verdict.line)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """How many lines there were and what became of them; `seconds` of wall time.

    `outcome` is `pass` only if there was at least one line and every line passed. `confinement` says what the
    process that read the file could not reach (docs/formats.md).
    """

    total: int
    passed: int
    failed: int
    unreadable: int
    seconds: float
    outcome: Outcome
    reason: str
    confinement: dict[str, Any]


Sink = Callable[[list[EnvelopeVerdict]], object]
Columns = Callable[[Chunk], object]


@contained
def verify_attestations(
    path: str | PathLike[str],
    trust: Trust,
    *,
    at: float,
    sink: Sink | None = None,
    columns: Columns | None = None,
    progress: Progress | None = None,
    purpose: Purpose = "attestation",
) -> BatchReport:
    """Verify a file of DSSE envelopes (in-toto Statement v1), one a line, in parallel and in bounded memory.

    `sink` gets the verdicts of up to 8,192 lines at a time, in input order, on this thread; `columns` gets
    the same as one `Chunk`, which is far cheaper where nearly all pass. Progress is in bytes. An exception
    from any of them ends the work and comes out unchanged.

    The file is read in a confined process. What it does to that process is an UnreadableFile, and nothing
    that was delivered before counts. Raises OSError, ValueError and VerifierFault as `verify_file` does.
    """
    key_ids = tuple(key.id for key in trust.keys)

    def deliver(native: _verifier.EnvelopeChunk) -> None:
        chunk = _chunk(native)
        if columns is not None:
            columns(chunk)
        if sink is not None:
            sink(chunk.verdicts(key_ids))

    wanted = sink is not None or columns is not None
    native = _verifier.verify_attestations(
        children(), path, trust.native, purpose, at, deliver if wanted else None, progress
    )
    return BatchReport(
        total=native.total,
        passed=native.passed,
        failed=native.failed,
        unreadable=native.unreadable,
        seconds=native.seconds,
        outcome=Outcome(native.outcome),
        reason=native.reason,
        confinement=json.loads(native.confinement),
    )


def _chunk(native: _verifier.EnvelopeChunk) -> Chunk:
    return Chunk(
        first=native.first,
        count=native.count,
        failures=tuple(_verdict(verdict) for verdict in native.failures),
        lines=_numbers(native.lines, "I"),
        signers=_numbers(native.signers, "B"),
        keys=_numbers(native.keys, "H"),
        subjects=_numbers(native.subjects, "H"),
        sha256=native.sha256,
        name_ends=_numbers(native.name_ends, "I"),
        names=native.names,
        kinds=_numbers(native.kinds, "H"),
        predicate_types=tuple(native.predicate_types),
    )


def _numbers(column: bytes, kind: Literal["B", "H", "I"]) -> memoryview:
    return memoryview(column).cast(kind)


def _verdict(native: _verifier.EnvelopeVerdict) -> EnvelopeVerdict:
    return EnvelopeVerdict(
        line=native.line,
        outcome=Outcome(native.outcome),
        reason=native.reason,
        subjects=tuple(native.subjects),
        key_ids=tuple(native.key_ids),
        predicate_type=native.predicate_type,
    )
