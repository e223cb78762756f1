"""SWUpdate packages by swugenerator, cpio and openssl: what passes, and each thing that is refused."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from portal.verification import FileReport, KeyOptions, Outcome, Root, Trust, TrustKey, verify_file
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.conftest import AT, Keys, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

TEMPLATE = """
software =
{
	version = "2.3.1";
	description = "Nordhaven BMS";
	hardware-compatibility: [ "1.0", "1.2" ];
	stable : {
		copy1 : {
			images: ( { filename = "rootfs.ext4"; device = "/dev/mmcblk0p2"; compressed = "zlib"; } );
		};
		copy2 : {
			images: ( { filename = "rootfs.ext4"; device = "/dev/mmcblk0p3"; compressed = "zlib"; } );
		};
	};
	files: ( { filename = "app.bin"; path = "/opt/app.bin"; version = "7"; } );
	scripts: ( { filename = "post.sh"; type = "postinstall"; } );
}
"""
APP = bytes(n * 7 % 256 for n in range(3001))
Files = Mapping[str, bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(name: str, content: bytes) -> str:
    return f'{{ filename = "{name}"; sha256 = "{sha256(content)}"; path = "/opt/{name}"; }}'


def described(*entries: str, version: str = "1.0") -> bytes:
    return f'software = {{ version = "{version}"; files: ( {", ".join(entries)} ); }};'.encode()


def newc(
    *members: tuple[str | bytes, bytes],
    magic: str = "070702",
    mode: int = 0o100644,
    sums: Mapping[str, int] | None = None,
    links: int = 1,
    tail: bytes = b"",
) -> bytes:
    """A cpio archive as the tools make it, and as they never would."""
    out = b""
    for inode, (name, content) in enumerate((*members, ("TRAILER!!!", b"")), 1):
        raw = name if isinstance(name, bytes) else name.encode()
        total = (sums or {}).get(str(name), sum(content) if magic == "070702" else 0)
        trailer = name == "TRAILER!!!"
        fields = [
            *(0 if trailer or links > 1 else inode, 0 if trailer else mode, 0, 0, 1 if trailer else links, 0),
            *(len(content), 0, 0, 0, 0, len(raw) + 1, total),
        ]
        out += magic.encode() + b"".join(b"%08X" % field for field in fields) + raw + b"\0"
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return out + bytes(-len(out) % 512) + tail


class Packages:
    """Makes packages in a folder of its own; the key signs sw-description with openssl."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder = folder
        self.keys = keys

    def generated(self, *options: str, template: str = TEMPLATE, key: str | None = "rsa-3072") -> Path:
        """By swugenerator."""
        for name, content in (("rootfs.ext4", bytes(70_000)), ("app.bin", APP), ("post.sh", b"#!/bin/sh\n")):
            (self.folder / name).write_bytes(content)
        (self.folder / "sw.in").write_text(template)
        signing = [] if key is None else ["-k", f"RSA,{self.keys.private(key)}"]
        program = Path(sys.executable).with_name("swugenerator")
        out = self.folder / "out.swu"
        description = str(self.folder / "sw.in")
        run(program, "-s", description, "-a", str(self.folder), *signing, *options, "-o", str(out), "create")
        return out

    def sign(self, description: bytes, key: str = "rsa-3072", *options: str) -> bytes:
        path = self.folder / "description"
        path.write_bytes(description)
        private = self.keys.private(key)
        return run("openssl", "dgst", "-sha256", "-sign", private, *options, path)

    def archived(self, description: bytes, files: Files, form: str = "crc") -> Path:
        """By cpio."""
        members = {"sw-description": description, "sw-description.sig": self.sign(description), **files}
        for name, content in members.items():
            (self.folder / name).write_bytes(content)
        out = self.folder / "out.swu"
        listing = "\n".join(members).encode()
        made = subprocess.run(
            ["cpio", "-o", "--quiet", "-H", form],
            input=listing,
            cwd=self.folder,
            check=True,
            capture_output=True,
        )
        out.write_bytes(made.stdout)
        return out

    def crafted(self, description: bytes, *members: tuple[str | bytes, bytes], **options: Any) -> Path:
        out = self.folder / "out.swu"
        head = [("sw-description", description), ("sw-description.sig", self.sign(description))]
        out.write_bytes(newc(*head, *members, **options))
        return out

    def written(self, content: bytes) -> Path:
        out = self.folder / "out.swu"
        out.write_bytes(content)
        return out


