"""Public keys in the encodings of tools: one key is one key, what is unusable is refused in words."""

import base64
import json
import struct
from pathlib import Path

import pytest

from portal.errors import TrustError
from portal.verification import Trust, inspect_key
from tests.unit.verification.conftest import Keys
from tests.unit.verification.conftest import run as openssl
from tests.unit.verification.tools import Minisign, Signify, Ssh, run

POINT = b"\x58" + b"\x66" * 31  # the base point: a valid key


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def line(*parts: bytes) -> str:
    blob = b"".join(string(part) for part in parts)
    return f"{parts[0].decode()} {base64.b64encode(blob).decode()}\n"


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        (("ed25519",), "Ed25519"),
        (("rsa", "-b", "3072"), "RSA-3072"),
        (("ecdsa", "-b", "256"), "ECDSA P-256"),
        (("ecdsa", "-b", "384"), "ECDSA P-384"),
    ],
)
def test_an_openssh_key_is_the_same_key_as_in_pem(
    tmp_path: Path, kind: tuple[str, ...], algorithm: str
) -> None:
    ssh = Ssh(tmp_path, "key", *kind)
    info = inspect_key(ssh.public.read_text())
    assert (info.kind, info.algorithm) == ("openssh", algorithm)
    assert info.fingerprint == inspect_key(ssh.pem()).fingerprint
    listed = run("ssh-keygen", "-l", "-f", ssh.public).decode().split()[1]
    assert info.known_as == f"OpenSSH key {listed}"
    der = openssl("openssl", "pkey", "-pubin", "-in", _write(tmp_path, ssh.pem()), "-outform", "DER")
    assert info.fingerprint == "sha256:" + run("openssl", "sha256", "-r", data=der).decode().split()[0]


def _write(folder: Path, text: str) -> Path:
    path = folder / "given.pem"
    path.write_text(text)
    return path


def test_a_minisign_key_is_the_same_key_as_in_pem(tmp_path: Path) -> None:
    text = Minisign(tmp_path, "release").public.read_text()
    bare = text.splitlines()[1]
    info = inspect_key(text)
    assert inspect_key(bare) == info
    assert (info.kind, info.algorithm) == ("minisign", "Ed25519")
    assert info.known_as.removeprefix("minisign or signify key ").lstrip("0") in text.splitlines()[0]
    raw = base64.b64decode(bare)[10:]
    der = bytes.fromhex("302a300506032b6570032100") + raw
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"
    assert inspect_key(pem).fingerprint == info.fingerprint


def test_a_signify_key_is_read(tmp_path: Path) -> None:
    info = inspect_key(Signify(tmp_path, "release").public.read_text())
    assert (info.kind, info.algorithm, info.strong) == ("minisign", "Ed25519", True)


def test_a_trust_file_takes_them_all(tmp_path: Path) -> None:
    texts = (
        Minisign(tmp_path, "a").public.read_text(),
        Signify(tmp_path, "b").public.read_text(),
        Ssh(tmp_path, "c", "ed25519").public.read_text(),
    )
    members = [{"id": str(place), "public_key": text} for place, text in enumerate(texts)]
    trust = Trust.parse(json.dumps({"version": 1, "keys": members}))
    assert [key.fingerprint for key in trust.keys] == [inspect_key(text).fingerprint for text in texts]


def test_secret_keys_of_tools_are_refused_and_called_disclosed(tmp_path: Path) -> None:
    for tool in (Minisign(tmp_path, "a"), Signify(tmp_path, "b"), Ssh(tmp_path, "c", "ed25519")):
        with pytest.raises(TrustError, match="private key: it must never be uploaded"):
            inspect_key(tool.secret.read_text())


def test_an_ssh_certificate_is_refused(tmp_path: Path) -> None:
    authority, host = Ssh(tmp_path, "ca", "ed25519"), Ssh(tmp_path, "host", "ed25519")
    run("ssh-keygen", "-q", "-s", authority.secret, "-I", "build", "-n", "build", host.public)
    with pytest.raises(TrustError, match="OpenSSH certificate; give the plain public key"):
        inspect_key((tmp_path / "host-cert.pub").read_text())


def test_a_key_in_a_security_token_is_refused() -> None:
    with pytest.raises(TrustError, match="security token"):
        inspect_key(line(b"sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"))


def test_a_dsa_key_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(TrustError, match="proves nothing"):
        inspect_key(line(b"ssh-dss", b"\x01"))
    with pytest.raises(TrustError, match="not supported; use ssh-ed25519"):
        inspect_key(line(b"ssh-ed448", bytes(57)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh-ed25519", "no base64"),
        ("ssh-ed25519 AAAA!", "cannot be decoded"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "at byte 15 should have 4 bytes, 0 are left"),
        ("ssh-ed25519 /////w==", "should have 4294967295 bytes"),
        (line(b"ssh-ed25519", bytes(31)), "32 bytes"),
        (line(b"ssh-ed25519", POINT, b"more"), "more follow"),
        (line(b"ssh-rsa", b"\x03", b"\x00" + b"\xff" * 384), "exponent 0x03"),
        (line(b"ssh-rsa", b"\x01\x00\x01", b"\xff" * 384), "positive number"),
        (line(b"ssh-rsa", b"\x01\x00\x01", b"\x00\x7f" + b"\xff" * 383), "shortest form"),
        (line(b"ssh-rsa", b"\x01\x00\x01", b""), "positive number"),
        (line(b"ecdsa-sha2-nistp256", b"nistp384", bytes(65)), "of curve"),
        (line(b"ecdsa-sha2-nistp256", b"nistp256", b"\x02" + bytes(32)), "written out in full"),
        (line(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + b"\x01" * 64), "not a valid ECDSA P-256 key"),
        (line(b"ssh-ed25519", POINT).replace("ssh-ed25519", "ssh-rsa"), "begins with"),
        (line(b"ssh-ed25519", b"\x01" + bytes(31)), "sufficient order"),
        (line(b"ssh-ed25519", POINT) * 2, "one line"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", "ssh-keygen -i"),
    ],
)
def test_openssh_keys_that_cannot_be_relied_on_are_refused(text: str, message: str) -> None:
    with pytest.raises(TrustError, match=message):
        inspect_key(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("untrusted comment: minisign public key\n", "8 bytes|2 bytes"),
        ("untrusted comment: x\n!!!!", "cannot be decoded"),
        ("untrusted comment: x\n" + base64.b64encode(b"EX" + bytes(40)).decode(), "of algorithm Ed"),
        ("untrusted comment: x\n" + base64.b64encode(b"Ed" + bytes(39)).decode(), "should have 32 bytes"),
        ("untrusted comment: x\n" + base64.b64encode(b"Ed" + bytes(40)).decode(), "sufficient order"),
        ("untrusted comment: x\nRWQ=\nRWQ=", "more lines"),
    ],
)
def test_minisign_keys_that_cannot_be_relied_on_are_refused(text: str, message: str) -> None:
    with pytest.raises(TrustError, match=message):
        inspect_key(text)


def test_a_pkcs1_key_is_refused_with_a_hint(tmp_path: Path, keys: Keys) -> None:
    pem = openssl("openssl", "rsa", "-in", keys.private("rsa-3072"), "-RSAPublicKey_out").decode()
    with pytest.raises(TrustError, match="convert it with 'openssl rsa"):
        inspect_key(pem)
