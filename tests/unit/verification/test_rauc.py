"""RAUC bundles by rauc: what passes, and each thing that is refused."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from portal.verification import FileReport, Outcome, Root, Trust, TrustKey, verify_file
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.conftest import AT, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

IMAGE = hashlib.shake_128(b"root").digest(300_000)
VERIFIED = GOOD | {"verity": "pass"}
# What openssl's default purpose wants, and with it rauc 1.8.
MAIL = [ExtendedKeyUsageOID.EMAIL_PROTECTION]


@pytest.fixture(scope="session")
def authority() -> Identity:
    return root(key=rsa.generate_private_key(65537, 3072))


@pytest.fixture(scope="session")
def signer(authority: Identity) -> Identity:
    return authority.issue("Updates", usages=MAIL)


@pytest.fixture
def trust(authority: Identity) -> Trust:
    return Trust.build([], roots=[Root("nordhaven", authority.pem, usages=("emailProtection",))])


class Bundles:
    def __init__(self, folder: Path, signer: Identity) -> None:
        self.folder = folder
        self.signer = signer
        self.keyring = folder / "keyring.pem"

    def made(self, form: str = "verity", signer: Identity | None = None, image: bytes = IMAGE) -> Path:
        """By rauc bundle."""
        content = self.folder / "content"
        content.mkdir(exist_ok=True)
        (content / "rootfs.img").write_bytes(image)
        (content / "manifest.raucm").write_text(
            "[update]\ncompatible=Nordhaven BMS\nversion=2.3.1\nbuild=20261121\n\n"
            f"[bundle]\nformat={form}\n\n[image.rootfs]\nfilename=rootfs.img\n"
        )
        certificate, key = (signer or self.signer).write(self.folder, "signer")
        out = self.folder / "out.raucb"
        out.unlink(missing_ok=True)
        run("rauc", "--cert", certificate, "--key", key, "bundle", content, out)
        return out

    def written(self, content: bytes) -> Path:
        out = self.folder / "out.raucb"
        out.write_bytes(content)
        return out

    def signed(self, manifest: str, payload: bytes) -> Path:
        """A payload behind which stands a manifest signed by openssl, as rauc puts them together."""
        text = self.folder / "manifest"
        text.write_text(manifest)
        certificate, key = self.signer.write(self.folder, "signer")
        options = ("-binary", "-nodetach", "-outform", "DER", "-signer", certificate, "-inkey", key)
        cms = run("openssl", "cms", "-sign", "-in", text, *options)
        return self.written(payload + cms + len(cms).to_bytes(8, "big"))


@pytest.fixture
def bundles(tmp_path: Path, signer: Identity) -> Bundles:
    return Bundles(tmp_path, signer)


def check(path: Path, trust: Trust) -> FileReport:
    report = verify_file(path, trust, at=AT)
    assert report.format == "rauc"
    return report


def test_a_verity_bundle(bundles: Bundles, trust: Trust, signer: Identity) -> None:
    path = bundles.made()
    report = check(path, trust)
    assert outcomes(report) == VERIFIED
    assert report.key_id == "nordhaven"
    claims = report.claims
    assert (claims["version"], claims["compatible"]) == ("2.3.1", "Nordhaven BMS")
    assert (claims["bundle_format"], claims["compression"]) == ("verity", "gzip")
    assert claims["verity_root"] == claims["computed_verity_root"]
    image = {
        "slot": "rootfs",
        "name": "rootfs.img",
        "size": len(IMAGE),
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    }
    assert claims["members"] == [image]
    assert outcomes(check(path, Trust.build([TrustKey("pinned", signer.pem)]))) == VERIFIED
    assert (
        outcomes(check(path, Trust.build([TrustKey("pinned", signer.pem)], require_verity=True))) == VERIFIED
    )


@pytest.mark.parametrize("size", [9_000, 500_000, 530_000, 70_000_000])
def test_trees_of_one_to_three_levels(bundles: Bundles, trust: Trust, size: int) -> None:
    report = check(bundles.made(image=hashlib.shake_128(b"x").digest(size)), trust)
    assert outcomes(report) == VERIFIED


def test_a_plain_bundle_is_told_or_refused(bundles: Bundles, trust: Trust, signer: Identity) -> None:
    path = bundles.made("plain")
    report = check(path, trust)
    assert outcomes(report) == GOOD | {"verity": "warn"}
    assert report.outcome is Outcome.WARN
    strict = Trust.build([TrustKey("pinned", signer.pem)], require_verity=True)
    assert outcomes(check(path, strict)) == GOOD | {"verity": "fail"}
    content = bytearray(path.read_bytes())
    content[200_000] ^= 1
    report = check(bundles.written(bytes(content)), trust)
    assert outcomes(report)["signature"] == "fail"


def test_an_encrypted_bundle_is_unreadable(bundles: Bundles, trust: Trust, authority: Identity) -> None:
    path = bundles.made("crypt")
    report = check(path, trust)
    assert outcomes(report) == VERIFIED
    assert report.claims["encrypted"] is True
    bundles.keyring.write_text(authority.pem)
    recipient, _ = authority.issue("Device", key=rsa.generate_private_key(65537, 2048), usages=MAIL).write(
        bundles.folder, "device"
    )
    out = bundles.folder / "encrypted.raucb"
    run("rauc", "encrypt", f"--to={recipient}", f"--keyring={bundles.keyring}", path, out)
    report = check(out, trust)
    unreadable = dict.fromkeys(("format", "verity", "signature"), "unreadable")
    assert outcomes(report) == GOOD | unreadable | {"key": "not_run", "algorithm": "not_run"}
    assert report.outcome is Outcome.UNREADABLE


def flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def test_the_same_verdict_as_rauc(bundles: Bundles, trust: Trust, authority: Identity) -> None:
    bundles.keyring.write_text(authority.pem)
    stranger = root("Other", key=rsa.generate_private_key(65537, 3072)).issue("Updates", usages=MAIL)
    good = bundles.made().read_bytes()
    length = int.from_bytes(good[-8:], "big")
    plain = bundles.made("plain").read_bytes()
    samples = {
        "verity": good,
        "plain": plain,
        "plain, payload changed": flipped(plain, 200_000),
        "another authority": bundles.made(signer=stranger).read_bytes(),
        "manifest changed": good.replace(b"version=2.3.1", b"version=9.3.1"),
        "signature changed": flipped(good, -20),
        "longer than the file": good[:-8] + (len(good) * 2).to_bytes(8, "big"),
        "no length": good[:-8] + bytes(7) + b"\x01",
        "CMS of a plain one behind verity": good[: -8 - length]
        + plain[-8 - int.from_bytes(plain[-8:], "big") :],
        "cut": good[:-100],
    }
    ours = {}
    theirs = {}
    for name, content in samples.items():
        path = bundles.written(content)
        ours[name] = check(path, trust).outcome in (Outcome.PASS, Outcome.WARN)
        command = ["rauc", "info", f"--keyring={bundles.keyring}", str(path)]
        theirs[name] = subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert ours == {name: name in ("verity", "plain") for name in samples}
    assert theirs == ours


def test_a_payload_with_another_verity_root_is_refused(bundles: Bundles, trust: Trust) -> None:
    # rauc info looks at the signature only; the kernel finds this when the bundle is mounted.
    report = check(bundles.written(flipped(bundles.made().read_bytes(), 200_000)), trust)
    assert outcomes(report) == GOOD | {"verity": "fail"}
    assert "The payload is not what the manifest says" in reason(report, "verity")
    assert report.outcome is Outcome.FAIL


def test_another_stored_hash_tree_is_refused(bundles: Bundles, trust: Trust) -> None:
    content = bundles.made().read_bytes()
    tree = len(content) - 8 - int.from_bytes(content[-8:], "big") - 4096
    report = check(bundles.written(flipped(content, tree + 100)), trust)
    assert outcomes(report) == GOOD | {"verity": "fail"}
    assert "the hash tree in the bundle is another one" in reason(report, "verity")


def test_a_payload_without_its_signature_is_no_bundle(bundles: Bundles, trust: Trust) -> None:
    content = bundles.made("plain").read_bytes()
    payload = content[: -8 - int.from_bytes(content[-8:], "big")]
    report = verify_file(bundles.written(payload), trust, at=AT)
    assert (report.format, report.outcome) == ("opaque", Outcome.FAIL)


PAYLOAD = b"hsqs" + bytes(4096 * 3 - 4)
MANIFESTS = {
    "plain in a signature": ("[bundle]\nformat=plain\n", 'says format "plain", expected verity or crypt'),
    "no format": ("[update]\nversion=1\n", "expected verity or crypt"),
    "tree longer than the file": (
        "[bundle]\nformat=verity\nverity-size=99999744\n",
        "verity-size is 99999744",
    ),
    "tree of another size": ("[bundle]\nformat=verity\nverity-size=8192\n", "verity-size is 8192"),
    "negative tree": ("[bundle]\nformat=verity\nverity-size=-4096\n", "is no number"),
    "no root": ("[bundle]\nformat=verity\nverity-size=4096\n", "no verity-hash"),
    "short root": (
        "[bundle]\nformat=verity\nverity-size=4096\nverity-hash=00\n",
        "not 64 hexadecimal digits",
    ),
    "key twice": ("[bundle]\nformat=verity\nformat=verity\n", "twice"),
    "no groups": ("format=verity\n", "before the first group"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_refused_manifest(bundles: Bundles, trust: Trust, name: str) -> None:
    manifest, words = MANIFESTS[name]
    report = check(bundles.signed(manifest, PAYLOAD), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert report.outcome is not Outcome.PASS
    assert words in reason(report, "format")


def test_a_signature_length_beyond_the_file_is_refused(bundles: Bundles, trust: Trust) -> None:
    content = bundles.made().read_bytes()
    for length in (len(content), len(content) - 8, 1 << 63, 5 << 20):
        report = check(bundles.written(content[:-8] + length.to_bytes(8, "big")), trust)
        assert outcomes(report)["format"] == "unreadable"
        assert f"a signature of {length} bytes" in reason(report, "format")


def test_a_cut_squashfs_is_refused(bundles: Bundles, trust: Trust) -> None:
    content = bundles.made("plain").read_bytes()
    cms = content[-8 - int.from_bytes(content[-8:], "big") :]
    report = check(bundles.written(content[:100_000] + cms), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert "the squashfs announces" in reason(report, "format")
