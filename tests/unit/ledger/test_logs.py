"""The log: what is published, what a leaf tells, and that history cannot be made to fork."""

import hashlib
import json
import shutil
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select, update

from portal.adapters.keys import KeyFolder, MemoryFile
from portal.clock import FixedClock
from portal.db import TenantSession, open_session
from portal.errors import Conflict, LedgerError, NotFound, StorageFailed
from portal.ledger import logs
from portal.ledger.leaves import Opening, commitment, tag
from portal.ledger.models import Entry, Log, SignedCheckpoint, Tile
from portal.ledger.notes import open_note
from portal.ledger.ports import Purpose
from portal.ledger.proofs import Proof
from portal.ledger.service import New, append, append_all, watch_key
from portal.ledger.signing import LogSigner
from portal.ledger.tree import check_consistency, leaf_hash
from tests.unit.ledger.conftest import ORIGIN, OURS, THEIRS, Ledger


def test_nothing_is_published_without_a_log_that_somebody_made(
    session: TenantSession, clock: FixedClock, tmp_path: Path
) -> None:
    append(session, clock, "evidence.accepted", OURS, {}, OURS)
    signer = LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "signed"))
    assert not logs.pending(session)
    assert logs.publish(session, clock, signer) is None
    assert not (tmp_path / "keys").exists()


def test_what_waits_is_published_and_proven(ledger: Ledger) -> None:
    assert not logs.pending(ledger.session)
    assert ledger.publish() is None
    roots: list[tuple[int, bytes]] = []
    for count in (1, 2, 253, 1, 300):
        ledger.add(count)
        assert logs.pending(ledger.session)
        assert logs.receipt(ledger.session, ledger.entry(ledger.log.head)) is None  # it waits
        made = ledger.publish()
        assert made is not None
        opened = open_note(made.note, ledger.signer.verifier_keys())
        tree = logs.tree(ledger.session, ledger.log)
        assert (opened.checkpoint.size, opened.checkpoint.root) == (ledger.log.head, tree.root())
        for size, root in roots:
            check_consistency(size, tree.size, root, tree.root(), tree.consistency(size))
        roots.append((tree.size, tree.root()))
    assert ledger.log.head == 557
    for seq in (0, 1, 255, 256, 556):
        proof = Proof.parse(str(ledger.receipt(seq)))
        opening = Opening.load(proof.extra)
        assert opening.facts["subject"] == ledger.entry(seq).subject_id
        proof.check(opening.leaf(), logs.verifier_keys(ledger.log))


def test_a_log_begins_with_what_the_ledger_already_had(
    session: TenantSession, clock: FixedClock, tmp_path: Path
) -> None:
    append(session, clock, "evidence.accepted", "1" * 32, {}, OURS)
    signer = LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "memory" / "signed"))
    logs.create(session, clock, signer)
    made = logs.publish(session, clock, signer)
    assert made is not None and made.size == 1


def test_one_checkpoint_adds_no_more_than_a_step(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "STEP", 10)
    ledger.add(25)
    sizes = [made.size for made in iter(ledger.publish, None)]
    assert sizes == [10, 20, 25]


# --- What a leaf tells ----------------------------------------------------------------------------


def test_a_leaf_tells_nothing_of_a_supplier_but_to_who_has_its_key(ledger: Ledger) -> None:
    ledger.add(2)
    ledger.add(2, THEIRS)
    ledger.add(1, None)
    ledger.publish()
    bundle = logs.entry_bundle(ledger.session, ledger.log, 0, 5)
    for entry in ledger.session.scalars(select(Entry)):
        for told in (entry.subject_id, entry.supplier_id, entry.kind, json.loads(entry.body)["sha256"]):
            assert told is None or told.encode() not in bundle
    leaves = _leaves(bundle)
    tags = [json.loads(leaf)["supplier"] for leaf in leaves]
    assert len({*tags}) == 5  # each another one
    assert tags[4] is None
    key = watch_key(ledger.session, ledger.clock, OURS)
    other = watch_key(ledger.session, ledger.clock, THEIRS)
    assert [tag(key, seq) == tags[seq] for seq in range(4)] == [True, True, False, False]
    assert [tag(other, seq) == tags[seq] for seq in range(4)] == [False, False, True, True]


