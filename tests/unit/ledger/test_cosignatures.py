"""Checkpoints as they are given out: with what witnesses have said of them."""

from datetime import timedelta

from portal.ledger import logs
from portal.ledger.models import Cosignature, SignedCheckpoint
from portal.ledger.notes import Note
from tests.unit.ledger.conftest import Ledger


def cosigned(ledger: Ledger, checkpoint: SignedCheckpoint, name: str, minutes: int = 0) -> Cosignature:
    made = Cosignature(
        log=1,
        size=checkpoint.size,
        name=name,
        key_id="0badcafe",
        at=ledger.clock.now() + timedelta(minutes=minutes),
        line=f"— {name} C63K/gAAAABqXxo=\n",
    )
    ledger.session.add(made)
    ledger.session.commit()
    return made


def published(ledger: Ledger, count: int) -> SignedCheckpoint:
    ledger.add(count)
    made = ledger.publish()
    assert made is not None
    return made


def test_a_checkpoint_is_given_out_with_its_cosignatures_the_oldest_first(ledger: Ledger) -> None:
    checkpoint = published(ledger, 3)
    assert logs.signed_note(ledger.session, checkpoint) == checkpoint.note
    second = cosigned(ledger, checkpoint, "b.example", minutes=1)
    first = cosigned(ledger, checkpoint, "c.example")
    text = logs.signed_note(ledger.session, checkpoint)
    assert text == checkpoint.note + first.line + second.line
    assert [one.name for one in Note.parse(text).signatures[2:]] == ["c.example", "b.example"]


def test_a_receipt_rests_on_the_newest_checkpoint_that_most_witnesses_cosigned(ledger: Ledger) -> None:
    checkpoints = [published(ledger, 2) for _ in range(4)]  # of 2, 4, 6 and 8 entries
    assert ledger.receipt(0).note.checkpoint.size == 8
    cosigned(ledger, checkpoints[0], "a.example")
    cosigned(ledger, checkpoints[0], "b.example")
    cosigned(ledger, checkpoints[1], "a.example")
    cosigned(ledger, checkpoints[2], "a.example")
    sizes = [ledger.receipt(index).note.checkpoint.size for index in (0, 2, 5, 6)]
    assert sizes == [2, 6, 6, 8]  # entry 2 is not in the first one, entry 6 in none that was cosigned
    for index in (0, 2, 5, 6):
        proof = ledger.receipt(index)
        proof.check(logs.opening(ledger.entry(index)).leaf(), logs.verifier_keys(ledger.log))
