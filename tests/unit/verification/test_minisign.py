"""Signatures by minisign and signify: the tools' own verdicts, and what is refused."""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.verification import Outcome, Trust, TrustKey, verify_file
from tests.unit.verification.conftest import AT
from tests.unit.verification.flipped import accepts, differences
from tests.unit.verification.test_firmware import outcomes, reason
from tests.unit.verification.tools import ED25519, Minisign, Signify, run

TRUSTED = "timestamp:1795262400\tfile:bms-2.1.0.bin"


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "bms-2.1.0.bin"
    path.write_bytes(b"\x7fBMS" + bytes(n * 31 % 251 for n in range(2_500_000)))
    return path


@pytest.fixture
def minisign(tmp_path: Path) -> Minisign:
    return Minisign(tmp_path, "release")


@pytest.fixture
def signify(tmp_path: Path) -> Signify:
    return Signify(tmp_path, "release")


def trust(*tools: Minisign | Signify) -> Trust:
    return Trust.build([TrustKey(f"key {n}", tool.public.read_text()) for n, tool in enumerate(tools)])


def pem(tool: Minisign | Signify) -> str:
    der = ED25519 + base64.b64decode(tool.public.read_text().splitlines()[1])[10:]
    return run("openssl", "pkey", "-pubin", "-inform", "DER", "-pubout", data=der).decode()


@pytest.mark.parametrize(("options", "over"), [((), "BLAKE2b-512"), (("-l",), "legacy")])
def test_minisign_signs_the_hash_or_the_file(
    firmware: Path, minisign: Minisign, options: tuple[str, ...], over: str
) -> None:
    signature = minisign.sign(firmware, *options, "-t", TRUSTED, "-c", "made on the release machine")
    report = verify_file(firmware, trust(minisign), at=AT, signature=signature)
    assert outcomes(report) | {"format": ""} == {
        "digest": "not_applicable",
        "format": "",
        "signed": "pass",
        "signature": "pass",
        "key": "pass",
        "algorithm": "pass",
    }
    document = report.document
    assert over in document["signatures"][0]["rule"]
    assert document["signature_file"] == {
        "form": "minisign",
        "claims": {
            "key_number": minisign.public.read_text().split()[5].rjust(16, "0"),
            "prehashed": not options,
            "trusted_comment": TRUSTED.replace("\t", "\N{REPLACEMENT CHARACTER}"),
            "untrusted_comment": "made on the release machine",
        },
    }


@pytest.mark.parametrize("options", [(), ("-l",)])
def test_minisign_agrees_on_everything_that_differs_in_one_place(
    firmware: Path, minisign: Minisign, options: tuple[str, ...]
) -> None:
    firmware.write_bytes(b"short")
    good = minisign.sign(firmware, *options, "-t", TRUSTED)
    assert differences(firmware, trust(minisign), good, minisign.accepts, step=3) == []


def test_minisign_of_another_file_is_refused(firmware: Path, minisign: Minisign) -> None:
    good = minisign.sign(firmware)
    firmware.write_bytes(firmware.read_bytes() + b"\0")
    report = verify_file(firmware, trust(minisign), at=AT, signature=good)
    assert "the file or the signature was changed" in reason(report, "signature")
    assert report.outcome is Outcome.FAIL


def test_a_changed_trusted_comment_is_refused_and_told_apart(firmware: Path, minisign: Minisign) -> None:
    good = minisign.sign(firmware, "-t", "version 2.1.0")
    report = verify_file(firmware, trust(minisign), at=AT, signature=good.replace(b"2.1.0", b"2.1.1"))
    assert "the trusted comment was changed" in reason(report, "signature")
    assert report.outcome is Outcome.FAIL


def test_the_global_signature_of_another_file_is_refused(firmware: Path, minisign: Minisign) -> None:
    one = minisign.sign(firmware, "-t", "same").splitlines(keepends=True)
    firmware.write_bytes(b"another version")
    other = minisign.sign(firmware, "-t", "same").splitlines(keepends=True)
    assert one[3] != other[3]
    assert not accepts(firmware, trust(minisign), b"".join([*other[:3], one[3]]))


def test_a_signature_by_another_number_is_not_tried(
    firmware: Path, minisign: Minisign, tmp_path: Path
) -> None:
    report = verify_file(
        firmware, trust(Minisign(tmp_path, "other")), at=AT, signature=minisign.sign(firmware)
    )
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("not_run", "fail")
    assert minisign.public.read_text().split()[5] in reason(report, "key")


def test_a_changed_number_is_refused_though_the_key_made_it(firmware: Path, minisign: Minisign) -> None:
    lines = minisign.sign(firmware).splitlines()
    blob = bytearray(base64.b64decode(lines[1]))
    blob[2] ^= 1
    lines[1] = base64.b64encode(blob)
    given = b"\n".join(lines) + b"\n"
    assert not minisign.accepts(firmware, given)
    assert not accepts(firmware, trust(minisign), given)


def test_a_key_enrolled_in_pem_has_no_number_to_compare(firmware: Path, minisign: Minisign) -> None:
    enrolled = Trust.build([TrustKey("pem", pem(minisign))])
    assert accepts(firmware, enrolled, minisign.sign(firmware))
    assert accepts(firmware, enrolled, minisign.sign(firmware, "-l"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + b"more\n", "expected four lines"),
        (lambda text: text.replace(b"\n", b"\n\n", 1), "should have 2 bytes"),
        (lambda text: text[: text.rindex(b"\n", 0, -1) + 1], "a signature in line 4"),
        (lambda text: text[:-5] + b"\n", "line 4"),
        (lambda text: text + bytes(70_000), "at most 65536"),
    ],
)
def test_what_is_no_minisign_file_is_unreadable(
    firmware: Path, minisign: Minisign, change: object, message: str
) -> None:
    assert callable(change)
    given = change(minisign.sign(firmware))
    report = verify_file(firmware, trust(minisign), at=AT, signature=given)
    assert outcomes(report)["signature"] == "unreadable"
    assert message in reason(report, "signature")