def test_a_leaf_is_made_again_from_the_text_and_its_salt_only(ledger: Ledger) -> None:
    ledger.add(1)
    entry = ledger.entry(0)
    made = hashlib.sha256(b"lotgate entry v1\n" + bytes.fromhex(entry.salt) + entry.body.encode()).hexdigest()
    assert json.loads(logs.opening(entry).leaf())["commitment"] == f"sha256:{made}"
    assert commitment("00" * 32, entry.body) != f"sha256:{made}"


def test_equal_entries_have_different_leaves(ledger: Ledger) -> None:
    append_all(ledger.session, ledger.clock, [New("a.b", OURS, {}, OURS), New("a.b", OURS, {}, OURS)])
    leaves = [logs.opening(entry).leaf() for entry in ledger.session.scalars(select(Entry))]
    assert leaves[0] != leaves[1]


ENTRY = '{"at":"2026-11-21T12:00:00Z","kind":"a.b","seq":1,"subject":"s"}'


def opening_of(body: str, salt: str = "ab" * 32, tag: str | None = "ab" * 16) -> bytes:
    return json.dumps({"body": body, "salt": salt, "tag": tag}).encode()


def test_what_does_not_open_a_leaf_is_refused(ledger: Ledger) -> None:
    assert Opening.load(opening_of(ENTRY)).facts["kind"] == "a.b"
    for wrong in (
        b"",
        b"[]",
        b"{}",
        b'{"body":"","salt":"","tag":null}',
        b'{"body":1,"salt":2,"tag":3}',
        b"[" * 9999,
        opening_of(ENTRY.replace('"seq"', '"sha256":"b","seq"')),  # not in order
        opening_of(ENTRY.replace("{", '{"at":"2020-01-01T00:00:00Z",')),  # a name twice
        opening_of(ENTRY.replace(":1,", ": 1,")),  # another spelling
        opening_of(ENTRY.replace('"kind":"a.b",', "")),
        opening_of(ENTRY.replace("a.b", "a.b\\nok  It is for this file")),
        opening_of(ENTRY, salt="AB" * 32),
        opening_of(ENTRY, salt="ab" * 31),
        opening_of(ENTRY, tag="somebody"),
    ):
        with pytest.raises(LedgerError, match="does not hold the text of an entry"):
            Opening.load(wrong)


def _leaves(bundle: bytes) -> list[bytes]:
    found = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        found.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return found


# --- Tiles and bundles ----------------------------------------------------------------------------


def test_a_client_finds_leaves_and_hashes_in_the_same_places(ledger: Ledger) -> None:
    ledger.add(600)
    ledger.publish()
    for number, width in ((0, 256), (1, 256), (2, 88), (2, 1), (0, 17)):
        leaves = _leaves(logs.entry_bundle(ledger.session, ledger.log, number, width))
        tile = logs.tile(ledger.session, ledger.log, 0, number, width)
        assert b"".join(map(leaf_hash, leaves)) == tile


@pytest.mark.parametrize(
    ("level", "number", "width"), [(0, 2, 89), (0, 3, 1), (1, 0, 3), (2, 0, 1), (0, 0, 0)]
)
def test_what_no_checkpoint_has_is_not_given_out(ledger: Ledger, level: int, number: int, width: int) -> None:
    ledger.add(600)
    ledger.publish()
    ledger.add(100)  # these wait
    with pytest.raises(NotFound):
        logs.tile(ledger.session, ledger.log, level, number, width)
    if level == 0:
        with pytest.raises(NotFound):
            logs.entry_bundle(ledger.session, ledger.log, number, width)


# --- History does not fork ------------------------------------------------------------------------


def test_a_database_older_than_what_was_signed_gets_no_signature(ledger: Ledger) -> None:
    """A restored backup: the ten newest entries are gone, others take their places."""
    ledger.add(10)
    ledger.publish()
    _restore(ledger.session, 0)
    ledger.session.expire_all()
    ledger.add(5)
    with pytest.raises(LedgerError, match="5 entries, 10 were signed: the database is older"):
        ledger.publish()
    ledger.session.rollback()
    ledger.add(20)  # longer again, and still not what was signed
    with pytest.raises(LedgerError, match="history was rewritten"):
        ledger.publish()


def _restore(session: TenantSession, size: int) -> None:
    for table in (Tile, SignedCheckpoint, Entry):
        session.execute(delete(table))
    session.execute(update(Log).values(head=size))
    session.commit()


