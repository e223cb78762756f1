"""The log's side: witnesses of ours over real HTTP, and others that answer wrongly."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, update
from tlog_scales import signing, tlog
from werkzeug.wrappers import Request as Asked
from werkzeug.wrappers import Response

from portal.adapters.http import HttpClient
from portal.adapters.witness_folder import WitnessFolder
from portal.cli.witness import application
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.errors import LedgerError
from portal.ledger import logs, witnesses
from portal.ledger.models import Cosignature, Log, WitnessState
from portal.ledger.notes import Kind, Note, VerifierKey, open_note
from portal.ledger.policies import TrustPolicy
from portal.ledger.witnesses import Due, Told, Witness
from tests.factories.histories import History
from tests.factories.serving import serving
from tests.unit.ledger.conftest import Ledger

HTTP = HttpClient(20)
Answer = Callable[[Asked], Response]


@dataclass
class Friend:
    """A witness of ours that is served, and a ledger that asks it."""

    ledger: Ledger
    folder: WitnessFolder
    witness: Witness

    def ask(self) -> Told:
        return ask(self.ledger, self.witness)


def ask(ledger: Ledger, witness: Witness) -> Told:
    @contextmanager
    def reading() -> Iterator[TenantSession]:
        yield ledger.session

    number = ledger.session.scalars(select(Log.number).order_by(Log.number.desc())).first()
    assert number is not None
    checkpoint, came = witnesses.ask(reading, ledger.clock, HTTP, witness, number)
    witnesses.record(ledger.session, ledger.clock, witness, checkpoint, came)
    ledger.session.commit()
    return came


def publish(ledger: Ledger, count: int) -> None:
    ledger.add(count)
    assert ledger.publish()


@pytest.fixture
def friend(ledger: Ledger, tmp_path: Path) -> Iterator[Friend]:
    folder = WitnessFolder.create(tmp_path / "witness", "witness.example")
    folder.add(list(ledger.signer.verifier_keys()))
    with serving(application(str(folder.folder), ledger.clock)) as url:
        yield Friend(ledger, folder, Witness(url, folder.signer.verifier_keys()))


@pytest.fixture
def answering(ledger: Ledger) -> Iterator[Callable[[Answer], Witness]]:
    """A witness that answers as told, with the keys of nobody."""
    keys = (History("bad.example").key,)
    with ExitStack() as stack:
        yield lambda answer: Witness(stack.enter_context(serving(Asked.application(answer))), keys)


def test_every_checkpoint_is_cosigned_by_both_keys_and_given_out_so(friend: Friend) -> None:
    ledger = friend.ledger
    for count in (3, 1, 300):
        publish(ledger, count)
        assert witnesses.due(ledger.session, ledger.clock, [friend.witness]) == [Due(friend.witness, (1,))]
        assert friend.ask().troubles == ()
        assert witnesses.due(ledger.session, ledger.clock, [friend.witness]) == []
        newest = logs.checkpoint(ledger.session, ledger.log)
        opened = open_note(
            logs.signed_note(ledger.session, newest), ledger.signer.verifier_keys(), friend.witness.keys
        )
        assert {one.key for one in opened.by_witnesses} == set(friend.witness.keys)
    assert [one.size for one in witnesses.standings(ledger.session, ledger.log)] == [304, 304]
    assert witnesses.last_size(ledger.session, ledger.log, friend.witness) == 304


def test_cosignatures_hold_for_a_client_that_others_made(friend: Friend) -> None:
    publish(friend.ledger, 300)
    friend.ask()
    checkpoint = logs.checkpoint(friend.ledger.session, friend.ledger.log)
    text = logs.signed_note(friend.ledger.session, checkpoint)
    read = tlog.Checkpoint.from_text(text)
    keys = [*friend.ledger.signer.verifier_keys(), *friend.witness.keys]
    for key in keys:
        read.verify(signing.Vkey.from_string(str(key)))
    valid = signing.VkeySet(*(signing.Vkey.from_string(str(key)) for key in keys)).verify(
        read.signatures, read
    )
    assert len(valid) == 4


def test_a_log_that_others_signed_is_cosigned(tmp_path: Path, clock: FixedClock) -> None:
    folder = WitnessFolder.create(tmp_path / "witness", "witness.example")
    private = Ed25519PrivateKey.generate()
    key = VerifierKey("log.example/1", Kind.ED25519, private.public_key().public_bytes_raw())
    folder.add([key])
    history = History("log.example/1").add(5)
    signers = [signing.PlainEd25519Signer("log.example/1", private)]
    made = tlog.Checkpoint.make_signed("log.example/1", 5, history.tree().root(), signers)
    lines = folder.add_checkpoint(f"old 0\n\n{made.serialize()}".encode(), clock)
    cosigned = tlog.Checkpoint.from_text(made.serialize() + lines)
    for own in folder.signer.verifier_keys():
        cosigned.verify(signing.Vkey.from_string(str(own)))


def test_a_receipt_carries_the_cosignatures_and_meets_a_quorum(friend: Friend) -> None:
    publish(friend.ledger, 3)
    friend.ask()
    publish(friend.ledger, 1)  # this one waits for its witness
    proof = friend.ledger.receipt(1)
    log, keys = friend.ledger.signer.verifier_keys(), friend.witness.keys
    policy = TrustPolicy.parse(f"log {log[0]}\nlog {log[1]}\nwitness w {keys[0]}\nquorum w\n")
    opened = proof.check(logs.opening(friend.ledger.entry(1)).leaf(), log, keys)
    assert policy.met([one.key for one in opened.by_witnesses])
    assert not policy.met([])


def test_a_witness_that_remembers_more_than_we_know_is_asked_again_from_there(friend: Friend) -> None:
    publish(friend.ledger, 5)
    friend.ask()
    with friend.ledger.session.begin_nested():
        for row in friend.ledger.session.scalars(select(Cosignature)):
            friend.ledger.session.delete(row)
    publish(friend.ledger, 5)
    came = friend.ask()
    assert (came.troubles, len(came.lines)) == ((), 2)


def test_a_witness_that_cosigned_more_than_we_have_is_an_alarm(friend: Friend) -> None:
    """A restored database: the witness remembers what it no longer has."""
    publish(friend.ledger, 5)
    other = History("portal.example/ledger/1")
    path = friend.folder._path("portal.example/ledger/1")
    note = other.add(9).note()
    path.write_text(
        str(Note(note.checkpoint, friend.folder.signer.cosign(note.checkpoint, friend.ledger.clock)))
    )
    came = friend.ask()
    assert came.alarm
    assert "it cosigned 9 entries of portal.example/ledger/1, here 5 were signed" in came.troubles[0]
    assert friend.ledger.session.scalars(select(Cosignature)).all() == []


def test_a_witness_that_saw_another_history_is_an_alarm(friend: Friend) -> None:
    publish(friend.ledger, 5)
    path = friend.folder._path("portal.example/ledger/1")
    note = History("portal.example/ledger/1").add(5).note()
    path.write_text(
        str(Note(note.checkpoint, friend.folder.signer.cosign(note.checkpoint, friend.ledger.clock)))
    )
    came = friend.ask()
    assert (came.alarm, came.lines) == (True, ())
    assert "is no beginning of this log (status 422" in came.troubles[0]


def test_a_witness_without_our_log_and_one_with_other_keys_say_so(friend: Friend) -> None:
    publish(friend.ledger, 5)
    (friend.folder.folder / "logs").write_text(f"{History('other.example').key}\n")
    assert "its operator has to add it (status 404" in friend.ask().troubles[0]
    (friend.folder.folder / "logs").write_text(f"{History('portal.example/ledger/1').key}\n")
    assert "it knows other keys of this log (status 403" in friend.ask().troubles[0]


def test_a_cosignature_by_an_unknown_key_is_refused(friend: Friend, tmp_path: Path) -> None:
    publish(friend.ledger, 5)
    stranger = WitnessFolder.create(tmp_path / "stranger", "witness.example")
    witness = Witness(friend.witness.url, (stranger.signer.verifier_keys()[0], friend.witness.keys[1]))
    came = ask(friend.ledger, witness)
    assert [line.key for line in came.lines] == [friend.witness.keys[1]]
    assert "which is not configured" in came.troubles[0]
    assert "it did not sign with its key witness.example+" in came.troubles[1]
    assert len(friend.ledger.session.scalars(select(Cosignature)).all()) == 1


def test_a_wrong_cosignature_is_refused(friend: Friend) -> None:
    publish(friend.ledger, 5)
    other = History("portal.example/ledger/1").add(5).note().checkpoint
    lines = friend.folder.signer.cosign(other, friend.ledger.clock)
    body = "".join(map(str, lines)).encode()
    checkpoint = Note.parse(logs.checkpoint(friend.ledger.session, friend.ledger.log).note).checkpoint
    held, troubles = witnesses.told(friend.ledger.clock, friend.witness, checkpoint, body)
    assert held == []
    assert troubles[0].startswith("the signature by witness.example") and "does not hold" in troubles[0]


@pytest.mark.parametrize("ahead", [timedelta(minutes=11), timedelta(days=9999)])
def test_a_cosignature_from_the_future_is_refused(friend: Friend, ahead: timedelta) -> None:
    publish(friend.ledger, 5)
    friend.ledger.clock.advance(-ahead)  # the witness shares this clock: only what is judged goes back
    checkpoint = Note.parse(logs.checkpoint(friend.ledger.session, friend.ledger.log).note).checkpoint
    before = type(friend.ledger.clock)(friend.ledger.clock.now() + ahead)
    body = "".join(map(str, friend.folder.signer.cosign(checkpoint, before))).encode()
    held, troubles = witnesses.told(friend.ledger.clock, friend.witness, checkpoint, body)
    assert (held, "an impossible time" in troubles[0]) == ([], True)


REPLIES: dict[str, tuple[Response, str]] = {
    "429": (Response("slow down", 429), "it did not cosign (status 429: slow down)"),
    "500": (Response("", 500), "it did not cosign (status 500)"),
    "redirect": (Response("", 302, {"Location": "http://127.0.0.1:9/"}), "sends requests elsewhere"),
    "nothing": (Response("", 200), "does not end with a line break"),
    "text": (Response("thank you\n", 200), "expected a signature line"),
    "bytes": (Response(b"\xff\xfe\n", 200), "expected a signature line"),
    "huge": (Response(b"A" * 100_000, 200), "more than 65,536 bytes"),
    "409 as text": (Response("3\n", 409), "expected text/x.tlog.size"),
    "409 of no number": (Response("x\n", 409, content_type="text/x.tlog.size"), "expected a decimal number"),
    "409 each time": (Response("2\n", 409, content_type="text/x.tlog.size"), "states another size each time"),
}


@pytest.mark.parametrize("name", REPLIES)
def test_what_is_no_cosignature_is_a_trouble_and_stores_nothing(
    ledger: Ledger, answering: Callable[[Answer], Witness], name: str
) -> None:
    publish(ledger, 5)
    reply, said = REPLIES[name]
    came = ask(ledger, answering(lambda _request: reply))
    assert (came.lines, came.alarm) == ((), False)
    assert said in came.troubles[0]
    assert ledger.session.scalars(select(Cosignature)).all() == []
    assert [one.troubles for one in witnesses.silent(ledger.session, None)] == []


def test_a_witness_that_does_not_answer_in_time_is_a_trouble(
    ledger: Ledger, answering: Callable[[Answer], Witness], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(ledger, 5)
    released = threading.Event()

    def wait(_request: Asked) -> Response:
        released.wait(120)
        return Response("", 200)

    monkeypatch.setattr(HTTP, "timeout", 0.2)
    (trouble,) = ask(ledger, answering(wait)).troubles
    assert "timed out" in trouble or "took more than" in trouble
    released.set()


def test_a_witness_that_is_not_there_is_asked_ever_more_rarely(ledger: Ledger) -> None:
    publish(ledger, 5)
    witness = Witness("http://127.0.0.1:9", (History("gone.example").key,))
    pauses = []
    for _ in range(12):
        assert "it could not be reached" in ask(ledger, witness).troubles[0]
        state = ledger.session.scalars(select(WitnessState)).one()
        pauses.append((state.next_at - ledger.clock.now()).total_seconds())
        assert witnesses.due(ledger.session, ledger.clock, [witness]) == []
        ledger.clock.advance(timedelta(seconds=pauses[-1]))
        assert witnesses.due(ledger.session, ledger.clock, [witness]) == [Due(witness, (1,))]
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == 900


def test_after_a_trouble_the_next_cosignature_ends_it(friend: Friend) -> None:
    publish(friend.ledger, 5)
    away = Witness("http://127.0.0.1:9", friend.witness.keys)
    policy = TrustPolicy.parse(
        "".join(f"witness w{n} {key} {friend.witness.url}/\n" for n, key in enumerate(friend.witness.keys))
        + "group both all w0 w1\nquorum both\n"
    )
    assert witnesses.addressed(policy) == [friend.witness]
    ask(friend.ledger, away)
    state = friend.ledger.session.scalars(select(WitnessState)).one()
    state.url = friend.witness.url
    friend.ledger.session.commit()
    assert [one.witness.name for one in witnesses.silent(friend.ledger.session, policy)] == [
        "witness.example"
    ]
    friend.ask()
    assert witnesses.silent(friend.ledger.session, policy) == []
    assert TrustPolicy.parse(policy.witness_lines()) == TrustPolicy(
        (), policy.witnesses, policy.groups, policy.quorum, policy.urls
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quorum none", None),
        ("witness w {key} ftp://w.example\nquorum none", "expected an address with http or https"),
        ("log {log}\nquorum none", "names logs"),
        ("witness w {key} http://w.example", "no line quorum"),
        (
            "".join(f"witness w{n} {History(f'w{n}.example').cosigner}\n" for n in range(17)) + "quorum none",
            "names 17 witnesses",
        ),
    ],
)
def test_a_setting_that_names_no_witnesses_is_refused(tmp_path: Path, text: str, said: str | None) -> None:
    folder = WitnessFolder.create(tmp_path / "w", "w.example")
    path = tmp_path / "policy"
    path.write_text(text.format(key=folder.signer.verifier_keys()[0], log=History().key))
    if said is None:
        assert witnesses.configured(path) is not None
    else:
        with pytest.raises(LedgerError, match=said):
            witnesses.configured(path)
    with pytest.raises(LedgerError, match="cannot be read"):
        witnesses.configured(tmp_path / "none")
    assert witnesses.configured(None) is None


def test_fsck_names_a_cosignature_that_was_altered(friend: Friend) -> None:
    session = friend.ledger.session
    publish(friend.ledger, 3)
    publish(friend.ledger, 1)
    friend.ask()
    policy = TrustPolicy((), {f"w{n}": key for n, key in enumerate(friend.witness.keys)}, {}, "none")
    assert list(witnesses.audit(session, policy)) == []
    first, second = session.scalars(select(Cosignature).order_by(Cosignature.key_id)).all()
    for values, said in (
        ({"line": second.line}, "its line is that of another key"),
        (
            {"line": first.line[:40] + ("A" if first.line[40] != "A" else "B") + first.line[41:]},
            "does not hold",
        ),
        ({"line": first.line[:-1]}, "its line was altered"),
        ({"at": first.at + timedelta(seconds=1)}, "its line states another time"),
        ({"size": 3}, "does not hold"),
    ):
        before = {name: getattr(first, name) for name in values}
        row = (Cosignature.key_id == first.key_id) & (Cosignature.name == first.name)
        session.execute(update(Cosignature).where(row).values(**values))
        session.commit()
        faults = list(witnesses.audit(session, policy))
        assert len(faults) == 1
        assert said in faults[0].text
        session.execute(update(Cosignature).where(row).values(**before))
        session.commit()
    assert list(witnesses.audit(session, policy)) == list(witnesses.audit(session, None)) == []
