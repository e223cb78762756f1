"""U-Boot FIT images by mkimage (u-boot-tools): what passes, and the known ways around their signatures."""

import hashlib
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from portal.verification import FileReport, KeyOptions, Outcome, Trust, verify_file
from tests.unit.verification.conftest import AT, Keys, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

pytestmark = pytest.mark.skipif(
    not (shutil.which("mkimage") and shutil.which("dtc")),
    reason="u-boot-tools or device-tree-compiler is missing",
)

COVERED = GOOD | {"coverage": "pass"}
PARTS = {
    "kernel": bytes(n * 7 % 256 for n in range(5000)),
    "ramdisk": b"root file system" * 60,
    "fdt": b"tree" * 50,
}
SIGN = 'signature-1 { algo = "%s"; key-name-hint = "%s"; %s %s };'
ALL = 'sign-images = "kernel", "ramdisk", "fdt";'
PSS = 'padding = "pss";'


def part(name: str, *, hashes: str = "sha256", inside: str = "") -> str:
    nodes = "".join(f'hash-{n} {{ algo = "{one}"; }}; ' for n, one in enumerate(hashes.split(), 1))
    kind = {"kernel": "kernel", "ramdisk": "ramdisk", "fdt": "flat_dt"}[name]
    return (
        f'{name}-1 {{ description = "the {name}"; data = /incbin/("{name}.bin"); type = "{kind}"; '
        f'arch = "arm64"; os = "linux"; compression = "none"; load = <0x80080000>; entry = <0x80080010>; '
        f"{nodes} {inside} }};"
    )


def configuration(inside: str = "", name: str = "conf-1") -> str:
    return (
        f'{name} {{ description = "bms"; compatible = "nordhaven,bms"; kernel = "kernel-1"; '
        f'ramdisk = "ramdisk-1"; fdt = "fdt-1"; {inside} }};'
    )


def source(images: str, configurations: str) -> str:
    return (
        '/dts-v1/; / { description = "BMS 1.4.2"; #address-cells = <1>; images { '
        f'{images} }}; configurations {{ default = "conf-1"; {configurations} }}; }};'
    )


EVERY = "".join(part(name) for name in PARTS)


class Mkimage:
    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder, self.keys = folder, keys
        for name, content in PARTS.items():
            (folder / f"{name}.bin").write_bytes(content)

    def make(self, text: str, *options: str, key: str = "rsa-3072") -> Path:
        out = self.folder / "image.itb"
        (self.folder / "image.its").write_text(text)
        for ending in ("key", "pem"):
            shutil.copy(self.keys.private(key), self.folder / f"{key}.{ending}")
        done = ("mkimage", *options, "-f", "image.its", "-k", ".", "image.itb")
        run("sh", "-c", 'cd "$0" && exec "$@"', self.folder, *done)
        return out

    def signed(
        self, algorithm: str = "sha256,rsa3072", *options: str, key: str = "rsa-3072", more: str = ""
    ) -> Path:
        inside = SIGN % (algorithm, key, more, ALL)
        return self.make(source(EVERY, configuration(inside)), *options, key=key)


@pytest.fixture
def mkimage(tmp_path: Path, keys: Keys) -> Mkimage:
    return Mkimage(tmp_path, keys)


def pss(keys: Keys) -> Trust:
    return keys.trust("rsa-3072", options=KeyOptions(rsa_padding="pss"))


@pytest.mark.parametrize(
    ("algorithm", "key", "options", "more"),
    [
        ("sha256,rsa3072", "rsa-3072", {}, ""),
        ("sha256,rsa3072", "rsa-3072", {"rsa_padding": "pss", "pss_salt": "max"}, PSS),
        ("sha384,rsa3072", "rsa-3072", {"hash": "sha384"}, ""),
        ("sha512,rsa3072", "rsa-3072", {"hash": "sha512"}, ""),
        ("sha256,ecdsa256", "p256", {}, ""),
    ],
)
@pytest.mark.parametrize("form", [(), ("-E",), ("-E", "-p", "0x3000"), ("-E", "-B", "0x200")])
def test_a_signed_configuration(
    mkimage: Mkimage,
    keys: Keys,
    algorithm: str,
    key: str,
    options: dict[str, str],
    more: str,
    form: tuple[str, ...],
) -> None:
    path = mkimage.signed(algorithm, *form, key=key, more=more)
    report = verify_file(path, keys.trust(key, options=KeyOptions(**options)), at=AT)
    assert outcomes(report) == COVERED, report.checks
    assert (report.format, report.outcome, report.key_id) == ("fit", Outcome.PASS, key)


