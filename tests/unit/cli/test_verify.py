"""`lotgate hash` and `lotgate verify` as scripts see them: exit codes, JSON shapes, no traceback ever."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from portal.cli.main import main
from tests.unit.verification.conftest import (
    Keys,
    MakeImage,
    Signers,
    envelope,
    image,
    keys,
    run,
    signers,
    statement,
)
from tests.unit.verification.test_elf import by_hand

__all__ = ["image", "keys", "signers"]


def lotgate(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def write_trust(path: Path, *entries: dict[str, Any], **members: Any) -> Path:
    path.write_text(json.dumps({"version": 1, "keys": list(entries), **members}))
    return path


@pytest.fixture
def trust(tmp_path: Path, keys: Keys) -> Path:
    return write_trust(tmp_path / "TRUST.json", {"id": "firmware-2026", "public_key": keys.public("ed25519")})


def test_hash_prints_what_files_are(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    result = lotgate("hash", path, path, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == 2 * [
        {
            "path": str(path),
            "size": 3,
            "sha256": hashlib.sha256(b"abc").hexdigest(),
            "blake3": "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        }
    ]
    assert hashlib.sha256(b"abc").hexdigest() in lotgate("hash", path).stdout


def test_hash_of_a_missing_file_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    result = lotgate("hash", tmp_path / "missing", path, "--json")
    assert result.exit_code == 1
    assert "missing: Cannot be read: No such file or directory." in result.stderr
    assert [entry["path"] for entry in json.loads(result.stdout)] == [str(path)]
    assert lotgate("hash").exit_code == 2


def test_a_good_image_passes(image: MakeImage, trust: Path) -> None:
    path = image()
    result = lotgate("verify", path, "--trust", trust, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    members = [
        "version",
        "path",
        "rules",
        "purpose",
        "size",
        "digests",
        "format",
        "outcome",
        "time",
        "checks",
    ]
    assert list(report) == [*members, "signatures", "claims", "confinement"]
    assert (report["version"], report["path"], report["outcome"]) == (1, str(path), "pass")
    assert report["size"] == path.stat().st_size
    assert report["digests"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(report["digests"]) == {"sha256", "blake3"}
    assert all(set(check) == {"id", "outcome", "reason"} for check in report["checks"])
    assert report["claims"]["version"] == "1.4.2+7"
    people = lotgate("verify", path, "--trust", trust)
    assert people.exit_code == 0
    assert "firmware.signature  pass" in people.stdout


def test_people_are_told_what_the_file_says_of_itself(image: MakeImage, trust: Path, tmp_path: Path) -> None:
    told = lotgate("verify", image(), "--trust", trust).stdout
    assert "  The file says of itself\n    Version: 1.4.2+7\n" in told
    assert "    TLV entries: 3\n" in told
    path = tmp_path / "file.srec"
    header = bytes([7, 0, 0]) + b"a\x1b[2"
    path.write_text(f"S0{header.hex()}{~sum(header) & 255:02X}\nS1040000FFFC\nS9030000FC\n")
    told = lotgate("verify", path, "--trust", trust).stdout
    assert "Header: a" in told
    assert "\x1b" not in told


def test_anything_but_a_pass_exits_with_1(image: MakeImage, trust: Path, tmp_path: Path, keys: Keys) -> None:
    path = image()
    declared = lotgate("verify", path, "--trust", trust, "--declared-sha256", "0" * 64, "--json")
    assert (declared.exit_code, json.loads(declared.stdout)["outcome"]) == (1, "fail")
    missing = lotgate("verify", tmp_path / "missing", "--trust", trust, "--json")
    assert (missing.exit_code, json.loads(missing.stdout)["outcome"]) == (1, "unreadable")
    assert "No such file" in json.loads(missing.stdout)["checks"][0]["reason"]
    folder = lotgate("verify", tmp_path, "--trust", trust)
    assert folder.exit_code == 1
    assert "directory" in folder.stdout
    weak = write_trust(tmp_path / "weak.json", {"id": "a", "public_key": keys.public("rsa-2048")})
    warned = lotgate("verify", image("rsa-2048"), "--trust", weak, "--json")
    assert (warned.exit_code, json.loads(warned.stdout)["outcome"]) == (1, "warn")


def test_a_detached_signature_and_a_date(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "firmware.elf"
    path.write_bytes(by_hand((0x0800_0000, bytes(100))))
    signature = tmp_path / "firmware.sig"
    private = keys.private("ed25519")
    signature.write_bytes(run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", path))
    trust = write_trust(
        tmp_path / "TRUST.json",
        {"id": "a", "public_key": keys.public("ed25519"), "distrusted_from": "2026-06-01T00:00:00Z"},
    )
    arguments = ("verify", path, "--trust", trust, "--signature", signature)
    assert lotgate(*arguments, "--at", "2026-05-31T23:59:59Z").exit_code == 0
    assert lotgate(*arguments, "--at", "2026-06-01T02:00:00+02:00").exit_code == 1
    assert lotgate(*arguments).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify"], "Missing option '--trust'"),
        (["verify", "--trust", "TRUST"], "Give either FILE or --attestations"),
        (["verify", "f", "--attestations", "f", "--trust", "TRUST"], "Give either FILE or --attestations"),
        (["verify", "--attestations", "f", "--signature", "f", "--trust", "TRUST"], "go with FILE"),
        (["verify", "f", "--trust", "TRUST", "--at", "2026-01-01"], "expected RFC 3339"),
        (["verify", "f", "--trust", "TRUST", "--at", "2026-01-01T00:00:00"], "expected RFC 3339"),
        (["verify", "f", "--trust", "TRUST", "--at", "1950-01-01T00:00:00Z"], "from 1970 to 9999"),
        (["verify", "f", "--trust", "TRUST", "--declared-sha256", "xyz"], "64 hexadecimal digits"),
        (["verify", "f", "--trust", "TRUST", "--signature", "missing"], "missing: No such file"),
        (["verify", "f", "--trust", "missing"], "missing: No such file"),
        (["verify", "f", "--trust", "."], "Is a directory"),
    ],
)
def test_wrong_usage_exits_with_2(
    trust: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(trust.parent)
    result = lotgate(*[argument.replace("TRUST", trust.name) for argument in arguments])
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "EOF while parsing"),
        (b"\xff\xfe", "expected UTF-8"),
        (b'{"version":1,"keys":[],"extra":1}', "unknown field `extra`"),
    ],
)
def test_an_unreadable_trust_file_exits_with_2(tmp_path: Path, content: bytes, words: str) -> None:
    trust = tmp_path / "TRUST.json"
    trust.write_bytes(content)
    result = lotgate("verify", tmp_path / "file", "--trust", trust)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_batch(tmp_path: Path, signers: Signers) -> None:
    key = signers.key("ed25519")
    trust = write_trust(tmp_path / "TRUST.json", {"id": key.id, "public_key": key.pem})
    good = json.dumps(envelope(statement("SN-1"), signers["ed25519"]))
    path = tmp_path / "attestations.jsonl"
    path.write_text(f"{good}\n{good}\n")
    passed = lotgate("verify", "--attestations", path, "--trust", trust, "--json")
    assert passed.exit_code == 0
    report = json.loads(passed.stdout)
    assert report.pop("seconds") >= 0
    assert report.pop("confinement")["limits"]["processes"] == 0
    assert report == {
        "version": 1,
        "path": str(path),
        "total": 2,
        "pass": 2,
        "fail": 0,
        "unreadable": 0,
        "failures": [],
    }
    stranger = json.dumps(envelope(statement("SN-2"), signers["ed25519-stranger"]))
    path.write_text(f"{good}\n\n{stranger}\n")
    failed = lotgate("verify", "--attestations", path, "--trust", trust, "--json")
    assert failed.exit_code == 1
    report = json.loads(failed.stdout)
    assert (report["total"], report["pass"], report["fail"], report["unreadable"]) == (3, 1, 1, 1)
    assert [(f["line"], f["outcome"], f["subject"]) for f in report["failures"]] == [
        (2, "unreadable", None),
        (3, "fail", "SN-2"),
    ]
    people = lotgate("verify", "--attestations", path, "--trust", trust)
    assert people.exit_code == 1
    assert "line 3 (SN-2)  fail" in people.stdout


def test_a_batch_that_is_blank_or_missing(tmp_path: Path, trust: Path) -> None:
    path = tmp_path / "attestations.jsonl"
    for content in (b"", None):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        result = lotgate("verify", "--attestations", path, "--trust", trust, "--json")
        assert result.exit_code == 1
        report = json.loads(result.stdout)
        assert report["total"] == 0
        assert [(f["line"], f["outcome"]) for f in report["failures"]] == [(None, "unreadable")]


def test_the_command_itself(tmp_path: Path) -> None:
    path = tmp_path / "file \u00e9"
    path.write_bytes(b"abc")
    command = [str(Path(sys.executable).parent / "lotgate"), "hash", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["path"] == str(path)
