"""MCUboot images beyond the plain one: padding, compression, encryption, dependencies; `imgtool verify`."""

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from imgtool.main import imgtool

from portal.verification import Outcome, verify_file
from tests.unit.verification.conftest import AT, Keys, MakeImage
from tests.unit.verification.test_firmware import GOOD, HASH, build, outcomes, reason

MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")


@pytest.mark.parametrize("align", ["8", "16", "32"])
@pytest.mark.parametrize("erased", [(), ("--erased-val", "0")])
@pytest.mark.parametrize("mark", ["--pad", "--test", "--confirm"])
def test_an_image_padded_to_its_slot(
    image: MakeImage, keys: Keys, align: str, erased: tuple[str, ...], mark: str
) -> None:
    path = image("ed25519", mark, "--max-align", align, *erased)
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report) == GOOD | {"padding": "pass"}
    assert report.claims["padding_bytes"] > 0x30000
    assert report.claims["confirmed"] == (mark == "--confirm")
    assert ("without a trial run" in reason(report, "padding")) == (mark == "--confirm")


@pytest.mark.parametrize("place", [-17, -40, -5000, "first"])
def test_padding_that_holds_anything_is_refused(image: MakeImage, keys: Keys, place: int | str) -> None:
    path = image("ed25519", "--confirm")
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff" * 64) if place == "first" else int(place)
    content[at] ^= 0x10
    path.write_bytes(content)
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report)["format"] == "unreadable"
    assert "is not erased flash" in reason(report, "format")


@pytest.mark.parametrize(
    "trailing", [b"x", MAGIC[:-1], b"x" + MAGIC, b"\x40\x00" + bytes.fromhex("2de15d29410b8d77679c110f1f8a")]
)
def test_f18_other_bytes_behind_the_image_are_refused(tmp_path: Path, keys: Keys, trailing: bytes) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(build(HASH, trailing=trailing))
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report)["format"] == "unreadable"
    assert f"{len(trailing)} bytes follow the TLV area" in reason(report, "format")


@pytest.mark.parametrize("kind", ["lzma2", "lzma2armthumb"])
def test_a_compressed_image_is_verified_as_it_is_and_says_so(image: MakeImage, keys: Keys, kind: str) -> None:
    report = verify_file(image("p256", "--compression", kind, size=20_000), keys.trust("p256"), at=AT)
    assert outcomes(report) == GOOD
    assert report.claims["compressed"]
    assert "what they unpack to was not examined" in reason(report, "format")


def test_an_image_ready_for_encryption_but_clear_is_verified(
    image: MakeImage, keys: Keys, tmp_path: Path
) -> None:
    public = tmp_path / "encryption.pem"
    public.write_text(keys.public("p256"))
    report = verify_file(image("ed25519", "--clear", "-E", str(public)), keys.trust("ed25519"), at=AT)
    assert outcomes(report) == GOOD
    assert report.claims["encrypted"]


def with_flags(content: bytes, flags: int) -> bytes:
    return content[:16] + struct.pack("<I", flags) + content[20:]


def dependency(image: int) -> tuple[int, bytes]:
    return (0x40, struct.pack("<B3xBBHI", image, 1, 0, 0, 0))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(build(HASH, (0x32, bytes(113))), "flags do not say", id="a key but no flag"),
        pytest.param(with_flags(build(HASH), 0x0C), "AES-128 and with AES-256", id="two ciphers"),
        pytest.param(
            build(HASH, protected=(dependency(1), dependency(1))),
            "two dependencies on image 1",
            id="two dependencies on one image",
        ),
        pytest.param(build(HASH, protected=((0x40, bytes(11)),)), "expected 12", id="short dependency"),
    ],
)
def test_an_image_that_contradicts_itself_is_unreadable(
    tmp_path: Path, keys: Keys, content: bytes, words: str
) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(content)
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report)["format"] == "unreadable"
    assert words in reason(report, "format")


def test_a_big_endian_image_is_refused_by_name(image: MakeImage, keys: Keys) -> None:
    report = verify_file(image("ed25519", "--endian", "big"), keys.trust("ed25519"), at=AT)
    assert report.outcome is Outcome.UNREADABLE
    assert "big-endian" in reason(report, "format")


def imgtool_takes(path: Path, key: Path) -> bool:
    done = CliRunner().invoke(imgtool, ["verify", "-k", str(key), str(path)])
    return done.exit_code == 0


# `imgtool verify` is told the key, so it does not look at KEYHASH (36 bytes from 116). Of the types of the
# entries for hash and signature it reads only the lower of two bytes: 0xA024 is a signature to it. Nor does
# it see that the last entry claims to be longer than its area (154). We refuse all of that.
ONLY_IMGTOOL_TAKES = {*range(116, 152), 81, 153, 154}


@pytest.mark.parametrize("name", ["p256", "rsa-3072", "ed25519"])
def test_the_same_verdict_as_imgtool_on_changed_bytes(image: MakeImage, keys: Keys, name: str) -> None:
    path = image(name, "--security-counter", "9", size=32)
    good, trust, key = path.read_bytes(), keys.trust(name), keys.private(name)
    assert imgtool_takes(path, key)
    for at in [*range(0, len(good), 7), *ONLY_IMGTOOL_TAKES]:
        changed = bytearray(good)
        changed[at] ^= 0x01
        path.write_bytes(changed)
        assert verify_file(path, trust, at=AT).outcome is not Outcome.PASS, f"byte {at} of {len(good)}"
        assert not imgtool_takes(path, key) or at in ONLY_IMGTOOL_TAKES, f"byte {at} of {len(good)}"
