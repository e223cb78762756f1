"""Signatures and keys whose numbers are out of range: refused, whoever made them."""

import base64
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from portal.errors import TrustError
from portal.verification import KeyOptions, Trust, TrustKey, inspect_key, verify_file
from tests.unit.verification.conftest import AT
from tests.unit.verification.test_firmware import outcomes

# FIPS 186-5, SP 800-186: the order of P-256; RFC 8032 §5.1: the order of edwards25519.
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
L = 2**252 + 27742317777372353535851937790883648493
MESSAGE = b"the evidence"


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.bin"
    path.write_bytes(MESSAGE)
    return path


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    size = (length.bit_length() + 7) // 8
    head = bytes([length]) if length < 128 else bytes([128 | size]) + length.to_bytes(size)
    return bytes([tag]) + head + content


def _padded(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return _der(0x30, b"".join(_der(0x02, b"\0\0" + number.to_bytes(32)) for number in (r, s)))


def _pem(spki: bytes) -> str:
    body = "\n".join(wrap(base64.b64encode(spki).decode(), 64))
    return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


def pem(public: object) -> str:
    encoded: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded.decode()


def verdict(evidence: Path, public: object, signature: bytes, **options: str) -> str:
    trust = Trust.build([TrustKey("key", pem(public), options=KeyOptions(**options))])
    return outcomes(verify_file(evidence, trust, at=AT, signature=signature))["signature"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: b"\0" + s, id="leading zero"),
        pytest.param(lambda s: s + b"\0", id="longer than the modulus"),
        pytest.param(lambda s: s[:-1], id="shorter than the modulus"),
        pytest.param(lambda s: bytes(len(s)), id="zero"),
        pytest.param(lambda s: b"\xff" * len(s), id="not below the modulus"),
    ],
)
def test_an_rsa_signature_of_another_length_or_range_is_refused(
    evidence: Path, change: Callable[[bytes], bytes]
) -> None:
    private = rsa.generate_private_key(65537, 3072)
    signature = private.sign(MESSAGE, padding.PKCS1v15(), SHA256())
    assert verdict(evidence, private.public_key(), signature) == "pass"
    assert verdict(evidence, private.public_key(), change(signature)) == "fail"


def test_an_rsa_signature_plus_its_modulus_is_refused(evidence: Path) -> None:
    private = rsa.generate_private_key(65537, 2048)
    modulus = private.public_key().public_numbers().n
    # As often as the sum still fits into the modulus's bytes; a first byte below 0x80 lets it nearly always.
    for number in range(64):
        message = MESSAGE + bytes([number])
        evidence.write_bytes(message)
        signature = private.sign(message, padding.PKCS1v15(), SHA256())
        larger = int.from_bytes(signature) + modulus
        if larger < 1 << 2048:
            assert verdict(evidence, private.public_key(), signature) == "pass"
            assert verdict(evidence, private.public_key(), larger.to_bytes(256)) == "fail"
            return
    pytest.fail("no signature was small enough")


def test_an_rsa_key_of_1024_bits_proves_nothing(evidence: Path) -> None:
    private = rsa.generate_private_key(65537, 1024)
    signature = private.sign(MESSAGE, padding.PKCS1v15(), SHA256())
    trust = Trust.build([TrustKey("short", pem(private.public_key()))])
    found = outcomes(verify_file(evidence, trust, at=AT, signature=signature))
    assert found["signature"] != "pass"
    assert found["algorithm"] == "fail"