def test_an_entry_that_was_rewritten_before_its_checkpoint_changes_the_root_and_after_it_nothing(
    ledger: Ledger,
) -> None:
    ledger.add(300)
    ledger.publish()
    proof = ledger.receipt(7)
    ledger.session.execute(update(Entry).where(Entry.seq == 7).values(body=ledger.entry(8).body))
    ledger.session.commit()
    ledger.session.expire_all()
    rewritten = ledger.receipt(7)
    with pytest.raises(LedgerError, match="does not lead to the root"):
        rewritten.check(Opening.load(rewritten.extra).leaf(), logs.verifier_keys(ledger.log))
    proof.check(
        Opening.load(proof.extra).leaf(), logs.verifier_keys(ledger.log)
    )  # at home, the old one holds


def test_a_rewritten_tile_gets_no_signature(ledger: Ledger) -> None:
    ledger.add(300)
    ledger.publish()
    data = logs.tile(ledger.session, ledger.log, 0, 1, 44)
    ledger.session.execute(update(Tile).where(Tile.level == 0, Tile.number == 1).values(data=data[::-1]))
    ledger.add(1)
    with pytest.raises(LedgerError, match="history was rewritten"):
        ledger.publish()


def test_entries_that_are_missing_are_noticed_before_anything_is_signed(ledger: Ledger) -> None:
    ledger.add(10)
    ledger.session.execute(delete(Entry).where(Entry.seq == 4))
    ledger.session.commit()
    with pytest.raises(LedgerError, match="entries are missing between 0 and 9"):
        ledger.publish()


def test_a_second_portal_without_the_memory_signs_nothing(ledger: Ledger) -> None:
    ledger.add(1)
    ledger.publish()
    shutil.copytree(ledger.folder / "keys", ledger.folder / "other" / "keys")
    twin = LogSigner(
        ORIGIN, KeyFolder(ledger.folder / "other" / "keys"), MemoryFile(ledger.folder / "other" / "signed")
    )
    ledger.add(1)
    with pytest.raises(LedgerError, match="nothing is known of what was signed"):
        logs.publish(ledger.session, ledger.clock, twin)


def test_a_second_portal_on_a_copy_of_everything_signs_nothing(ledger: Ledger) -> None:
    """Everything was copied, or came back from a backup of files: two portals would go on from here."""
    ledger.add(1)
    ledger.publish()
    copy = shutil.copytree(ledger.folder / "memory", ledger.folder / "copy")
    twin = LogSigner(ORIGIN, ledger.signer.keys, MemoryFile(copy / "signed"))
    ledger.add(1)
    with pytest.raises(LedgerError, match="was copied, or came back from a backup"):
        logs.publish(ledger.session, ledger.clock, twin)
    ledger.session.rollback()
    (copy / "signed.lock").unlink()  # nor does it help to take that away
    with pytest.raises(LedgerError, match="was copied, or came back from a backup"):
        logs.publish(ledger.session, ledger.clock, twin)
    ledger.session.rollback()
    shutil.move(ledger.folder / "memory", ledger.folder / "moved")  # on the same disk it is the same
    moved = LogSigner(ORIGIN, ledger.signer.keys, MemoryFile(ledger.folder / "moved" / "signed"))
    made = logs.publish(ledger.session, ledger.clock, moved)
    assert made is not None and made.size == 2


def test_a_signer_that_dies_before_its_checkpoint_is_stored_signs_the_same_history_again(
    ledger: Ledger,
) -> None:
    ledger.add(3)
    assert logs.publish(ledger.session, ledger.clock, ledger.signer) is not None
    ledger.session.rollback()  # the signature was made, the database never heard of it
    assert ledger.log.head == 0
    ledger.add(2)
    made = ledger.publish()
    assert made is not None and made.size == 5


def test_of_two_publishers_at_once_one_is_told_to_look_again(ledger: Ledger, engine: Engine) -> None:
    ledger.add(50)
    results: list[object] = []

    def work() -> None:
        with open_session(engine) as session:
            try:
                made = logs.publish(session, ledger.clock, ledger.signer)
                session.commit()
                results.append(made and made.size)
            except (Conflict, LedgerError) as error:
                results.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.session.expire_all()
    assert results.count(50) == 1
    assert len(ledger.session.scalars(select(SignedCheckpoint)).all()) == 1