def test_what_the_image_claims(mkimage: Mkimage, keys: Keys) -> None:
    claims = verify_file(mkimage.signed(), keys.trust("rsa-3072"), at=AT).claims
    assert (claims["description"], claims["default_configuration"]) == ("BMS 1.4.2", "conf-1")
    kernel = next(row for row in claims["images"] if row["name"] == "kernel-1")
    assert kernel["sha256"] == hashlib.sha256(PARTS["kernel"]).hexdigest()
    assert (kernel["type"], kernel["os"], kernel["arch"]) == ("kernel", "linux", "arm64")
    assert (kernel["load_addr"], kernel["entry_point"], kernel["size"]) == (0x80080000, 0x80080010, 5000)
    (row,) = claims["configurations"]
    assert (row["images"], row["compatible"], row["signed"]) == (
        "fdt-1, kernel-1, ramdisk-1",
        "nordhaven,bms",
        True,
    )
    (signature,) = claims["signatures"]
    assert (signature["of"], signature["algorithm"], signature["key_name"]) == (
        "conf-1",
        "sha256,rsa3072",
        "rsa-3072",
    )


def test_an_image_that_is_not_signed(mkimage: Mkimage, keys: Keys) -> None:
    report = verify_file(mkimage.make(source(EVERY, configuration())), keys.trust("p256"), at=AT)
    assert (outcomes(report)["format"], outcomes(report)["signed"]) == ("pass", "fail")
    assert "mkimage -F" in reason(report, "signed")


def test_another_key_and_another_enrolment_prove_nothing(mkimage: Mkimage, keys: Keys) -> None:
    path = mkimage.signed()
    for trust in (keys.trust("p256"), pss(keys), keys.trust("rsa-3072", options=KeyOptions(hash="sha512"))):
        report = verify_file(path, trust, at=AT)
        assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("fail", "not_run")


def test_a_signed_image_alone_can_be_mixed_with_others(mkimage: Mkimage, keys: Keys) -> None:
    signed = SIGN % ("sha256,rsa3072", "rsa-3072", "", "")
    images = "".join(part(name, inside=signed) for name in PARTS)
    path = mkimage.make(source(images, configuration()))
    report = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert outcomes(report) == COVERED | {"coverage": "fail"}
    assert "can be mixed" in reason(report, "coverage")
    whole = run("openssl", "dgst", "-sha256", "-sign", keys.private("rsa-3072"), path)
    assert outcomes(verify_file(path, keys.trust("rsa-3072"), at=AT, signature=whole)) == COVERED


def test_a_signature_that_leaves_an_image_out(mkimage: Mkimage, keys: Keys) -> None:
    """By default mkimage of 2023 signs kernel and fdt only."""
    inside = SIGN % ("sha256,rsa3072", "rsa-3072", "", "")
    report = verify_file(mkimage.make(source(EVERY, configuration(inside))), keys.trust("rsa-3072"), at=AT)
    assert outcomes(report)["signature"] == "fail"
    assert 'does not cover "/images/ramdisk-1"' in reason(report, "signature")


def test_a_second_configuration_without_a_signature(mkimage: Mkimage, keys: Keys) -> None:
    inside = SIGN % ("sha256,rsa3072", "rsa-3072", "", ALL)
    text = source(EVERY, configuration(inside) + configuration(name="conf-2"))
    report = verify_file(mkimage.make(text), keys.trust("rsa-3072"), at=AT)
    assert outcomes(report) == COVERED | {"coverage": "fail"}
    assert '"conf-2" is not signed' in reason(report, "coverage")


@pytest.mark.parametrize("weak", ["crc32", "sha1", "md5"])
def test_an_image_bound_by_a_weak_hash_only(mkimage: Mkimage, keys: Keys, weak: str) -> None:
    inside = SIGN % ("sha256,rsa3072", "rsa-3072", "", ALL)
    images = part("kernel", hashes=weak) + part("ramdisk") + part("fdt", hashes=f"{weak} sha512")
    report = verify_file(mkimage.make(source(images, configuration(inside))), keys.trust("rsa-3072"), at=AT)
    assert outcomes(report) == COVERED | {"coverage": "fail"}
    assert '"kernel-1" has no hash that binds' in reason(report, "coverage")
    assert "fdt-1" not in reason(report, "coverage")


