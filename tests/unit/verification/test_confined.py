"""Files are read in confined processes: what these may do, and what a file can do to them."""

import json
import os
import signal
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from portal.errors import UnreadableFile
from portal.verification import (
    Chunk,
    ContentRules,
    FileReport,
    Outcome,
    Trust,
    examine_content,
    verify_attestations,
    verify_file,
)
from portal.verification.confined import children

from .conftest import AT, MakeImage, Signers, envelope, statement

CORPUS = Path(__file__).parents[3] / "verifier_rs" / "fuzz" / "corpus"
SEEDS = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


def verify(path: Path, trust: Trust | None = None) -> FileReport:
    return verify_file(path, trust or Trust.build([]), at=AT)


def confined() -> Iterator[Path]:
    """The folders in /proc of the confined processes of this one."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == os.getpid() and b"serve_child" in command:
                yield folder


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    with path.open("wb") as out:
        out.truncate(1 << 30)  # a hole: quickly made, slowly hashed
    return path


def test_the_report_says_what_confined_its_making(image: MakeImage) -> None:
    confinement = verify(image()).document["confinement"]
    assert confinement["limits"]["processes"] == confinement["limits"]["written_bytes"] == 0
    [folder, *_] = confined()
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines())
    assert status["NoNewPrivs"] == "1"
    assert confinement["seccomp"] is (status["Seccomp"] == "2")


def test_a_confined_process_has_one_socket_no_environment_and_no_room_to_write(image: MakeImage) -> None:
    verify(image())
    for folder in confined():
        assert {str(link.readlink()).partition(":")[0] for link in (folder / "fd").iterdir()} == {
            "socket",
            "/dev/null",
            "pipe",
        }
        names = {part.partition(b"=")[0] for part in (folder / "environ").read_bytes().split(b"\0") if part}
        assert names <= {b"MALLOC_ARENA_MAX", b"LD_LIBRARY_PATH"}
        limits = (folder / "limits").read_text()
        for name in ("Max file size", "Max core file size", "Max processes"):
            [line] = [line for line in limits.splitlines() if line.startswith(name)]
            assert line.removeprefix(name).split()[:2] == ["0", "0"]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_real_sample_needs_what_a_confined_process_has_not(seed: Path) -> None:
    signature = seed.read_bytes()
    report = verify_file(seed, Trust.build([]), at=AT, signature=signature)
    assert "fault" not in report.document, report.document["fault"]
    examine_content(seed, ContentRules(), at=AT)


def test_a_process_killed_in_the_middle_is_a_crash_and_never_a_pass(big: Path, image: MakeImage) -> None:
    killed = []

    def kill(_: int) -> None:
        if not killed:
            killed.extend(confined())
            for folder in killed:
                os.kill(int(folder.name), signal.SIGKILL)

    report = verify_file(big, Trust.build([]), at=AT, progress=kill)
    assert killed
    assert report.document["fault"]["kind"] == "crashed"
    assert {check.id: check.outcome for check in report.checks} == {
        "firmware.digest": Outcome.NOT_APPLICABLE,
        "firmware.format": Outcome.UNREADABLE,
        "firmware.signed": Outcome.NOT_RUN,
        "firmware.signature": Outcome.NOT_RUN,
        "firmware.key": Outcome.NOT_RUN,
        "firmware.algorithm": Outcome.NOT_RUN,
    }
    assert report.outcome is Outcome.UNREADABLE
    assert report.size == 1 << 30
    assert len(report.sha256) == 64
    # The next file does not notice, nor is the dead one left lying about.
    assert "fault" not in verify(image()).document
    assert not [folder for folder in killed if folder.exists()]


def test_a_process_killed_in_the_middle_of_a_batch_is_an_error(tmp_path: Path, signers: Signers) -> None:
    path = tmp_path / "attestations.jsonl"
    line = json.dumps(envelope(statement("SN-1"), signers["ed25519"])) + "\n"
    path.write_text(line * 50_000)
    trust = Trust.build([signers.key("ed25519")])
    delivered = []

    def kill(chunk: Chunk) -> None:
        delivered.append(chunk.count)
        for folder in confined():
            os.kill(int(folder.name), signal.SIGKILL)

    with pytest.raises(UnreadableFile, match=r"attestations\.jsonl: .*crashed"):
        verify_attestations(path, trust, at=AT, columns=kill)
    assert 0 < sum(delivered) < 50_000
    path.write_text(line)
    assert verify_attestations(path, trust, at=AT).passed == 1


def test_an_idle_process_that_was_killed_is_replaced_without_a_word(image: MakeImage) -> None:
    path = image()
    verify(path)
    for folder in confined():
        os.kill(int(folder.name), signal.SIGKILL)
        # Its socket is closed with the last of its threads, of which the first stays as a zombie.
        while len(list((folder / "task").iterdir())) > 1:
            time.sleep(0.001)
        while (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.001)
    assert "fault" not in verify(path).document


def test_a_cancel_comes_out_unchanged_within_a_fifth_of_a_second(big: Path) -> None:
    asked = 0.0

    def stop(_: int) -> None:
        nonlocal asked
        asked = time.monotonic()
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        verify_file(big, Trust.build([]), at=AT, progress=stop)
    assert time.monotonic() - asked < 0.2


def test_two_hundred_files_at_once(tmp_path: Path) -> None:
    paths = []
    for n in range(200):
        paths.append(tmp_path / f"{n}.bin")
        paths[-1].write_bytes(b"%d" % n * (n + 1))
    with ThreadPoolExecutor(16) as pool:
        sizes = [report.size for report in pool.map(verify, paths)]
    assert sizes == [path.stat().st_size for path in paths]
    assert len(list(confined())) <= 2 * max(2, os.cpu_count() or 1) + 1


def test_a_fork_has_confined_processes_of_its_own(image: MakeImage) -> None:
    path = image()
    verify(path)
    mine = children()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads may run: that is the point
        pid = os.fork()
    if pid == 0:
        done = children() is not mine and "fault" not in verify(path).document
        os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert children() is mine
    assert "fault" not in verify(path).document


def test_they_end_with_the_process_that_started_them(tmp_path: Path, image: MakeImage) -> None:
    path = image()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        verify(path)
        os.write(writer, " ".join(folder.name for folder in confined()).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        theirs = told.read().split()
    assert theirs
    until = time.monotonic() + 10
    while any(Path("/proc", name.decode()).exists() for name in theirs) and time.monotonic() < until:
        time.sleep(0.01)
    assert not [name for name in theirs if Path("/proc", name.decode()).exists()]
