"""Detached signatures by openssl over any file, by each kind of key, and what is refused."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from portal.errors import UnreadableFile
from portal.verification import Digests, KeyOptions, Outcome, Trust, TrustKey, hash_file, verify_file
from tests.unit.verification.conftest import AT, Keys, run
from tests.unit.verification.test_firmware import outcomes, reason

PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
PSS_MAX = ("-sigopt", "rsa_padding_mode:pss")  # openssl's own choice, as SWUpdate's documents have it
Sign = Callable[..., bytes]


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.pdf"
    path.write_bytes(b"%PDF-1.7 " + bytes(3_000_000))
    return path


@pytest.fixture
def sign(evidence: Path, keys: Keys, tmp_path: Path) -> Sign:
    def make(name: str, *options: str, digest: str = "sha256") -> bytes:
        if name in ("ed25519", "other"):
            private = keys.private(name)
            return run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", evidence)
        out = tmp_path / "signature"
        run("openssl", "dgst", f"-{digest}", "-sign", keys.private(name), *options, "-out", out, evidence)
        return out.read_bytes()

    return make


def trusted(keys: Keys, name: str, **options: str) -> Trust:
    return Trust.build([TrustKey(name, keys.public(name), options=KeyOptions(**options))])


@pytest.mark.parametrize(
    ("name", "options", "digest", "enrolment"),
    [
        ("rsa-3072", (), "sha256", {}),
        ("rsa-3072", (), "sha512", {"hash": "sha512"}),
        ("rsa-3072", PSS, "sha256", {"rsa_padding": "pss"}),
        ("rsa-3072", PSS, "sha384", {"rsa_padding": "pss", "pss_salt": "digest", "hash": "sha384"}),
        ("rsa-3072", PSS_MAX, "sha256", {"rsa_padding": "pss", "pss_salt": "max"}),
        ("rsa-3072", PSS_MAX, "sha512", {"rsa_padding": "pss", "pss_salt": "max", "hash": "sha512"}),
        ("p256", (), "sha256", {}),
        ("p256", (), "sha384", {"hash": "sha384"}),
        ("p384", (), "sha384", {}),
        ("p384", (), "sha256", {"hash": "sha256"}),
        ("ed25519", (), "", {}),
    ],
)
def test_a_signature_made_as_enrolled(
    evidence: Path,
    keys: Keys,
    sign: Sign,
    name: str,
    options: tuple[str, ...],
    digest: str,
    enrolment: dict[str, str],
) -> None:
    signature = sign(name, *options, digest=digest)
    trust = trusted(keys, name, **enrolment)
    for given in (signature, base64.b64encode(signature), base64.encodebytes(signature)):
        report = verify_file(evidence, trust, at=AT, signature=given)
        assert outcomes(report) == {
            "digest": "not_applicable",
            "format": "warn",
            "signed": "pass",
            "signature": "pass",
            "key": "pass",
            "algorithm": "pass",
        }
        assert report.key_id == name


@pytest.mark.parametrize(
    ("name", "options", "enrolment"),
    [
        ("rsa-3072", PSS, {}),
        ("rsa-3072", (), {"rsa_padding": "pss"}),
        ("rsa-3072", (), {"hash": "sha384"}),
        # OpenSSL's own default makes the salt as long as the key allows; that is another enrolment.
        ("rsa-3072", ("-sigopt", "rsa_padding_mode:pss"), {"rsa_padding": "pss"}),
        ("p256", (), {"ecdsa_encoding": "p1363"}),
        ("p256", (), {"hash": "sha512"}),
    ],
)
def test_a_signature_made_otherwise_than_enrolled_is_no_second_chance(
    evidence: Path,
    keys: Keys,
    sign: Sign,
    name: str,
    options: tuple[str, ...],
    enrolment: dict[str, str],
) -> None:
    signature = sign(name, *options)
    report = verify_file(evidence, trusted(keys, name, **enrolment), at=AT, signature=signature)
    assert outcomes(report)["signature"] == "fail"
    assert "in another way than enrolled" in reason(report, "signature")
    assert report.outcome is Outcome.FAIL


def test_r_and_s_side_by_side_where_enrolled(evidence: Path, keys: Keys, sign: Sign) -> None:
    for name, size, digest in (("p256", 32, "sha256"), ("p384", 48, "sha384")):
        numbers = decode_dss_signature(sign(name, digest=digest))
        signature = b"".join(number.to_bytes(size, "big") for number in numbers)
        trust = trusted(keys, name, ecdsa_encoding="p1363")
        assert outcomes(verify_file(evidence, trust, at=AT, signature=signature))["signature"] == "pass"


def test_every_key_is_tried_and_the_right_one_is_named(evidence: Path, keys: Keys, sign: Sign) -> None:
    names = ("rsa-3072", "p256", "p384", "other", "ed25519")
    trust = keys.trust(*names)
    for name in names:
        digest = "sha384" if name == "p384" else "sha256"
        report = verify_file(evidence, trust, at=AT, signature=sign(name, digest=digest))
        assert report.key_id == name
    without = keys.trust("rsa-3072", "other")
    report = verify_file(evidence, without, at=AT, signature=sign("ed25519"))
    assert outcomes(report) | {"format": ""} == {
        "digest": "not_applicable",
        "format": "",
        "signed": "pass",
        "signature": "fail",
        "key": "not_run",
        "algorithm": "not_run",
    }
    assert "any of the 2 approved key(s)" in reason(report, "signature")


def test_a_valid_signature_by_a_key_for_something_else(evidence: Path, keys: Keys, sign: Sign) -> None:
    trust = keys.trust("ed25519", purposes=("attestation",))
    report = verify_file(evidence, trust, at=AT, signature=sign("ed25519"))
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("pass", "fail")
    assert report.outcome is Outcome.FAIL


def test_no_key_at_all(evidence: Path, sign: Sign) -> None:
    report = verify_file(evidence, Trust.build([]), at=AT, signature=sign("ed25519"))
    assert (outcomes(report)["signature"], outcomes(report)["key"]) == ("not_run", "fail")


def test_a_key_that_can_be_broken_proves_nothing(evidence: Path, keys: Keys, sign: Sign) -> None:
    report = verify_file(evidence, keys.trust("rsa-1024"), at=AT, signature=sign("rsa-1024"))
    assert (outcomes(report)["signature"], outcomes(report)["algorithm"]) == ("not_run", "fail")
    assert "can be broken" in reason(report, "algorithm")


def test_a_weak_key_is_a_warning(evidence: Path, keys: Keys, sign: Sign) -> None:
    report = verify_file(evidence, keys.trust("rsa-2048"), at=AT, signature=sign("rsa-2048"))
    assert (outcomes(report)["signature"], outcomes(report)["algorithm"]) == ("pass", "warn")


def test_a_changed_file_or_signature_is_refused(evidence: Path, keys: Keys, sign: Sign) -> None:
    for name in ("ed25519", "p256", "rsa-3072"):
        trust, signature = keys.trust(name), sign(name)
        for change in (signature[:-1], signature + b"\0", bytes([signature[0] ^ 1]) + signature[1:]):
            report = verify_file(evidence, trust, at=AT, signature=change)
            assert outcomes(report)["signature"] == "fail"
        content = evidence.read_bytes()
        evidence.write_bytes(content[:-1] + b"\x01")
        assert outcomes(verify_file(evidence, trust, at=AT, signature=signature))["signature"] == "fail"
        evidence.write_bytes(content)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (b"", "is empty"),
        (bytes(200_000), "more than any signature"),
        (b"-----BEGIN PGP SIGNATURE-----\n", "END PGP SIGNATURE"),
    ],
)
def test_what_is_no_signature_is_unreadable(evidence: Path, keys: Keys, signature: bytes, words: str) -> None:
    report = verify_file(evidence, keys.trust("ed25519"), at=AT, signature=signature)
    assert outcomes(report)["signature"] == "unreadable"
    assert words in reason(report, "signature")


def test_a_manifest_has_checks_of_its_own(tmp_path: Path, keys: Keys) -> None:
    path = tmp_path / "lot.json"
    path.write_text('{"lot": "L-1"}')
    signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", keys.private("ed25519"), "-in", path)
    trust = keys.trust("ed25519", purposes=("manifest",))
    report = verify_file(path, trust, at=AT, purpose="manifest", signature=signature)
    assert report.outcome is Outcome.PASS
    assert [check.id for check in report.checks] == [
        f"manifest.{name}" for name in ("digest", "format", "signed", "signature", "key", "algorithm")
    ]
    assert verify_file(path, trust, at=AT, signature=signature).outcome is Outcome.FAIL


def test_what_was_hashed_on_arrival_is_not_read_again(evidence: Path, keys: Keys, sign: Sign) -> None:
    trust, signature, received = trusted(keys, "p256"), sign("p256"), hash_file(evidence)
    with evidence.open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"other bytes, same length")
    assert outcomes(verify_file(evidence, trust, at=AT, signature=signature))["signature"] == "fail"
    report = verify_file(evidence, trust, at=AT, signature=signature, received=received)
    assert (report.size, report.sha256, report.blake3) == (received.size, received.sha256, received.blake3)
    assert outcomes(report)["signature"] == "pass"  # it is by the digest that was received


@pytest.mark.parametrize(("name", "digest"), [("ed25519", ""), ("p384", "sha384")])
def test_a_signature_over_more_than_the_known_digest_reads_every_byte(
    evidence: Path, keys: Keys, sign: Sign, name: str, digest: str
) -> None:
    trust, signature, received = trusted(keys, name), sign(name, digest=digest), hash_file(evidence)
    report = verify_file(evidence, trust, at=AT, signature=signature, received=received)
    assert outcomes(report)["signature"] == "pass"
    evidence.write_bytes(evidence.read_bytes()[:-1] + b"x")
    report = verify_file(evidence, trust, at=AT, signature=signature, received=received)
    assert outcomes(report)["signature"] == "fail"
    assert report.sha256 != received.sha256  # and says what it found


def test_a_file_of_another_size_than_received_is_unreadable(evidence: Path, keys: Keys) -> None:
    received = hash_file(evidence)
    with evidence.open("ab") as file:
        file.write(b"x")
    with pytest.raises(UnreadableFile, match=f"received were {received.size} bytes"):
        verify_file(evidence, trusted(keys, "p256"), at=AT, received=received)
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        verify_file(evidence, trusted(keys, "p256"), at=AT, received=Digests(received.size, "ab", "cd"))


@pytest.mark.parametrize(
    ("made", "enrolled"), [(PSS_MAX, "digest"), (PSS, "max")], ids=["made with max", "made with digest"]
)
def test_a_salt_of_another_length_than_enrolled_is_refused(
    evidence: Path, keys: Keys, sign: Sign, made: tuple[str, ...], enrolled: str
) -> None:
    trust = trusted(keys, "rsa-3072", rsa_padding="pss", pss_salt=enrolled)
    report = verify_file(evidence, trust, at=AT, signature=sign("rsa-3072", *made))
    assert outcomes(report)["signature"] == "fail"


def by_openssl(keys: Keys, evidence: Path, name: str, digest: str, options: tuple[str, ...]) -> bool:
    public, given = evidence.with_suffix(".pem"), evidence.with_suffix(".given")
    public.write_text(keys.public(name))
    command: tuple[str | Path, ...] = ("openssl", "dgst", f"-{digest}", "-verify", public, *options)
    command += ("-signature", given, evidence)
    if name == "ed25519":
        command = ("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", evidence)
        command += ("-sigfile", given)
    return subprocess.run(command, capture_output=True).returncode == 0


def by_pyca(keys: Keys, evidence: Path, name: str, digest: str, salt: int | None) -> bool:
    key = load_pem_public_key(keys.public(name).encode())
    content, signature = evidence.read_bytes(), evidence.with_suffix(".given").read_bytes()
    hashed = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "": None}[digest]
    try:
        match key:
            case ed25519.Ed25519PublicKey():
                key.verify(signature, content)
            case ec.EllipticCurvePublicKey():
                assert hashed is not None
                key.verify(signature, content, ec.ECDSA(hashed))
            case rsa.RSAPublicKey():
                assert hashed is not None
                pss = padding.PSS(padding.MGF1(hashed), padding.PSS.MAX_LENGTH if salt is None else salt)
                key.verify(signature, content, padding.PKCS1v15() if salt == 0 else pss, hashed)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "digest", "options", "enrolment", "salt"),
    [
        ("rsa-3072", "sha256", (), {}, 0),
        ("rsa-3072", "sha256", PSS, {"rsa_padding": "pss"}, 32),
        (
            "rsa-3072",
            "sha256",
            (*PSS_MAX, "-sigopt", "rsa_pss_saltlen:max"),
            {"rsa_padding": "pss", "pss_salt": "max"},
            None,
        ),
        ("p256", "sha256", (), {}, 0),
        ("p384", "sha384", (), {}, 0),
        ("ed25519", "", (), {}, 0),
    ],
)
def test_the_same_verdict_as_openssl_and_pyca(
    evidence: Path,
    keys: Keys,
    sign: Sign,
    name: str,
    digest: str,
    options: tuple[str, ...],
    enrolment: dict[str, str],
    salt: int | None,
) -> None:
    """On a good signature and on those that differ in one place, are cut or go on.

    Difference: `openssl dgst` reads no more of a signature than its key can make, so that it passes over a
    byte behind it; the library, as pyca calls it, refuses that as we do.
    """
    evidence.write_bytes(b"%PDF-1.7 " + bytes(1000))
    good = sign(name, *options, digest=digest)
    other = sign("other" if name == "ed25519" else "rsa-2048" if "rsa" in name else name, digest=digest)
    bad = [good[:-1], good + b"\0", b"\0" + good, bytes(len(good)), b"\xff" * len(good)]
    bad += [good[:at] + bytes([good[at] ^ 0x80]) + good[at + 1 :] for at in range(0, len(good), 9)]
    if name.startswith("p"):
        bad += [
            good[:1] + b"\x81" + good[1:],
            b"\x30\x80" + good[2:] + b"\0\0",
            encode_dss_signature(0, 1),
            encode_dss_signature(1, 2**521),
        ]
    trust = trusted(keys, name, **enrolment)
    for signature in (good, other, *bad):
        evidence.with_suffix(".given").write_bytes(signature)
        ours = outcomes(verify_file(evidence, trust, at=AT, signature=signature))["signature"] == "pass"
        if signature != good + b"\0":
            assert ours == by_openssl(keys, evidence, name, digest, options), signature.hex()
        assert ours == by_pyca(keys, evidence, name, digest, salt), signature.hex()
        assert ours == (signature == good or (signature == other and name.startswith("p")))


@pytest.mark.parametrize(
    "kind",
    [mldsa.MLDSA44PrivateKey, mldsa.MLDSA65PrivateKey, mldsa.MLDSA87PrivateKey],
    ids=["44", "65", "87"],
)
def test_ml_dsa_signs_the_file_itself(evidence: Path, kind: type[mldsa.MLDSA65PrivateKey]) -> None:
    private = kind.generate()
    public = private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    trust = Trust.build([TrustKey("pq", pem)])
    signature = private.sign(evidence.read_bytes())
    report = verify_file(evidence, trust, at=AT, signature=signature)
    assert outcomes(report) | {"format": "warn"} == {
        "digest": "not_applicable", "format": "warn", "signed": "pass", "signature": "pass", "key": "pass",
        "algorithm": "pass",
    }  # fmt: skip
    assert "FIPS 204" in report.document["signatures"][0]["rule"]
    for wrong in (
        private.sign(evidence.read_bytes(), b"a context"),
        private.sign(evidence.read_bytes() + b"x"),
        signature[:-1] + bytes([signature[-1] ^ 1]),
        signature[:-1],
        signature + b"\0",
    ):
        assert outcomes(verify_file(evidence, trust, at=AT, signature=wrong))["signature"] == "fail"
