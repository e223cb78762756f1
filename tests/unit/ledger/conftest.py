"""A ledger with an open log, its keys and its memory."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from portal.adapters.keys import KeyFolder, MemoryFile
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.ledger import logs
from portal.ledger.models import Entry, Log, SignedCheckpoint
from portal.ledger.proofs import Proof
from portal.ledger.service import New, append_all
from portal.ledger.signing import LogSigner

ORIGIN = "portal.example/ledger/1"
OURS, THEIRS = "a" * 32, "b" * 32


@dataclass
class Ledger:
    session: TenantSession
    clock: FixedClock
    signer: LogSigner
    folder: Path

    def add(self, count: int, supplier: str | None = OURS) -> None:
        new = [New("evidence.accepted", f"{n:032x}", {"sha256": f"{n:064x}"}, supplier) for n in range(count)]
        append_all(self.session, self.clock, new)
        self.session.commit()

    def publish(self) -> SignedCheckpoint | None:
        made = logs.publish(self.session, self.clock, self.signer)
        self.session.commit()
        return made

    @property
    def log(self) -> Log:
        return logs.find(self.session, 1)

    def entry(self, seq: int) -> Entry:
        return self.session.scalars(select(Entry).where(Entry.seq == seq)).one()

    def receipt(self, seq: int) -> Proof:
        proof = logs.receipt(self.session, self.entry(seq))
        assert proof is not None
        return proof


@pytest.fixture
def ledger(session: TenantSession, clock: FixedClock, tmp_path: Path) -> Ledger:
    signer = LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "memory" / "signed"))
    logs.create(session, clock, signer)
    session.commit()
    return Ledger(session, clock, signer, tmp_path)