@pytest.fixture
def packages(tmp_path: Path, keys: Keys) -> Packages:
    return Packages(tmp_path, keys)


@pytest.fixture
def trust(keys: Keys) -> Trust:
    return keys.trust("other", "rsa-3072")


def check(path: Path, trust: Trust) -> FileReport:
    report = verify_file(path, trust, at=AT)
    assert report.format == "swupdate"
    return report


def test_a_package_by_swugenerator(packages: Packages, trust: Trust) -> None:
    report = check(packages.generated(), trust)
    assert outcomes(report) == GOOD
    assert report.key_id == "rsa-3072"
    claims = report.claims
    assert claims["version"] == "2.3.1"
    assert claims["compatible"] == ["1.0", "1.2"]
    names = [member["name"] for member in claims["members"]]
    assert names == ["sw-description", "sw-description.sig", "rootfs.ext4.zlib", "app.bin", "post.sh"]
    assert claims["members"][3] == {"name": "app.bin", "size": 3001, "sha256": sha256(APP)}
    sections = {entry["section"]: entry for entry in claims["entries"]}
    assert sections.keys() == {"stable.copy1.images", "stable.copy2.images", "files", "scripts"}
    assert sections["stable.copy2.images"]["compressed"] == "zlib"
    assert sections["files"]["target"] == "/opt/app.bin"


@pytest.mark.parametrize("form", ["crc", "newc"])
def test_a_package_by_cpio(packages: Packages, trust: Trust, form: str) -> None:
    path = packages.archived(described(entry("app.bin", APP)), {"app.bin": APP}, form)
    assert outcomes(check(path, trust)) == GOOD


def test_the_description_in_json(packages: Packages, trust: Trust) -> None:
    software = {"version": 3, "images": [{"filename": "app.bin", "sha256": sha256(APP)}]}
    path = packages.archived(json.dumps({"software": software}).encode(), {"app.bin": APP})
    report = check(path, trust)
    assert outcomes(report) == GOOD
    assert report.claims["version"] == "3"


@pytest.mark.parametrize(("salt", "enrolled"), [("digest", "digest"), ("max", "max")])
def test_a_pss_signature_with_the_salt_of_the_enrolment(
    packages: Packages, keys: Keys, salt: str, enrolled: str
) -> None:
    description = described(entry("app.bin", APP))
    options = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", f"rsa_pss_saltlen:{salt}")
    signature = packages.sign(description, "rsa-3072", *options)
    members = [("sw-description", description), ("sw-description.sig", signature), ("app.bin", APP)]
    path = packages.written(newc(*members))
    for option in ("digest", "max"):
        pss = KeyOptions(rsa_padding="pss", pss_salt=option)
        trust = Trust.build([TrustKey("rsa-3072", keys.public("rsa-3072"), options=pss)])
        expected = Outcome.PASS if option == enrolled else Outcome.FAIL
        assert check(path, trust).outcome is expected
    assert check(path, keys.trust("rsa-3072")).outcome is Outcome.FAIL


