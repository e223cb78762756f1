"""The witness over real HTTP: what it cosigns, and what it refuses with which status (tlog-witness)."""

import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from portal.adapters.witness_folder import WitnessFolder
from portal.cli.main import main
from portal.cli.witness import application
from portal.clock import FixedClock
from portal.errors import LedgerError, StorageFailed
from portal.ledger.notes import Checkpoint, Note, Signature, open_note
from portal.ledger.ports import Reply
from portal.ledger.witnessing import MAX_REQUEST
from tests.factories.histories import History
from tests.factories.serving import serving
from tests.journeys.commands import command_line, environment
from tests.journeys.running import free_port

NAME = "witness.example"


def send(url: str, body: str | bytes, path: str = "/add-checkpoint") -> Reply:
    data = body.encode() if isinstance(body, str) else body
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=30) as response:
            return Reply(response.status, response.headers["Content-Type"], response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.headers["Content-Type"], error.read())


@dataclass
class Served:
    folder: Path
    history: History
    url: str
    witness: WitnessFolder

    def send(self, body: object) -> Reply:
        return send(self.url, body if isinstance(body, bytes) else str(body))

    def cosigned(self, body: object) -> Note:
        """The checkpoint with the witness's lines, each verified."""
        reply = self.send(body)
        assert reply.status == 200, reply
        note = Note.parse(str(body).partition("\n\n")[2])
        lines = tuple(Signature.parse(line) for line in reply.body.decode().splitlines())
        whole = Note(note.checkpoint, lines)
        assert len(whole.signed_by(self.witness.signer.verifier_keys())) == 2
        return whole

    @property
    def size(self) -> int:
        return self.witness.last(self.history.origin).checkpoint.size


@pytest.fixture
def history() -> History:
    return History().add(20)


@pytest.fixture
def served(tmp_path: Path, history: History, clock: FixedClock) -> Iterator[Served]:
    folder = tmp_path / "witness"
    witness = WitnessFolder.create(folder, NAME)
    witness.add([history.key])
    with serving(application(str(folder), clock)) as url:
        yield Served(folder, history, url, witness)


def test_a_log_is_followed_from_nothing_on(served: Served, clock: FixedClock) -> None:
    for old, size in ((0, 3), (3, 3), (3, 8), (8, 20)):
        note = served.cosigned(served.history.request(old, size))
        times = {one.time for one in note.signed_by(served.witness.signer.verifier_keys())}
        assert times == {int(clock.now().timestamp())}
        assert served.size == size


def test_an_empty_log_is_cosigned_once_its_root_is_that_of_nothing(served: Served) -> None:
    served.cosigned(served.history.request(0, 0))
    wrong = served.history.note(checkpoint=Checkpoint(served.history.origin, 0, b"\x01" * 32))
    assert served.send(f"old 0\n\n{wrong}").status == 422


def test_the_last_checkpoint_is_there_for_monitors_with_both_signatures(served: Served) -> None:
    path = f"/{hashlib.sha256(served.history.origin.encode()).hexdigest()}/checkpoint"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(served.url + path, timeout=30)
    served.cosigned(served.history.request(0, 5))
    with urllib.request.urlopen(served.url + path, timeout=30) as response:
        opened = open_note(
            response.read().decode(), [served.history.key], served.witness.signer.verifier_keys()
        )
    assert (opened.checkpoint.size, len(opened.by_log), len(opened.by_witnesses)) == (5, 1, 2)


# --- What is refused ------------------------------------------------------------------------------


def test_another_old_size_is_told_the_right_one(served: Served) -> None:
    served.cosigned(served.history.request(0, 8))
    for old in (0, 7, 9):
        reply = served.send(served.history.request(old, 20))
        assert (reply.status, reply.content_type, reply.body) == (409, "text/x.tlog.size", b"8\n")
    assert served.size == 8


def test_a_proof_of_another_length_is_refused(served: Served) -> None:
    served.cosigned(served.history.request(0, 8))
    right = served.history.request(8, 20)
    for proof in (right.proof[:-1], (*right.proof, bytes(32)), ()):
        assert served.send(replace(right, proof=proof)).status == 422
    assert served.size == 8