def stray(line: bytes) -> bytes:
    """The same bytes to a lax reader, and not how base64 writes them."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    assert line.endswith(b"=")
    last = len(line.rstrip(b"=")) - 1
    made = line[:last] + alphabet[alphabet.index(line[last]) + 1 :][:1] + line[last + 1 :]
    assert base64.b64decode(made) == base64.b64decode(line)
    return made


@pytest.mark.parametrize(
    "change", [stray, lambda line: line[:40] + b"\n" + line[40:]], ids=["bits", "newline"]
)
def test_base64_with_stray_bits_or_a_line_break_is_unreadable(
    firmware: Path, minisign: Minisign, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    tools: list[tuple[Minisign | Signify, tuple[int, ...]]] = [
        (minisign, (1, 3)),
        (Signify(tmp_path, "signify"), (1,)),
    ]
    for tool, places in tools:
        good = tool.sign(firmware).splitlines()
        for place in places:
            lines = [*good[:place], change(good[place]), *good[place + 1 :]]
            report = verify_file(firmware, trust(tool), at=AT, signature=b"\n".join(lines) + b"\n")
            assert outcomes(report)["signature"] == "unreadable"


def test_line_ends_of_windows_are_read(firmware: Path, minisign: Minisign) -> None:
    given = minisign.sign(firmware, "-t", "a comment").replace(b"\n", b"\r\n")
    assert minisign.accepts(firmware, given)
    assert accepts(firmware, trust(minisign), given)


def test_signify_signs_the_file(firmware: Path, signify: Signify) -> None:
    report = verify_file(firmware, trust(signify), at=AT, signature=signify.sign(firmware))
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("pass", "pass")
    assert report.document["signature_file"]["form"] == "signify"


def test_signify_agrees_on_everything_that_differs_in_one_place(firmware: Path, signify: Signify) -> None:
    firmware.write_bytes(b"short")
    good = signify.sign(firmware)
    assert differences(firmware, trust(signify), good, signify.accepts, step=2) == []


def test_a_minisign_file_cut_to_two_lines_is_what_signify_makes(firmware: Path, minisign: Minisign) -> None:
    # Both tools sign the file alike; the comment that went missing was only the signer's own remark.
    lines = minisign.sign(firmware, "-l").splitlines(keepends=True)
    report = verify_file(firmware, trust(minisign), at=AT, signature=b"".join(lines[:2]))
    assert outcomes(report)["signature"] == "pass"
    assert "trusted_comment" not in report.document["signature_file"]["claims"]
    prehashed = minisign.sign(firmware).splitlines(keepends=True)
    assert not accepts(firmware, trust(minisign), b"".join(prehashed[:2]))


def listed(signify: Signify, folder: Path, text: str) -> bytes:
    (folder / "SHA256").write_text(text)
    return signify.sign(folder / "SHA256", "-e")


def test_a_signed_list_of_checksums_counts_for_the_files_in_it(
    firmware: Path, signify: Signify, tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(firmware.read_bytes()).hexdigest()
    given = listed(signify, tmp_path, f"SHA256 (x.bin) = {'0' * 64}\nSHA256 ({firmware.name}) = {sha256}\n")
    (tmp_path / "SHA256.sig").write_bytes(given)
    run("sh", "-c", f"cd {tmp_path} && signify-openbsd -C -p release.pub -x SHA256.sig {firmware.name}")
    report = verify_file(firmware, trust(signify), at=AT, signature=given)
    assert outcomes(report)["signature"] == "pass"
    assert "list of checksums" in reason(report, "signature")
    sha512 = hashlib.sha512(firmware.read_bytes()).hexdigest()
    assert accepts(firmware, trust(signify), listed(signify, tmp_path, f"SHA512 (b) = {sha512}\n"))


def test_a_signed_list_without_the_file_or_changed_afterwards_is_refused(
    firmware: Path, signify: Signify, tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(firmware.read_bytes()).hexdigest()
    other = listed(signify, tmp_path, f"SHA256 (x.bin) = {'0' * 64}\n")
    report = verify_file(firmware, trust(signify), at=AT, signature=other)
    assert "has no SHA256 or SHA512 line with the digest of this file" in reason(report, "signature")
    changed = other.replace(b"0" * 64, sha256.encode())
    report = verify_file(firmware, trust(signify), at=AT, signature=changed)
    assert "the signed list was changed" in reason(report, "signature")
    for line in (f"MD5 (x.bin) = {sha256}\n", f"{sha256}  x.bin\n", f"SHA256 (x.bin) = {sha256}0\n"):
        assert not accepts(firmware, trust(signify), listed(signify, tmp_path, line))


@pytest.mark.parametrize("algorithm", [b"ED", b"EX"])
def test_signify_has_one_algorithm(firmware: Path, signify: Signify, algorithm: bytes) -> None:
    lines = signify.sign(firmware).splitlines()
    lines[1] = base64.b64encode(algorithm + base64.b64decode(lines[1])[2:])
    report = verify_file(firmware, trust(signify), at=AT, signature=b"\n".join(lines) + b"\n")
    assert outcomes(report)["signature"] == "unreadable"
    assert "expected algorithm Ed" in reason(report, "signature")