@pytest.fixture
def signer(authority_root: Identity, keys: Keys) -> Identity:
    private = serialization.load_pem_private_key(keys.private("rsa-3072").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    # swupdate wants the usage that openssl's purpose "smimesign" wants.
    return authority_root.issue("Updates", key=private, usages=[ExtendedKeyUsageOID.EMAIL_PROTECTION])


@pytest.fixture(scope="session")
def authority_root() -> Identity:
    return root(key=rsa.generate_private_key(65537, 3072))


def with_cms(packages: Packages, signer: Identity, *options: str) -> Path:
    certificate, key = signer.write(packages.folder, "signer")
    return packages.generated("-k", f"CMS,{key},{certificate}", *options, key=None)


def test_a_cms_signature_by_chain_and_by_pinned_key(
    packages: Packages, keys: Keys, authority_root: Identity, signer: Identity
) -> None:
    path = with_cms(packages, signer)
    usages = ("emailProtection",)
    trusted = Trust.build([], roots=[Root("nordhaven", authority_root.pem, usages=usages)])
    report = check(path, trusted)
    assert outcomes(report) == GOOD
    assert report.key_id == "nordhaven"
    assert outcomes(check(path, keys.trust("rsa-3072"))) == GOOD
    other = Trust.build([], roots=[Root("other", root("Other").pem, usages=usages)])
    assert check(path, other).outcome is Outcome.FAIL
    changed = packages.written(path.read_bytes().replace(b'"2.3.1"', b'"9.3.1"'))
    assert outcomes(check(changed, trusted))["signature"] == "fail"


def test_a_cms_signature_with_content_of_its_own_is_refused(packages: Packages, signer: Identity) -> None:
    certificate, key = signer.write(packages.folder, "signer")
    text = packages.folder / "text"
    text.write_bytes(GOOD_ONE)
    options = ("-binary", "-nodetach", "-outform", "DER", "-signer", certificate, "-inkey", key)
    signature = run("openssl", "cms", "-sign", "-in", text, *options)
    members = [("sw-description", GOOD_ONE), ("sw-description.sig", signature), ONE]
    report = check(packages.written(newc(*members)), Trust.build([TrustKey("a", signer.pem)]))
    assert outcomes(report)["signature"] == "unreadable"


def swupdate(path: Path, authority: Path) -> bool:
    """What swupdate itself says; Debian's takes CMS signatures only. On a busy machine its threads sometimes
    wait for each other for ever: then it is asked again."""
    command = ["swupdate", "-c", "-i", str(path), "-k", str(authority), "-e", "stable,copy1", "-H", "bms:1.0"]
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(path.parent)}
    for _ in range(5):
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, capture_output=True, check=False, timeout=30, env=environment)
            return done.returncode == 0
    pytest.fail("swupdate never answered")


@pytest.mark.skipif(shutil.which("swupdate") is None, reason="swupdate is not installed")
def test_the_same_verdict_as_swupdate(packages: Packages, authority_root: Identity, signer: Identity) -> None:
    authority = packages.folder / "authority.pem"
    authority.write_text(authority_root.pem)
    trust = Trust.build([], roots=[Root("nordhaven", authority_root.pem, usages=("emailProtection",))])
    good = with_cms(packages, signer).read_bytes()
    unsigned = packages.generated(key=None).read_bytes()
    stranger = root("Other", key=rsa.generate_private_key(65537, 3072))
    strange = stranger.issue("Updates", usages=[ExtendedKeyUsageOID.EMAIL_PROTECTION])
    application = good.index(APP)
    samples = {
        "good": good,
        "unsigned": unsigned,
        "another authority": with_cms(packages, strange).read_bytes(),
        "description changed": good.replace(b'"2.3.1"', b'"9.3.1"'),
        "signature changed": good[: good.index(b"rootfs.ext4.zlib\0") - 300]
        + bytes([good[good.index(b"rootfs.ext4.zlib\0") - 300] ^ 1])
        + good[good.index(b"rootfs.ext4.zlib\0") - 299 :],
        "member changed": good[:application] + b"!" + good[application + 1 :],
        "no digests": with_cms(packages, signer, "-y").read_bytes(),
    }
    ours = {}
    theirs = {}
    for name, content in samples.items():
        path = packages.written(content)
        ours[name] = check(path, trust).outcome is Outcome.PASS
        theirs[name] = swupdate(path, authority)
    assert ours == {name: name == "good" for name in samples}
    assert theirs == ours


def test_an_unsigned_package_is_refused(packages: Packages, trust: Trust) -> None:
    report = check(packages.generated(key=None), trust)
    not_run = dict.fromkeys(("signature", "key", "algorithm"), "not_run")
    assert outcomes(report) == GOOD | {"signed": "fail"} | not_run


def test_a_signature_by_another_key_is_refused(packages: Packages, keys: Keys) -> None:
    report = check(packages.generated(), keys.trust("other", "rsa-2048"))
    assert outcomes(report)["signature"] == "fail"
    assert report.outcome is Outcome.FAIL