def test_a_wrong_proof_is_refused(served: Served) -> None:
    served.cosigned(served.history.request(0, 7))
    right = served.history.request(7, 20)
    for place in range(len(right.proof)):
        flipped = bytes([right.proof[place][0] ^ 1]) + right.proof[place][1:]
        wrong = (*right.proof[:place], flipped, *right.proof[place + 1 :])
        assert served.send(replace(right, proof=wrong)).status == 422
    assert served.size == 7


def test_a_proof_from_nothing_is_refused(served: Served) -> None:
    assert served.send(replace(served.history.request(0, 5), proof=(bytes(32),))).status == 422


def test_an_unknown_log_is_refused(served: Served) -> None:
    assert served.send(History("other.example/ledger/1").add(3).request()).status == 404


def test_a_signature_by_another_key_is_refused(served: Served) -> None:
    assert served.send(History(served.history.origin, served.history.leaves).request()).status == 403


def test_a_signature_that_does_not_hold_is_refused(served: Served) -> None:
    note = served.history.note()
    line = note.signatures[0]
    forged = Signature(line.name, line.key_id, bytes([line.data[0] ^ 1]) + line.data[1:])
    assert served.send(f"old 0\n\n{Note(note.checkpoint, (forged,))}").status == 403


def test_a_smaller_size_is_refused(served: Served) -> None:
    served.cosigned(served.history.request(0, 8))
    assert served.send(served.history.request(8, 5)).status == 400  # the old size is beyond the new one
    assert served.send(served.history.request(5, 5)).status == 409
    assert served.size == 8


def test_a_fork_of_the_same_size_is_refused(served: Served) -> None:
    served.cosigned(served.history.request(0, 8))
    other = served.history.fork(7).add(1, "another")
    reply = served.send(other.request(8, 8))
    assert (reply.status, b"history was rewritten" in reply.body) == (422, True)


def test_a_fork_that_is_longer_is_refused(served: Served) -> None:
    served.cosigned(served.history.request(0, 8))
    other = served.history.fork(7).add(9, "another")
    assert served.send(other.request(8)).status == 422
    assert served.size == 8


def test_extension_lines_are_refused(served: Served) -> None:
    body = f"{served.history.note(5).checkpoint.body}more\n"
    data = served.history.private.sign(body.encode())
    line = Signature(served.history.key.name, served.history.key.id, data)
    assert served.send(f"old 0\n\n{body}\n{line}").status == 400


ZEROS = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "head",
    [
        "",
        "old",
        "old 01",
        "old -1",
        "old 1e3",
        "old 9223372036854775808",
        "size 0",
        "old 0\nAAAA",
        "old 0\n?",
        "\n".join(["old 0", *[ZEROS] * 64]),
    ],
)
def test_a_malformed_request_is_refused(served: Served, head: str) -> None:
    assert served.send(f"{head}\n\n{served.history.note(5)}").status == 400


@pytest.mark.parametrize("body", [b"", b"\n\n\n", b"old 0\n\n", b"\xff\xfe", b"old 0\r\n\r\n"])
def test_what_is_no_request_at_all_is_refused(served: Served, body: bytes) -> None:
    assert served.send(body).status == 400


def test_an_oversized_body_is_refused(served: Served) -> None:
    assert served.send(b"old 0\n" + b"A" * MAX_REQUEST).status == 413


def test_other_addresses_and_methods_are_refused(served: Served) -> None:
    assert send(served.url, "", "/sign-subtree").status == 404
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(f"{served.url}/add-checkpoint", timeout=30)


# --- Two at once, and death -----------------------------------------------------------------------


def test_of_two_histories_sent_at_once_one_is_cosigned(served: Served) -> None:
    branches = [served.history.fork(4).add(6, f"branch {number}") for number in range(8)]
    replies: list[Reply] = []
    start = threading.Barrier(len(branches))

    def work(branch: History) -> None:
        start.wait()
        replies.append(served.send(branch.request(0)))

    threads = [threading.Thread(target=work, args=(branch,)) for branch in branches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reply.status for reply in replies) == [200, *[409] * 7]


