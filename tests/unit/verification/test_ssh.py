"""SSH signatures: the verdicts of ssh-keygen, and what is refused."""

import base64
import struct
from pathlib import Path

import pytest

from portal.errors import TrustError
from portal.verification import KeyOptions, Outcome, Trust, TrustKey, verify_file
from tests.unit.verification.conftest import AT
from tests.unit.verification.flipped import accepts, differences
from tests.unit.verification.test_firmware import outcomes, reason
from tests.unit.verification.tools import Ssh

KINDS = {
    "ed25519": ("ed25519",),
    "rsa": ("rsa", "-b", "3072"),
    "p256": ("ecdsa", "-b", "256"),
    "p384": ("ecdsa", "-b", "384"),
}
BEGIN, END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.bin"
    path.write_bytes(b"\x7fGW" + bytes(n * 31 % 251 for n in range(1_500_000)))
    return path


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ssh]:
    folder = tmp_path_factory.mktemp("ssh")
    return {name: Ssh(folder, name, *kind) for name, kind in KINDS.items()}


def trust(*signers: Ssh, **options: object) -> Trust:
    keys = enumerate(signers)
    return Trust.build(
        [TrustKey(f"key {n}", ssh.public.read_text(), options=KeyOptions(**options)) for n, ssh in keys]  # type: ignore[arg-type]
    )


def fields(signature: bytes) -> list[bytes]:
    """Public key, namespace, reserved, hash and signature of a file of ssh-keygen."""
    blob = base64.b64decode(b"".join(signature.splitlines()[1:-1]))
    assert blob[:10] == b"SSHSIG\0\0\0\1"
    return strings(blob[10:])


def strings(blob: bytes) -> list[bytes]:
    found = []
    while blob:
        (length,) = struct.unpack(">I", blob[:4])
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def armoured(parts: list[bytes], head: bytes = b"SSHSIG\0\0\0\1") -> bytes:
    return BEGIN + base64.encodebytes(head + b"".join(string(part) for part in parts)) + END


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_ssh_keygen_signs_with_each_kind_of_key(
    firmware: Path, signers: dict[str, Ssh], name: str, digest: str
) -> None:
    signature = signers[name].sign(firmware, "-O", f"hashalg={digest}")
    for enrolled in (trust(signers[name]), Trust.build([TrustKey("pem", signers[name].pem())])):
        report = verify_file(firmware, enrolled, at=AT, signature=signature)
        assert outcomes(report) | {"format": ""} == {
            "digest": "not_applicable",
            "format": "",
            "signed": "pass",
            "signature": "pass",
            "key": "pass",
            "algorithm": "pass",
        }
    claims = report.document["signature_file"]["claims"]
    assert (claims["namespace"], claims["hash"]) == ("file", digest.upper().replace("A", "A-"))


@pytest.mark.parametrize("name", KINDS)
def test_ssh_keygen_agrees_on_everything_that_differs_in_one_place(
    firmware: Path, signers: dict[str, Ssh], name: str
) -> None:
    signer = signers[name]
    good = signer.sign(firmware)
    found = differences(firmware, trust(signer), good, signer.accepts, step=11)
    # ssh-keygen reads nothing behind the end of the block; we read a file whole or not at all.
    assert all(theirs and END.strip() in given and given != good for given, theirs in found)


def test_another_file_is_refused(firmware: Path, signers: dict[str, Ssh]) -> None:
    good = signers["p256"].sign(firmware)
    firmware.write_bytes(firmware.read_bytes()[:-1])
    report = verify_file(firmware, trust(signers["p256"]), at=AT, signature=good)
    assert "the file or the signature was changed" in reason(report, "signature")
    assert report.outcome is Outcome.FAIL


def test_another_namespace_is_refused_unless_enrolled(firmware: Path, signers: dict[str, Ssh]) -> None:
    signer = signers["ed25519"]
    given = signer.sign(firmware, namespace="git")
    report = verify_file(firmware, trust(signer), at=AT, signature=given)
    assert 'made for the namespace "git", the key is enrolled for file' in reason(report, "signature")
    assert not signer.accepts(firmware, given)
    assert accepts(firmware, trust(signer, ssh_namespaces=("file", "git")), given)
    assert not accepts(firmware, trust(signer, ssh_namespaces=("git",)), signer.sign(firmware))


def test_a_renamed_namespace_does_not_help(firmware: Path, signers: dict[str, Ssh]) -> None:
    signer = signers["ed25519"]
    parts = fields(signer.sign(firmware, namespace="git"))
    parts[1] = b"file"
    given = armoured(parts)
    assert not signer.accepts(firmware, given)
    assert not accepts(firmware, trust(signer), given)