def test_a_changed_description_is_refused(packages: Packages, trust: Trust) -> None:
    path = packages.generated()
    content = path.read_bytes().replace(b'"2.3.1"', b'"9.3.1"')
    report = check(packages.written(content), trust)
    assert outcomes(report)["signature"] == "fail"
    # Its sum in the archive is another one, too.
    assert "checksum of" in reason(report, "format")


def test_an_openpgp_signature_is_told_not_guessed(packages: Packages, trust: Trust) -> None:
    description = described(entry("app.bin", APP))
    for signature in (b"-----BEGIN PGP SIGNATURE-----\n", b"\x89\x00\x03abc", b"\x88\x03abc", b"\xc2\x03abc"):
        members = [("sw-description", description), ("sw-description.sig", signature), ("app.bin", APP)]
        report = check(packages.written(newc(*members)), trust)
        assert outcomes(report)["signature"] == "unreadable"
        assert "OpenPGP" in reason(report, "signature")


def test_a_changed_member_is_refused(packages: Packages, trust: Trust) -> None:
    report = check(packages.crafted(described(entry("app.bin", APP)), ("app.bin", APP[:-1] + b"!")), trust)
    assert outcomes(report) == GOOD | {"format": "fail"}
    assert "'app.bin' is not what sw-description says" in reason(report, "format").replace('"', "'")


def test_an_image_without_a_digest_is_refused(packages: Packages, trust: Trust) -> None:
    report = check(packages.generated("-y"), trust)
    assert outcomes(report) == GOOD | {"format": "fail"}
    assert '"app.bin" (files) has no sha256' in reason(report, "format")


def test_a_member_that_no_entry_names_is_refused(packages: Packages, trust: Trust) -> None:
    path = packages.crafted(described(entry("app.bin", APP)), ("app.bin", APP), ("extra.sh", b"rm -rf /"))
    report = check(path, trust)
    assert outcomes(report) == GOOD | {"format": "fail"}
    assert 'no entry of sw-description names the member "extra.sh"' in reason(report, "format")


def test_an_entry_without_its_member_is_refused(packages: Packages, trust: Trust) -> None:
    path = packages.crafted(described(entry("app.bin", APP), entry("gone.bin", b"x")), ("app.bin", APP))
    report = check(path, trust)
    assert outcomes(report) == GOOD | {"format": "fail"}
    assert '"gone.bin", which is not in the package' in reason(report, "format")


def test_a_wrong_checksum_in_the_archive_is_refused(packages: Packages, trust: Trust) -> None:
    path = packages.crafted(described(entry("app.bin", APP)), ("app.bin", APP), sums={"app.bin": 5})
    report = check(path, trust)
    assert outcomes(report) == GOOD | {"format": "fail"}
    assert 'checksum of "app.bin" in the archive is 0x00000005' in reason(report, "format")