def test_a_signature_over_sha1(mkimage: Mkimage, keys: Keys) -> None:
    report = verify_file(mkimage.signed("sha1,rsa3072"), keys.trust("rsa-3072"), at=AT)
    assert outcomes(report)["signature"] == "unreadable"
    assert "only signatures over sha256" in reason(report, "signature")


def test_a_signature_that_mkimage_had_no_key_for(mkimage: Mkimage, keys: Keys) -> None:
    path = mkimage.folder / "image.itb"
    (mkimage.folder / "image.its").write_text(
        source(EVERY, configuration(SIGN % ("sha256,rsa3072", "nobody", "", ALL)))
    )
    run("sh", "-c", 'cd "$0" && exec "$@"', mkimage.folder, "mkimage", "-f", "image.its", "image.itb")
    report = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert report.outcome is not Outcome.PASS
    assert outcomes(report)["signature"] in {"fail", "unreadable"}


def swap(old: bytes, new: bytes, count: int = -1) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old in content
        assert len(old) == len(new)
        return content.replace(old, new, count)

    return change


def word(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + struct.pack(">I", value) + content[at + 4 :]


def number(content: bytes, at: int) -> int:
    return int(struct.unpack(">I", content[at : at + 4])[0])


def token(content: bytes, name: bytes) -> int:
    """Where the node of this name begins."""
    return content.index(struct.pack(">I", 1) + name + b"\0")


def put(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "CVE-2021-27138 a unit address": (swap(b"ramdisk-1\0", b"ramdisk@1\0"), "has an @ in its name"),
    "CVE-2021-27097 a root with a name": (
        lambda c: word(c, number(c, 8) + 4, 0x78000000),
        "the root has a name",
    ),
    "a tree that is cut": (lambda c: c[:-200], "the tree is cut"),
    "a tree of another version": (lambda c: word(c, 20, 16), "version 16"),
    "names outside of the tree": (lambda c: word(c, 12, 0x7FFFFFFF), "one behind the other"),
    "a structure over its end": (lambda c: word(c, 36, number(c, 36) + 0x1000), "one behind the other"),
    "an end before the end": (lambda c: word(c, 36, number(c, 36) - 4), "offset|without an end"),
    "memory reservations": (lambda c: word(c, number(c, 16) + 12, 64), "memory reservations"),
    "an unknown token": (lambda c: word(c, number(c, 8), 7), "no part of a tree"),
    "a value over the end": (lambda c: word(c, number(c, 8) + 12, 0x7FFFFFF0), "past the end of the tree"),
    "a name beyond the names": (lambda c: word(c, number(c, 8) + 16, 0x7FFFFFF0), "not in the strings"),
    "content behind the tree": (lambda c: c + b"hidden", "belongs to no image"),
    "an image that is not there": (
        lambda c: put(c, c.index(b"kernel-1\0", token(c, b"conf-1")) + 7, b"9"),
        "'kernel-9'|\"kernel-9\", which is none",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_fit_image_is_unreadable_for(mkimage: Mkimage, keys: Keys, name: str) -> None:
    change, words = BAD[name]
    path = mkimage.signed()
    path.write_bytes(change(path.read_bytes()))
    report = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert (report.format, report.outcome) == ("fit", Outcome.UNREADABLE), report.checks
    assert re.search(words, reason(report, "format")), reason(report, "format")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [(b"hash-2", b"hash-1", "a second node"), (b"entry\0", b"load\0\0", 'a second property "load"')],
)
def test_two_of_one_name_are_refused(
    mkimage: Mkimage, keys: Keys, old: bytes, new: bytes, words: str
) -> None:
    path = mkimage.make(source(part("kernel", hashes="sha256 sha512"), ""))
    path.write_bytes(path.read_bytes().replace(old, new))
    assert words in reason(verify_file(path, keys.trust("p256"), at=AT), "format")


def test_a_node_with_thousands_of_properties_is_refused(mkimage: Mkimage, keys: Keys) -> None:
    many = "".join(f"p{n} = <{n}>;" for n in range(5_000))
    path = mkimage.make(source(EVERY, configuration()).replace("/ {", "/ {" + many, 1))
    report = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert "more than 4096 properties" in reason(report, "format")
    assert report.outcome is Outcome.UNREADABLE


EXTERNAL: dict[str, tuple[str, int, str]] = {
    "content outside of the file": ("data-size", 0x7FFFFFFF, "its content is outside"),
    "content inside the tree": ("data-position", 0x40, "its content is outside"),
    "content of two images": ("data-offset", 0, "content of two images"),
}


@pytest.mark.parametrize("name", EXTERNAL)
def test_content_behind_the_tree_that_is(mkimage: Mkimage, keys: Keys, name: str) -> None:
    what, value, words = EXTERNAL[name]
    form = ("-E", "-p", "0x3000") if what == "data-position" else ("-E",)
    path = mkimage.signed("sha256,rsa3072", *form)
    content = path.read_bytes()
    strings = content.index(what.encode() + b"\0", number(content, 12)) - number(content, 12)
    last = content.rindex(struct.pack(">III", 3, 4, strings), 0, number(content, 12))
    path.write_bytes(word(content, last + 12, value))
    report = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert (report.format, report.outcome) == ("fit", Outcome.UNREADABLE), report.checks
    assert words in reason(report, "format")


def test_content_given_in_two_ways_is_refused(mkimage: Mkimage, keys: Keys) -> None:
    """U-Boot and a tool could each read another one."""
    text = source(EVERY, configuration()).replace('type = "ramdisk"', "data-offset = <0>; data-size = <4>")
    report = verify_file(mkimage.make(text), keys.trust("rsa-3072"), at=AT)
    assert "given twice" in reason(report, "format")


@pytest.mark.parametrize("form", [(), ("-E",)])
def test_every_changed_byte_is_noticed(mkimage: Mkimage, keys: Keys, form: tuple[str, ...]) -> None:
    """But for what nothing reads or signs: mkimage's words about the signature, which one is the default."""
    path = mkimage.signed("sha256,rsa3072", *form)
    good, trust = path.read_bytes(), keys.trust("rsa-3072")
    open_ = [
        (good.index(words), good.index(words) + len(words))
        for words in (b"2023.01" if b"2023.01" in good else b"mkimage", b"mkimage", b"rsa-3072\0")
    ]
    passed = []
    for at in range(0, len(good), 23):
        changed = bytearray(good)
        changed[at] ^= 0x04
        path.write_bytes(changed)
        if verify_file(path, trust, at=AT).outcome is Outcome.PASS:
            passed.append(at)
    assert all(unsigned(good, at, open_) for at in passed), passed


def unsigned(good: bytes, at: int, known: list[tuple[int, int]]) -> bool:
    """Whether the byte is in the signature's own node, in the configurations' or header's unread parts."""
    sections = number(good, 8), number(good, 12)
    node = token(good, b"signature-1")
    folder = token(good, b"configurations")
    default = (folder, token(good, b"conf-1"))
    return (
        at < sections[0]
        or node <= at < sections[1]
        or default[0] <= at < default[1]
        or at >= sections[1]
        or any(start <= at < end for start, end in known)
    )


def test_a_device_tree_of_a_machine_is_no_fit_image(tmp_path: Path, keys: Keys) -> None:
    text = tmp_path / "board.dts"
    text.write_text('/dts-v1/; / { model = "BMS"; memory@80000000 { reg = <0x80000000 0x1000>; }; };')
    run("dtc", "-I", "dts", "-O", "dtb", "-o", tmp_path / "board.dtb", text)
    assert verify_file(tmp_path / "board.dtb", keys.trust("p256"), at=AT).format == "opaque"


def test_the_report_of_a_damaged_image_says_which(mkimage: Mkimage, keys: Keys) -> None:
    path = mkimage.signed()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"root file system", b"root file_system", 1))
    report: FileReport = verify_file(path, keys.trust("rsa-3072"), at=AT)
    assert outcomes(report)["format"] == "fail"
    assert '"ramdisk-1" does not have the sha256' in reason(report, "format")
    assert outcomes(report)["signature"] == "pass"
    assert report.outcome is Outcome.FAIL
