"""A client's journal beside the database: what was acknowledged stays so, or is named."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from portal.accounts.actors import Actor
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.keys import KeyFolder, MemoryFile
from portal.api import shapes
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.models import Evidence
from portal.evidence.service import receipt, receive_bytes
from portal.ledger import logs
from portal.ledger.models import Entry, Log, SignedCheckpoint, Tile
from portal.ledger.notes import Checkpoint
from portal.ledger.signing import LogSigner
from portal.ledger.tree import EMPTY
from portal.reports.journal import compare
from tests.factories import Make

ORIGIN = "gate.example/ledger/1"


class Client:
    """Delivers, and notes the answers as the API gives them."""

    def __init__(
        self, session: TenantSession, clock: FixedClock, actor: Actor, store: LocalBlobStore, folder: Path
    ) -> None:
        self.session, self.clock, self.actor, self.store = session, clock, actor, store
        self.journal, self.folder = folder / "journal.jsonl", folder
        self.signer = self.signer_in("keys")
        logs.create(session, clock, self.signer)
        self.rows = [self.deliver(content) for content in (b"first", b"second")]
        self.publish()
        with self.journal.open("w") as lines:
            for row in self.rows:
                print(shapes.Evidence.of(row).model_dump_json(), file=lines)
                proof = receipt(session, row.id)
                size = proof.note.checkpoint.size
                told = {"origin": ORIGIN, "index": proof.index, "size": size, "proof": str(proof)}
                print(json.dumps(told), file=lines)

    def signer_in(self, name: str) -> LogSigner:
        return LogSigner(
            ORIGIN, KeyFolder(self.folder / name), MemoryFile(self.folder / f"{name}.memory" / "signed")
        )

    def deliver(self, content: bytes) -> Evidence:
        row = receive_bytes(
            self.session,
            self.actor,
            self.clock,
            self.store,
            self.store.root / "spool",
            content,
            filename="a.bin",
            limit=1000,
        )
        self.session.commit()
        return row

    def publish(self) -> None:
        logs.publish(self.session, self.clock, self.signer)
        self.session.commit()

    @property
    def faults(self) -> list[str]:
        self.session.commit()
        return [f"{fault.where}: {fault.text}" for fault in compare(self.session, self.journal)]


@pytest.fixture
def client(
    session: TenantSession, clock: FixedClock, make: Make, store: LocalBlobStore, tmp_path: Path
) -> Client:
    return Client(session, clock, make.supplier_actor(), store, tmp_path)


def test_a_clean_system_raises_no_alarm(client: Client) -> None:
    assert client.faults == []
    client.deliver(b"third")
    client.publish()
    assert client.faults == []


def lost(client: Client) -> None:
    client.session.execute(delete(Evidence).where(Evidence.id == client.rows[0].id))


def other_digest(client: Client) -> None:
    client.session.execute(update(Evidence).where(Evidence.id == client.rows[0].id).values(sha256="0" * 64))


def backdated(client: Client) -> None:
    row = client.rows[0]
    client.session.execute(
        update(Evidence).where(Evidence.id == row.id).values(received_at=row.received_at.replace(year=2025))
    )


def other_text(client: Client) -> None:
    client.session.execute(update(Entry).where(Entry.seq == 0).values(salt="0" * 64))


def entry_lost(client: Client) -> None:
    client.session.execute(delete(Entry).where(Entry.seq == 1))


def put_back(client: Client) -> None:
    client.session.execute(update(Log).values(head=1))


def rewritten(client: Client) -> None:
    """All of it made again with another entry, under the same keys by somebody who has them."""
    session = client.session
    session.execute(update(Entry).where(Entry.seq == 1).values(salt="0" * 64))
    for table in (SignedCheckpoint, Tile):
        session.execute(delete(table))
    session.execute(update(Log).values(head=0))
    session.commit()
    signer = LogSigner(ORIGIN, client.signer.keys, MemoryFile(client.folder / "other" / "signed"))
    with signer.memory.hold():
        signer.memory.keep(Checkpoint(ORIGIN, 0, EMPTY))
    logs.publish(session, client.clock, signer)


def other_keys(client: Client) -> None:
    other = client.signer_in("other keys")
    other.create()
    keys = "\n".join(map(str, other.verifier_keys()))
    client.session.execute(update(Log).values(keys=keys))


def other_log(client: Client) -> None:
    client.session.execute(update(Log).values(origin="elsewhere.example/ledger/1"))


@pytest.mark.parametrize(
    ("corrupt", "words"),
    [
        (lost, "line 1: evidence .* was acknowledged; the database does not have it"),
        (other_digest, "line 1: sha256: acknowledged was .*, the database says 0000"),
        (backdated, "line 1: received_at: acknowledged was 2026-11-21"),
        (other_text, "line 2: ledger entry 0 has another text than was proven"),
        (entry_lost, "line 4: proves ledger entry 1, which is not there any more"),
        (put_back, "line 2: was signed over 2 entries, the log has 1: it was put back"),
        (rewritten, "line 2: was signed over another history than the log has now: it was rewritten"),
        (other_keys, "line 2: is not a receipt of ours: .* is not signed by"),
        (other_log, "line 2: is of the log gate.example/ledger/1, which is not one of ours"),
    ],
)
def test_what_is_not_so_any_more_is_named(
    client: Client, corrupt: Callable[[Client], None], words: str
) -> None:
    corrupt(client)
    faults = client.faults
    assert faults
    assert any(re.search(words, fault) for fault in faults), faults


@pytest.mark.parametrize("line", ["{", "[]", '{"id": 5}', '{"proof": 7}', "nothing", "[" * 100_000])
def test_a_line_that_is_no_answer_is_named(client: Client, line: str) -> None:
    with client.journal.open("a") as lines:
        lines.write(f"\n{line}\n")
    (fault,) = client.faults
    assert "line 6: is neither evidence" in fault


def test_a_receipt_with_a_flipped_bit_is_named(client: Client) -> None:
    text = json.loads(client.journal.read_text().splitlines()[1])["proof"]
    folder = client.folder / "receipts"
    folder.mkdir()
    (folder / "good.tlog-proof").write_text(text)
    (folder / "bad.tlog-proof").write_text(text.replace("index 0", "index 1"))
    (folder / "binary.tlog-proof").write_bytes(b"\xff\xfe")
    client.journal = folder
    first, second = client.faults
    assert ("bad.tlog-proof: is not a receipt of ours" in first, "binary" in second) == (True, True)


def test_an_empty_folder_proves_nothing(client: Client) -> None:
    client.journal = client.folder / "empty"
    client.journal.mkdir()
    assert "nothing was compared" in client.faults[0]