GOOD_ONE = described(entry("app.bin", APP))
ONE = ("app.bin", APP)
Make = Callable[[Packages], Path]
REFUSED: dict[str, tuple[Make, str]] = {
    "description not first": (
        lambda p: p.written(newc(ONE, ("sw-description", GOOD_ONE))),
        'member "sw-description" first, found "app.bin"',
    ),
    "signature not second": (
        lambda p: p.written(newc(("sw-description", GOOD_ONE), ONE, ("sw-description.sig", b"x"))),
        "must be the second one",
    ),
    "duplicate member": (lambda p: p.crafted(GOOD_ONE, ONE, ONE), "appears twice"),
    "duplicate by capitals": (lambda p: p.crafted(GOOD_ONE, ONE, ("APP.bin", b"x")), "appears twice"),
    "duplicate by form": (
        lambda p: p.crafted(GOOD_ONE, ("\u00e4.bin", b"x"), ("a\u0308.bin", b"x")),
        "appears twice",
    ),
    "path upwards": (lambda p: p.crafted(GOOD_ONE, ("../app.bin", APP)), "leads out of its folder"),
    "absolute path": (lambda p: p.crafted(GOOD_ONE, ("/etc/passwd", APP)), "absolute path"),
    "control in name": (lambda p: p.crafted(GOOD_ONE, ("a\nb", APP)), "control"),
    "direction override in name": (lambda p: p.crafted(GOOD_ONE, ("a\u202eb", APP)), "direction"),
    "NUL in name": (lambda p: p.crafted(GOOD_ONE, (b"app.bin\0.txt", APP)), "control"),
    "symbolic link": (lambda p: p.crafted(GOOD_ONE, ONE, mode=0o120777), "not a regular file"),
    "device": (lambda p: p.crafted(GOOD_ONE, ONE, mode=0o060644), "not a regular file"),
    "FIFO": (lambda p: p.crafted(GOOD_ONE, ONE, mode=0o010644), "not a regular file"),
    "set-user-id": (lambda p: p.crafted(GOOD_ONE, ONE, mode=0o104755), "set-user-id"),
    "hard link": (lambda p: p.crafted(GOOD_ONE, ONE, links=2), "hard link"),
    "data after the trailer": (lambda p: p.crafted(GOOD_ONE, ONE, tail=b"x"), "data follows the end"),
    "second archive after the trailer": (
        lambda p: p.crafted(GOOD_ONE, ONE, tail=newc(ONE)),
        "data follows the end",
    ),
    "cut in a header": (
        lambda p: p.written(newc(("sw-description", GOOD_ONE))[:100]),
        "header at offset 0 is cut",
    ),
    "no trailer": (
        lambda p: p.written(newc(ONE)[: newc(ONE).rindex(b"070702")]),
        "without its trailer",
    ),
    "member past the end": (lambda p: p.written(p.crafted(GOOD_ONE, ONE).read_bytes()[:-2048]), "cut"),
    "header not hexadecimal": (
        lambda p: p.written(newc(("sw-description", GOOD_ONE)).replace(b"000081A4", b"0x0081A4", 1)),
        "eight hexadecimal digits",
    ),
    "another format inside": (
        lambda p: p.written(
            newc(("sw-description", GOOD_ONE), ONE)
            .replace(b"070702", b"070701")
            .replace(b"070701", b"070702", 1)
        ),
        "expected a cpio header",
    ),
    "encrypted description": (lambda p: p.crafted(bytes(range(128, 256))), "not text"),
    "nothing to install": (lambda p: p.crafted(b'software = { version = "1"; }'), "names no file"),
    "description without software": (lambda p: p.crafted(b"a = 1;"), 'no group "software"'),
    "digest of another length": (
        lambda p: p.crafted(described('{ filename = "app.bin"; sha256 = "00"; }'), ONE),
        "not 64 hexadecimal digits",
    ),
    "setting twice": (lambda p: p.crafted(b'software = { version = "1"; version = "2"; };'), "twice"),
    "JSON key twice": (lambda p: p.crafted(b'{"software": {"a": 1, "a": 2}}'), "twice"),
    "include": (lambda p: p.crafted(b'@include "other.cfg"'), "@include"),
    "100,000 brackets": (lambda p: p.crafted(b"software = " + b"(" * 100_000), "inside each other"),
    "too many members": (
        lambda p: p.crafted(GOOD_ONE, *((f"m{n}", b"") for n in range(5000))),
        "more than 4096 members",
    ),
    "huge description": (lambda p: p.crafted(b"#" * (1 << 20) + GOOD_ONE, ONE), "at most 1048576"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(packages: Packages, trust: Trust, name: str) -> None:
    make, words = REFUSED[name]
    report = check(make(packages), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert report.outcome is not Outcome.PASS
    assert words in reason(report, "format")


def test_any_other_cpio_archive_is_opaque(packages: Packages, trust: Trust) -> None:
    assert verify_file(packages.written(newc(ONE, magic="070701")), trust, at=AT).format == "opaque"


def test_no_flipped_bit_passes(packages: Packages, trust: Trust) -> None:
    path = packages.crafted(GOOD_ONE, ONE)
    content = path.read_bytes()
    assert check(path, trust).outcome is Outcome.PASS
    for at in range(0, len(content), 61):
        changed = bytearray(content)
        changed[at] ^= 1
        report = verify_file(packages.written(bytes(changed)), trust, at=AT)
        if report.outcome is Outcome.PASS:
            # Inode, owner, time and device numbers in a member's header mean nothing.
            header = content.rfind(b"070702", 0, at + 1)
            assert 0 <= header <= at < header + 110