@pytest.mark.parametrize("exponent", [1, 3])
def test_an_rsa_key_with_a_small_exponent_is_not_enrolled(exponent: int) -> None:
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    numbers = b"".join(
        _der(0x02, n.to_bytes(n.bit_length() // 8 + 1)) for n in (modulus, exponent)
    )  # pyca itself refuses an exponent of 1
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    spki = _der(0x30, algorithm + _der(0x03, b"\0" + _der(0x30, numbers)))
    with pytest.raises(TrustError, match="exponent"):
        inspect_key(_pem(spki))


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, None), (None, 0), (N, None), (None, N), (0, 0), (1, 1), ("+N", None), (None, "+N")],
    ids=str,
)
@pytest.mark.parametrize("encoding", ["der", "p1363"])
def test_an_ecdsa_signature_out_of_range_is_refused(
    evidence: Path, r: int | str | None, s: int | str | None, encoding: str
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    good = decode_dss_signature(private.sign(MESSAGE, ec.ECDSA(SHA256())))

    def encoded(numbers: tuple[int, int]) -> bytes:
        if encoding == "der":
            return encode_dss_signature(*numbers)
        return b"".join((number % 2**256).to_bytes(32) for number in numbers)

    def changed(old: int, new: int | str | None) -> int:
        return old + N if new == "+N" else old if new is None else int(new)

    bad = changed(good[0], r), changed(good[1], s)
    assert verdict(evidence, private.public_key(), encoded(good), ecdsa_encoding=encoding) == "pass"
    assert verdict(evidence, private.public_key(), encoded(bad), ecdsa_encoding=encoding) == "fail"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda s: s + b"\0", id="a byte behind it"),
        pytest.param(lambda s: s[:1] + b"\x81" + s[1:], id="a long form of its length"),
        pytest.param(lambda s: b"\x30\x80" + s[2:] + b"\0\0", id="no definite length"),
        pytest.param(lambda s: s[:-1], id="cut"),
        pytest.param(lambda s: _der(0x30, s[2:] + b"\x02\x01\x01"), id="three numbers"),
        pytest.param(_padded, id="a number with zeros before it"),
    ],
)
def test_an_ecdsa_signature_that_is_not_der_is_refused(
    evidence: Path, change: Callable[[bytes], bytes]
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    signature = private.sign(MESSAGE, ec.ECDSA(SHA256()))
    assert verdict(evidence, private.public_key(), signature) == "pass"
    assert verdict(evidence, private.public_key(), change(signature)) == "fail"


def test_a_p256_key_that_is_not_on_the_curve_is_not_enrolled() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = bytearray(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    spki[-1] ^= 1
    with pytest.raises(TrustError, match="not a valid ECDSA P-256 key"):
        inspect_key(_pem(bytes(spki)))


@pytest.mark.parametrize("kind", ["s + L", "R of small order", "R not canonical"])
def test_an_ed25519_signature_outside_of_the_rule_is_refused(evidence: Path, kind: str) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    good = private.sign(MESSAGE)
    scalar = int.from_bytes(good[32:], "little")
    bad = {
        "s + L": good[:32] + (scalar + L).to_bytes(32, "little"),
        "R of small order": (1).to_bytes(32, "little") + good[32:],
        "R not canonical": (2**255 - 19 + 1).to_bytes(32, "little") + good[32:],
    }[kind]
    assert verdict(evidence, private.public_key(), good) == "pass"
    assert verdict(evidence, private.public_key(), bad) == "fail"


@pytest.mark.parametrize(
    "kind", [mldsa.MLDSA44PrivateKey, mldsa.MLDSA65PrivateKey, mldsa.MLDSA87PrivateKey], ids=str
)
def test_an_ml_dsa_signature_with_bad_hints_or_norms_is_refused(
    evidence: Path, kind: type[mldsa.MLDSA65PrivateKey]
) -> None:
    private = kind.generate()
    good = private.sign(MESSAGE)
    # FIPS 204 §7.2: challenge, z, then the hints: ω places and as many ends as there are polynomials (k).
    k, omega, challenge = {2420: (4, 80, 32), 3309: (6, 55, 48), 4627: (8, 75, 64)}[len(good)]
    hints = len(good) - omega - k
    assert verdict(evidence, private.public_key(), good) == "pass"
    for bad in (
        good[:-1] + bytes([omega + 1]),  # more hints than there may be
        good[: hints + omega] + bytes([omega]) + good[hints + omega + 1 :],  # ends that go back
        good[: hints + omega - 1] + b"\1" + good[hints + omega :],  # a place behind the last hint
        good[:challenge] + bytes(64) + good[challenge + 64 :],  # z too long: all zeros encode its bound
        private.sign(MESSAGE, b"another context"),
    ):
        assert verdict(evidence, private.public_key(), bad) == "fail"