def test_nothing_is_signed_that_could_not_be_stored(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise StorageFailed("No space left on device")

    monkeypatch.setattr("portal.adapters.witness_folder.write_private", full)
    reply = served.send(served.history.request(0, 5))
    assert (reply.status, "— " in reply.body.decode()) == (500, False)
    monkeypatch.undo()
    assert served.size == 0
    served.cosigned(served.history.request(0, 6))


def test_a_witness_that_died_between_storing_and_answering_goes_on(served: Served, clock: FixedClock) -> None:
    served.witness.add_checkpoint(str(served.history.request(0, 5)).encode(), clock)  # nobody heard of it
    assert served.send(served.history.request(0, 5)).body == b"5\n"
    served.cosigned(served.history.request(5, 5))
    assert served.send(served.history.fork(3).add(5, "another").request(0)).status == 409


@pytest.mark.slow
def test_a_witness_that_is_killed_again_and_again_never_cosigns_two_histories(
    tmp_path: Path, history: History
) -> None:
    """kill -9 in the middle of requests of two histories; what anybody was told must be one history."""
    folder = tmp_path / "witness"
    witness = WitnessFolder.create(folder, NAME)
    witness.add([history.key])
    branches = [history.fork(2).add(400, what) for what in ("one", "two")]
    told: list[Note] = []
    environment_ = os.environ | {"PYTHONUNBUFFERED": "1"}
    for life in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", _LIFE, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment_, text=True,
        ) as process:  # fmt: skip
            assert process.stdin and process.stdout
            process.stdin.write(json.dumps([str(history.key)]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            killer = threading.Timer(0.02 + life * 0.01, process.send_signal, (signal.SIGKILL,))
            killer.start()
            size = witness_size(folder, history.origin)
            try:
                for step in range(200):
                    branch = branches[(step + life) % 2]
                    old, new = size, size + 1 + step % 3
                    body = str(branch.request(old, min(new, 402)))
                    process.stdin.write(json.dumps(body) + "\n")
                    process.stdin.flush()
                    answer = json.loads(process.stdout.readline())
                    if answer["lines"]:
                        lines = tuple(Signature.parse(line) for line in answer["lines"].splitlines())
                        told.append(Note(Note.parse(body.partition("\n\n")[2]).checkpoint, lines))
                    size = answer["size"]
            except (BrokenPipeError, ValueError):
                pass  # it is dead
            killer.join()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    assert told
    keys = WitnessFolder.open(folder).signer.verifier_keys()
    one_history = [
        all(branch.tree(note.checkpoint.size).root() == note.checkpoint.root for note in told)
        for branch in branches
    ]
    assert any(one_history)
    assert all(len(note.signed_by(keys)) == 2 for note in told)


_LIFE = """
import json, sys
from pathlib import Path
from portal.adapters.witness_folder import WitnessFolder
from portal.clock import SystemClock
from portal.ledger.witnessing import Refused
from portal.ledger.notes import VerifierKey
witness = WitnessFolder.open(Path(sys.argv[1]))
origin = VerifierKey.parse(json.loads(sys.stdin.readline())[0]).name
print("ready", flush=True)
for line in sys.stdin:
    try:
        lines = witness.add_checkpoint(json.loads(line).encode(), SystemClock())
    except Refused:
        lines = ""
    print(json.dumps({"lines": lines, "size": witness.last(origin).checkpoint.size}), flush=True)
"""


def witness_size(folder: Path, origin: str) -> int:
    return WitnessFolder.open(folder).last(origin).checkpoint.size


# --- The folder -----------------------------------------------------------------------------------


def test_keys_and_state_are_for_their_owner_only(served: Served) -> None:
    served.cosigned(served.history.request(0, 5))
    files = [path for path in served.folder.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


@pytest.mark.parametrize(
    "damage", ["", "x", "portal.example/ledger/1\n0\n", "flip", "shorter", "origin", "root"]
)
def test_a_damaged_state_does_not_start_and_signs_nothing(served: Served, damage: str) -> None:
    served.cosigned(served.history.request(0, 5))
    path = served.folder / "checkpoints" / hashlib.sha256(served.history.origin.encode()).hexdigest()
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    path.write_text(
        {
            "flip": text.replace("\n5\n", "\n4\n"),
            "shorter": "".join(lines[:-1]),
            "origin": text.replace("ledger/1", "ledger/2"),
            "root": Checkpoint(served.history.origin, 0, b"\x01" * 32).body,
        }.get(damage, damage)
    )
    with pytest.raises(LedgerError, match="is damaged"):
        WitnessFolder.open(served.folder)
    assert served.send(served.history.request(5, 8)).status == 500
    assert served.send(served.history.request(0, 8)).status == 500


def test_a_lost_state_does_not_start_and_signs_nothing(served: Served) -> None:
    served.cosigned(served.history.request(0, 5))
    (served.folder / "checkpoints" / hashlib.sha256(served.history.origin.encode()).hexdigest()).unlink()
    with pytest.raises(LedgerError, match="is missing"):
        WitnessFolder.open(served.folder)
    assert served.send(served.history.request(0, 8)).status == 500
    served.witness.add([History(served.history.origin).key])  # another key of that log makes no new state
    assert served.send(served.history.request(0, 8)).status == 500


def test_a_log_that_is_named_again_keeps_what_was_cosigned(served: Served) -> None:
    served.cosigned(served.history.request(0, 5))
    (served.folder / "logs").write_text("")
    assert served.send(served.history.request(5, 8)).status == 404
    served.witness.add([served.history.key])
    assert served.send(served.history.request(0, 8)).body == b"5\n"


# --- The command ----------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["witness", *arguments])
    return result.exit_code, result.output


def test_a_witness_is_made_and_told_of_logs(tmp_path: Path, history: History) -> None:
    folder = str(tmp_path / "w")
    status, output = run("init", folder, "--name", NAME)
    assert status == 0
    lines = [line for line in output.splitlines() if line.startswith("witness ")]
    assert [line.split()[1] for line in lines] == [NAME, f"{NAME}-ml-dsa-44"]
    policy = tmp_path / "policy"
    policy.write_text(
        f"# ours\nlog {history.key} https://portal.example/ledger/1/\n{lines[0]}\nquorum {NAME}\n"
    )
    status, output = run("add", folder, str(policy), str(History("b.example/ledger/1").key))
    assert (status, output.count("Known from now on")) == (0, 2)
    assert run("add", folder, str(policy)) == (0, "All of these are known already.\n")
    status, output = run("show", folder)
    assert (status, output.count("nothing cosigned yet")) == (0, 2)


def test_what_is_no_witness_or_no_key_is_one_clear_line(tmp_path: Path, history: History) -> None:
    folder = tmp_path / "w"
    for arguments, said in (
        (("serve", str(folder)), "`lotgate witness init` makes a witness"),
        (("add", str(folder), str(history.key)), "`lotgate witness init` makes a witness"),
        (("init", str(folder), "--name", "a b"), "neither spaces nor plus signs"),
        (("init", str(folder), "--name", "w" * 256), "more than 255 bytes"),
    ):
        status, output = run(*arguments)
        assert (status, said in output, output.count("\n")) == (1, True, 1)
    assert not folder.exists()
    run("init", str(folder), "--name", NAME)
    own = str(WitnessFolder.open(folder).signer.verifier_keys()[0])
    for wrong, said in ((own, "this is the key of a witness"), ("x", "expected base64")):
        status, output = run("add", str(folder), wrong)
        assert (status, said in output) == (1, True)
    assert "is a witness already" in run("init", str(folder), "--name", NAME)[1]


def test_the_served_witness_is_the_one_of_the_folder(tmp_path: Path, history: History) -> None:
    folder = tmp_path / "it's a witness"
    witness = WitnessFolder.create(folder, NAME)
    witness.add([history.key])
    port = free_port()
    with subprocess.Popen(
        command_line("witness", "serve", str(folder), "--port", str(port)),
        env=environment(tmp_path / "none"), stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            for _ in range(600):
                try:
                    reply = send(f"http://127.0.0.1:{port}", str(history.request(0, 5)))
                    break
                except urllib.error.URLError:
                    assert process.poll() is None
                    time.sleep(0.1)
            assert reply.status == 200
            chunked = urllib.request.Request(
                f"http://127.0.0.1:{port}/add-checkpoint", iter([b"A" * MAX_REQUEST] * 9)
            )
            with pytest.raises((urllib.error.HTTPError, urllib.error.URLError)):
                urllib.request.urlopen(chunked, timeout=30)
        finally:
            process.terminate()
    assert witness.last(history.origin).checkpoint == history.note(5).checkpoint
    assert not (tmp_path / "none").exists()  # it needs nothing of the portal