def test_namespaces_in_the_trust_file_are_checked(signers: dict[str, Ssh]) -> None:
    for names in ((), ("",)):
        with pytest.raises(TrustError, match="ssh_namespaces"):
            trust(signers["rsa"], ssh_namespaces=names)


def test_the_reserved_field_is_ignored_as_ssh_keygen_does(firmware: Path, signers: dict[str, Ssh]) -> None:
    parts = fields(signers["p384"].sign(firmware))
    parts[2] = b"something"
    given = armoured(parts)
    assert signers["p384"].accepts(firmware, given)
    assert accepts(firmware, trust(signers["p384"]), given)


def test_an_approved_key_that_did_not_sign_does_not_help(firmware: Path, signers: dict[str, Ssh]) -> None:
    report = verify_file(firmware, trust(signers["p256"]), at=AT, signature=signers["ed25519"].sign(firmware))
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("not_run", "fail")
    # The approved key, put into the place of the one that signed.
    parts = fields(signers["ed25519"].sign(firmware))
    parts[0] = fields(signers["p256"].sign(firmware))[0]
    report = verify_file(firmware, trust(signers["p256"]), at=AT, signature=armoured(parts))
    assert "cannot make a signature" in reason(report, "signature")


def test_rsa_over_sha1_is_refused(firmware: Path, signers: dict[str, Ssh]) -> None:
    parts = fields(signers["rsa"].sign(firmware))
    parts[4] = string(b"ssh-rsa") + string(strings(parts[4])[1])
    given = armoured(parts)
    assert not signers["rsa"].accepts(firmware, given)
    report = verify_file(firmware, trust(signers["rsa"]), at=AT, signature=given)
    assert "which is over SHA-1" in reason(report, "signature")


def test_rsa_under_the_other_hash_is_refused(firmware: Path, signers: dict[str, Ssh]) -> None:
    parts = fields(signers["rsa"].sign(firmware))
    scheme, value = strings(parts[4])
    assert scheme == b"rsa-sha2-512"
    parts[4] = string(b"rsa-sha2-256") + string(value)
    given = armoured(parts)
    assert not signers["rsa"].accepts(firmware, given)
    assert not accepts(firmware, trust(signers["rsa"]), given)


def test_a_certificate_as_signing_key_is_refused(firmware: Path, signers: dict[str, Ssh]) -> None:
    parts = fields(signers["ed25519"].sign(firmware))
    parts[0] = string(b"ssh-ed25519-cert-v01@openssh.com") + parts[0]
    report = verify_file(firmware, trust(signers["ed25519"]), at=AT, signature=armoured(parts))
    assert "is an OpenSSH certificate" in reason(report, "signature")


def test_a_key_in_a_security_token_is_refused(firmware: Path, signers: dict[str, Ssh]) -> None:
    parts = fields(signers["ed25519"].sign(firmware))
    parts[0] = string(b"sk-ssh-ed25519@openssh.com") + parts[0][15:] + string(b"ssh:")
    report = verify_file(firmware, trust(signers["ed25519"]), at=AT, signature=armoured(parts))
    assert "security token" in reason(report, "signature")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: armoured(parts, b"SSHSIG\0\0\0\2"), "expected version 1"),
        (lambda parts: armoured(parts, b"SSHSIX\0\0\0\1"), "begin with SSHSIG"),
        (lambda parts: armoured([parts[0], b"", *parts[2:]]), "namespace is empty"),
        (lambda parts: armoured([*parts[:3], b"sha1", parts[4]]), 'found "sha1"'),
        (lambda parts: armoured([*parts, b"more"]), "more follow"),
        (lambda parts: armoured(parts[:4]), "at byte"),
        (lambda parts: armoured(parts) + b"hello", "nothing around it"),
        (lambda parts: armoured(parts)[: -len(END)], "nothing around it"),
        (lambda _: BEGIN + b"c3No\n\nc3No!\n" + END, "cannot be decoded"),
        (lambda _: BEGIN + b"U1NIU0lHAAAAAf////8=\n" + END, "4294967295 bytes"),
        (lambda _: BEGIN + bytes(20_000) + END, "at most 16384"),
    ],
)
def test_what_is_no_ssh_signature_is_unreadable(
    firmware: Path, signers: dict[str, Ssh], change: object, message: str
) -> None:
    assert callable(change)
    signer = signers["ed25519"]
    given = change(fields(signer.sign(firmware)))
    report = verify_file(firmware, trust(signer), at=AT, signature=given)
    assert outcomes(report)["signature"] == "unreadable"
    assert message in reason(report, "signature")
    assert not signer.accepts(firmware, given) or given.endswith(b"hello")
