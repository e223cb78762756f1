"""Signed notes and receipts: the specifications' own examples, and every way of being something else."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from portal.adapters.keys import KeyFolder, MemoryFile
from portal.clock import FixedClock
from portal.errors import LedgerError
from portal.ledger.notes import Checkpoint, Kind, Note, VerifierKey, open_note
from portal.ledger.proofs import HEADER, Proof
from portal.ledger.signing import LogSigner
from portal.ledger.tree import Tree, grow, leaf_hash

Change = Callable[[str], str]
ORIGIN = "portal.example/ledger/1"
# C2SP signed-note and the tests of golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
# C2SP tlog-cosignature: its example of a checkpoint that a witness has cosigned.
BEHIND_THE_SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


@pytest.fixture
def signer(tmp_path: Path) -> LogSigner:
    signer = LogSigner(ORIGIN, KeyFolder(tmp_path / "keys"), MemoryFile(tmp_path / "memory" / "signed"))
    signer.create()
    return signer


@pytest.fixture
def tree() -> Tree:
    leaves = [leaf_hash(f"entry {nth}".encode()) for nth in range(300)]
    tiles = {(level, number): data for level, number, data in grow(0, leaves, lambda *_: b"")}
    return Tree(300, lambda level, number, width: tiles[level, number][: width * 32])


@pytest.fixture
def note(signer: LogSigner, tree: Tree, clock: FixedClock) -> Note:
    return signer.sign(tree, clock)


def test_keys_are_written_as_the_specification_writes_them() -> None:
    key = VerifierKey.parse(PETER)
    assert (key.name, key.kind, key.id.hex()) == ("PeterNeumann", Kind.ED25519, "c74f20a3")
    assert str(key) == PETER


def test_the_example_of_the_specification_is_read_as_it_is_written() -> None:
    note = Note.parse(BEHIND_THE_SOFA)
    assert note.checkpoint.origin == "example.com/behind-the-sofa"
    assert note.checkpoint.size == 20_852_163
    assert [one.name for one in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert str(note) == BEHIND_THE_SOFA


def test_both_signatures_hold_and_who_knows_one_key_needs_no_other(
    signer: LogSigner, note: Note, clock: FixedClock
) -> None:
    keys = signer.verifier_keys()
    opened = open_note(str(note), keys)
    assert [one.key.kind for one in opened.by_log] == [Kind.ED25519, Kind.ML_DSA_44]
    assert [one.time for one in opened.by_log] == [None, int(clock.now().timestamp())]
    for key in keys:
        assert len(open_note(str(note), [key]).by_log) == 1


@pytest.mark.parametrize("left", [0, 1])
def test_one_key_of_a_log_alone_does_not_speak_for_it(signer: LogSigner, note: Note, left: int) -> None:
    """Neither a stolen key file nor, one day, a quantum computer is enough."""
    half = replace(note, signatures=(note.signatures[left],))
    with pytest.raises(LedgerError, match="lacks the signature by the log's other key"):
        open_note(str(half), signer.verifier_keys())


@pytest.mark.parametrize("nth", [0, 1])
def test_an_altered_checkpoint_is_refused(signer: LogSigner, note: Note, nth: int) -> None:
    key = signer.verifier_keys()[nth]
    for wrong in (
        replace(note.checkpoint, size=301),
        replace(note.checkpoint, root=bytes(32)),
        replace(note.checkpoint, origin="portal.example/ledger/2"),
    ):
        with pytest.raises(LedgerError, match="does not hold"):
            open_note(str(replace(note, checkpoint=wrong)), [key])


def test_a_checkpoint_of_another_origin_is_refused(signer: LogSigner, note: Note) -> None:
    """Signed by the right key, under the name of another log."""
    first = signer.verifier_keys()[0]
    named = replace(first, name="portal.example/ledger/2")
    with pytest.raises(LedgerError, match="is not signed by"):
        open_note(str(note), [named])
    signature = replace(note.signatures[0], name=named.name, key_id=named.id)
    with pytest.raises(LedgerError, match=r"is of .*, the key is that of"):
        open_note(str(replace(note, signatures=(signature,))), [named])


def test_a_cosigner_cannot_be_renamed_with_ml_dsa(signer: LogSigner, note: Note) -> None:
    named = replace(signer.verifier_keys()[1], name="witness.example")
    signature = replace(note.signatures[1], name=named.name, key_id=named.id)
    with pytest.raises(LedgerError, match="does not hold"):
        Note(note.checkpoint, (signature,)).signed_by([named])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("\n\n", "\nextension\n\n"), "a checkpoint has 3 lines"),
        (lambda text: text.replace("\n300\n", "\n0300\n"), "expected a decimal number"),
        (lambda text: text.replace("\n300\n", "\n-300\n"), "expected a decimal number"),
        (lambda text: text.replace("\n300\n", "\n٣٠٠\n"), "expected a decimal number"),
        (lambda text: text.replace("\n300\n", f"\n{1 << 63}\n"), "too large"),
        (lambda text: text.replace("=\n\n", "\n\n"), "expected base64"),
        (lambda text: text.rstrip("\n"), "three lines, an empty one"),
        (lambda text: text.replace("\n\n", "\n"), "three lines, an empty one"),
        (lambda text: text.replace("— ", "- "), "expected a signature line"),
        (lambda text: text + text.splitlines()[-1].replace(" ", "  ", 1) + "\n", "expected base64"),
        (lambda text: text + "x" * 70_000, "at most 65,536 characters"),
        (lambda text: text + (text.splitlines()[4] + "\n") * 64, "more than 64 signatures"),
        (lambda text: "\n".join(["", *text.split("\n")[1:]]), "names no origin"),
    ],
)
def test_what_is_no_checkpoint_is_refused(note: Note, change: Change, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        Note.parse(change(str(note)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (PETER.replace("c74f20a3", "c74f20a4"), "its id is c74f20a3"),
        (PETER[:-4], "expected 32 bytes, found 29"),
        (PETER.replace("+ARpc", "+Axpc"), "algorithm 0x03 is not known"),
        ("PeterNeumann", "expected base64"),
        (PETER.replace("Peter", "Peter "), "neither spaces"),
    ],
)
def test_what_is_no_key_is_refused(text: str, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        VerifierKey.parse(text)


# --- Receipts -------------------------------------------------------------------------------------


@pytest.fixture
def proof(note: Note, tree: Tree) -> Proof:
    return Proof.of(123, tree.inclusion(123), str(note), b"what the entry is made of")


def test_a_receipt_is_written_as_the_specification_says_and_read_again(proof: Proof) -> None:
    lines = str(proof).splitlines()
    assert lines[:3] == [HEADER, f"extra {base64.b64encode(proof.extra).decode()}", "index 123"]
    assert len(lines[3:]) == len(proof.hashes) + 1 + 3 + 1 + 2
    assert Proof.parse(str(proof)) == proof
    assert Proof.parse(str(replace(proof, extra=b""))).extra == b""


def test_a_receipt_proves_its_entry_and_no_other(signer: LogSigner, proof: Proof) -> None:
    keys = signer.verifier_keys()
    assert proof.check(b"entry 123", keys).checkpoint.size == 300
    with pytest.raises(LedgerError, match="does not lead to the root"):
        proof.check(b"entry 124", keys)
    with pytest.raises(LedgerError, match="does not lead to the root"):
        replace(proof, index=124).check(b"entry 123", keys)


def test_a_path_of_another_length_an_index_past_the_size_and_another_log_are_refused(
    signer: LogSigner, proof: Proof
) -> None:
    keys = signer.verifier_keys()
    with pytest.raises(LedgerError, match="too short"):
        replace(proof, hashes=proof.hashes[:-1]).check(b"entry 123", keys)
    with pytest.raises(LedgerError, match="needs"):
        replace(proof, hashes=(*proof.hashes, bytes(32))).check(b"entry 123", keys)
    with pytest.raises(LedgerError, match="entry 300 of a log of 300"):
        replace(proof, index=300).check(b"entry 123", keys)
    other = replace(proof.note.checkpoint, origin="portal.example/ledger/2")
    with pytest.raises(LedgerError, match="does not hold"):
        replace(proof, note=replace(proof.note, checkpoint=other)).check(b"entry 123", keys)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("@v1", "@v2"), "begins with the line"),
        (lambda text: text.replace("index 123", "index 0123"), "expected a decimal number"),
        (lambda text: text.replace("index 123\n", ""), "names no index"),
        (lambda text: text.replace("index 123\n", "index 123\n" + "AAAA\n" * 64), "at most 63 hashes"),
        (lambda text: text.replace("index 123\n", "index 123\nAAAA\n"), "does not have 32 bytes"),
        (lambda text: text.replace("extra d", "extra !"), "line 2 of the receipt"),
        (lambda text: text.replace("\n\n", "\n", 1), "a signed checkpoint|expected base64"),
        (lambda text: text + "x" * 300_000, "at most 262,144 characters"),
    ],
)
def test_what_is_no_receipt_is_refused(proof: Proof, change: Change, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        Proof.parse(change(str(proof)))


def test_an_empty_checkpoint_says_so() -> None:
    assert Checkpoint.parse(Checkpoint("a", 0, bytes(32)).body).size == 0