def test_a_head_that_moved_meanwhile_is_a_conflict(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.add(5)
    sign = LogSigner.sign

    def late(self: LogSigner, *arguments: object) -> object:
        ledger.session.execute(update(Log).values(head=3).execution_options(synchronize_session=False))
        return sign(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LogSigner, "sign", late)
    with pytest.raises(Conflict, match="another publisher"):
        logs.publish(ledger.session, ledger.clock, ledger.signer)


# --- Keys and memory as files ---------------------------------------------------------------------


def test_keys_and_memory_are_for_their_owner_only(ledger: Ledger) -> None:
    for path in (ledger.folder / "keys").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    path = ledger.folder / "keys" / "log-ed25519.pem"
    path.chmod(0o640)
    fresh = LogSigner(ORIGIN, KeyFolder(ledger.folder / "keys"), ledger.signer.memory)
    with pytest.raises(LedgerError, match="may be read by others"):
        fresh.verifier_keys()


def test_a_key_is_never_replaced_and_a_name_never_used_again(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(1)
    ledger.publish()
    with pytest.raises(LedgerError, match="a log's name is used once"):
        LogSigner(ORIGIN, KeyFolder(tmp_path / "more"), ledger.signer.memory).create()
    with pytest.raises(LedgerError, match="without a memory"):
        LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "more" / "signed")).create()
    with pytest.raises(LedgerError, match="is there already"):
        KeyFolder(tmp_path / "keys").create(Purpose.LOG_ED25519)


def test_making_a_log_goes_on_where_it_was_interrupted(
    session: TenantSession, clock: FixedClock, tmp_path: Path
) -> None:
    signer = LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "signed"))
    logs.create(session, clock, signer)
    session.rollback()
    (tmp_path / "keys" / "log-ml-dsa-44.pem").unlink()
    again = LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "signed"))
    assert logs.create(session, clock, again).keys.splitlines()[0] == str(signer.verifier_keys()[0])


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "7", '{"origin":"x","size":"1","root":""}', '{"origin": "x"']
)
def test_a_damaged_memory_signs_nothing(ledger: Ledger, content: str) -> None:
    ledger.add(1)
    (ledger.folder / "memory" / "signed").write_text(content)
    with pytest.raises(LedgerError, match="is damaged"):
        ledger.publish()


def test_a_memory_that_cannot_be_written_signs_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.add(1)

    def full(*_: object) -> None:
        raise StorageFailed("No space left on device")

    monkeypatch.setattr(MemoryFile, "keep", full)
    with pytest.raises(StorageFailed):
        ledger.publish()
    ledger.session.rollback()
    assert ledger.log.head == 0


def test_a_log_is_closed_and_the_next_goes_on_behind_it(ledger: Ledger, tmp_path: Path) -> None:
    memory = MemoryFile(tmp_path / "second" / "signed")
    second = LogSigner("portal.example/ledger/2", KeyFolder(tmp_path / "second" / "keys"), memory)
    ledger.add(3)
    with pytest.raises(Conflict, match="is open"):
        logs.create(ledger.session, ledger.clock, second)
    ledger.publish()
    old = ledger.receipt(2)
    ledger.add(1)  # waits, and finds its place in the next log
    logs.close(ledger.session, ledger.clock, ledger.log)
    ledger.add(1)
    assert ledger.publish() is None
    assert logs.create(ledger.session, ledger.clock, second).number == 2
    made = logs.publish(ledger.session, ledger.clock, second)
    assert made is not None and (made.log, made.size) == (2, 2)
    assert str(ledger.receipt(2)) == str(old)
    proof = ledger.receipt(3)
    assert proof.index == 0
    proof.check(Opening.load(proof.extra).leaf(), second.verifier_keys())


def test_a_log_that_was_closed_empty_keeps_no_receipt_back(ledger: Ledger, tmp_path: Path) -> None:
    """Made under the wrong name, say, and closed at once: the next one begins at the same entry."""
    logs.close(ledger.session, ledger.clock, ledger.log)
    memory = MemoryFile(tmp_path / "second" / "signed")
    second = LogSigner("portal.example/ledger/2", KeyFolder(tmp_path / "second" / "keys"), memory)
    logs.create(ledger.session, ledger.clock, second)
    ledger.add(3)
    logs.publish(ledger.session, ledger.clock, second)
    ledger.session.commit()
    for seq in range(3):
        proof = ledger.receipt(seq)
        assert proof.note.checkpoint.origin == second.origin
        proof.check(Opening.load(proof.extra).leaf(), second.verifier_keys())
