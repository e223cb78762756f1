"""Attestations that passed: kept as columns, found again line by line."""

import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.submissions.attestations.models import AttestationPasses
from portal.verification import Chunk, TrustedKey


@dataclass(frozen=True, slots=True)
class Columns:
    """What is kept of the passes of one chunk, as the table has it."""

    first_line: int
    lines: bytes
    signers: bytes
    keys: bytes
    key_names: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class SignedLine:
    """One line that passed: which approved keys signed it, as (name, fingerprint)."""

    line: int
    keys: tuple[tuple[str, str], ...]


def columns_of(chunk: Chunk, keys: Sequence[TrustedKey]) -> Columns | None:
    """None where no line of the chunk passed. `keys`: those of the trust that judged it."""
    if not chunk.lines:
        return None
    return Columns(
        first_line=chunk.first,
        lines=_little("I", chunk.lines.tobytes()),
        signers=chunk.signers.tobytes(),
        keys=_little("H", chunk.keys.tobytes()),
        key_names={
            str(place): [keys[place].id, keys[place].fingerprint] for place in sorted(set(chunk.keys))
        },
    )


def signed_line(session: Session, submission_id: str, run: int, line: int) -> SignedLine | None:
    """The verdict on one line: one row by its index, then a search in it. None if it did not pass."""
    row = session.scalars(
        select(AttestationPasses)
        .where(
            AttestationPasses.submission_id == submission_id,
            AttestationPasses.run == run,
            AttestationPasses.first_line <= line,
        )
        .order_by(AttestationPasses.first_line.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    lines, keys = _numbers("I", row.lines), _numbers("H", row.keys)
    place = bisect_left(lines, line - row.first_line)
    if place == len(lines) or lines[place] != line - row.first_line:
        return None
    before = sum(row.signers[:place])
    signed = keys[before : before + row.signers[place]]
    return SignedLine(line, tuple((name, mark) for name, mark in (row.key_names[str(key)] for key in signed)))


def _little(kind: str, native: bytes) -> bytes:
    """The numbers of this machine in the order in which they are kept."""
    numbers = array(kind, native)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(kind: str, kept: bytes) -> "array[int]":
    numbers: array[int] = array(kind, kept)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
