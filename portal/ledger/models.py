"""The tables of the ledger: entries, and the transparency logs that publish them."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from portal.db import Base, Digest


class Entry(Base):
    """One line of the append-only ledger.

    `body` is canonical JSON (RFC 8785) of at most 65,535 bytes and holds digests, never evidence itself;
    `hash` = SHA-256 over 0x00 ‖ previous hash ‖ body. `salt` (256 bits, hex) and `tag` are for its leaf in
    the log (portal/ledger/leaves.py). Triggers refuse UPDATE and DELETE.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (CheckConstraint("seq >= 0", name="seq"),)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40), index=True)
    subject_id: Mapped[str] = mapped_column(String(64), index=True)
    supplier_id: Mapped[str | None] = mapped_column(String(32), index=True)
    body: Mapped[str] = mapped_column(Text)
    salt: Mapped[Digest]
    tag: Mapped[str | None] = mapped_column(String(32))
    previous: Mapped[Digest]
    hash: Mapped[Digest] = mapped_column(unique=True)


class WatchKey(Base):
    """A supplier's key (256 bits, hex) to the tags of its entries: who has it finds them in the log."""

    __tablename__ = "ledger_watch_keys"
    supplier_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[Digest]
    created_at: Mapped[datetime]


class Log(Base):
    """One transparency log. Its entry 0 is the ledger's entry `first_seq`.

    `head` is the size of its newest checkpoint and moves by compare-and-swap. `keys` are verifier keys, one a
    line. At most one log is open.
    """

    __tablename__ = "ledger_logs"
    __table_args__ = (
        CheckConstraint("head >= 0", name="head"),
        UniqueConstraint("open"),
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    origin: Mapped[str] = mapped_column(String(200), unique=True)
    first_seq: Mapped[int] = mapped_column(BigInteger)
    keys: Mapped[str] = mapped_column(Text)
    head: Mapped[int] = mapped_column(BigInteger)
    open: Mapped[bool | None]  # true, or nothing once it is closed: so the constraint above counts open ones
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class Tile(Base):
    """The hashes of one tile, concatenated; it only grows, to 8,192 bytes (C2SP tlog-tiles)."""

    __tablename__ = "ledger_tiles"
    log: Mapped[int] = mapped_column(ForeignKey("ledger_logs.number"), primary_key=True, autoincrement=False)
    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class SignedCheckpoint(Base):
    """A checkpoint as it was signed: the note with its signatures. Triggers refuse UPDATE and DELETE."""

    __tablename__ = "ledger_checkpoints"
    log: Mapped[int] = mapped_column(ForeignKey("ledger_logs.number"), primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text)


class Cosignature(Base):
    """What a witness said of a checkpoint: its signature line, verified before it is kept.

    `name` and `key_id` (hex) are those of the witness's key, `at` is the time that the witness states.
    Triggers refuse UPDATE and DELETE.
    """

    __tablename__ = "ledger_cosignatures"
    __table_args__ = (
        ForeignKeyConstraint(["log", "size"], ["ledger_checkpoints.log", "ledger_checkpoints.size"]),
    )
    log: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(8), primary_key=True)
    at: Mapped[datetime]
    line: Mapped[str] = mapped_column(Text)


class WitnessState(Base):
    """How asking a witness about one log goes: when to ask again; the trouble, empty where there is none.

    `alarm`: what the witness saw contradicts this log, so a person has to look.
    """

    __tablename__ = "ledger_witnesses"
    url: Mapped[str] = mapped_column(String(500), primary_key=True)
    log: Mapped[int] = mapped_column(ForeignKey("ledger_logs.number"), primary_key=True, autoincrement=False)
    failures: Mapped[int]
    next_at: Mapped[datetime]
    trouble: Mapped[str] = mapped_column(Text)
    alarm: Mapped[bool]


class Stamp(Base):
    """A time stamp (RFC 3161) over a checkpoint, verified before it is kept.

    `response` is the TimeStampResp as it came, at `at`; `time` is when the checkpoint was there at the
    latest. `authority`, `certificate` (PEM) and `fingerprint` (of its key) are those of the administrators'
    entry by which it was believed. Triggers refuse UPDATE and DELETE.
    """

    __tablename__ = "ledger_stamps"
    __table_args__ = (
        ForeignKeyConstraint(["log", "size"], ["ledger_checkpoints.log", "ledger_checkpoints.size"]),
    )
    log: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    time: Mapped[datetime]
    authority: Mapped[str] = mapped_column(String(100))
    fingerprint: Mapped[str] = mapped_column(String(80))
    certificate: Mapped[str] = mapped_column(Text)
    response: Mapped[bytes] = mapped_column(LargeBinary)


class StampTrouble(Base):
    """Why a log has no newer time stamp, and when to ask again. Gone with the next stamp."""

    __tablename__ = "ledger_stamp_troubles"
    log: Mapped[int] = mapped_column(ForeignKey("ledger_logs.number"), primary_key=True, autoincrement=False)
    failures: Mapped[int]
    at: Mapped[datetime]
    again_at: Mapped[datetime]
    why: Mapped[str] = mapped_column(Text)
