"""Signed firmware updates of OCPP (2.0.1 L01, 1.6 security whitepaper): a base64 signature, a certificate.

`signature` and `signingCertificate` of UpdateFirmwareRequest are the detached signature and its certificate.
"""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from portal.verification import FileReport, KeyOptions, Root, Trust, verify_file
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.conftest import AT
from tests.unit.verification.test_firmware import outcomes, reason

CONTENT = b"\x7fcharger" + bytes(50_000)
SHA256 = hashes.SHA256()
PSS = KeyOptions(rsa_padding="pss")


@pytest.fixture(scope="module")
def manufacturer() -> Identity:
    return root("Charging station manufacturer", rsa.generate_private_key(65537, 3072))


@pytest.fixture(scope="module")
def by_rsa(manufacturer: Identity) -> Identity:
    return manufacturer.issue("Firmware signing", key=rsa.generate_private_key(65537, 3072))


@pytest.fixture(scope="module")
def by_ecdsa(manufacturer: Identity) -> Identity:
    return manufacturer.issue("Firmware signing EC", key=ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "charger.bin"
    path.write_bytes(CONTENT)
    return path


def request(signer: Identity, content: bytes = CONTENT) -> dict[str, str]:
    """The `firmware` of an UpdateFirmwareRequest, but for where it lies."""
    if isinstance(signer.key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(SHA256), padding.PSS.DIGEST_LENGTH)
        signature = signer.key.sign(content, pss, SHA256)
    else:
        assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
        signature = signer.key.sign(content, ec.ECDSA(SHA256))
    return {"signature": base64.b64encode(signature).decode(), "signingCertificate": signer.pem}


def judged(path: Path, trust: Trust, update: dict[str, str]) -> FileReport:
    return verify_file(
        path,
        trust,
        at=AT,
        signature=update["signature"].encode(),
        certificates=update["signingCertificate"].encode(),
    )


def approved(manufacturer: Identity, options: KeyOptions) -> Trust:
    return Trust.build([], roots=[Root("manufacturer", manufacturer.pem, options=options)])


def test_rsa_pss_and_ecdsa_over_sha_256_count_as_enrolled(
    firmware: Path, manufacturer: Identity, by_rsa: Identity, by_ecdsa: Identity
) -> None:
    for signer, options in ((by_rsa, PSS), (by_ecdsa, KeyOptions())):
        report = judged(firmware, approved(manufacturer, options), request(signer))
        found = outcomes(report)
        assert {found[name] for name in ("signed", "signature", "key", "algorithm")} == {"pass"}
        assert report.document["signatures"][0]["signer"]["id"] == "manufacturer"
        assert "SHA-256" in report.document["signatures"][0]["rule"]


def test_pkcs1_where_pss_is_enrolled_is_refused(
    firmware: Path, manufacturer: Identity, by_rsa: Identity
) -> None:
    update = request(by_rsa)
    assert isinstance(by_rsa.key, rsa.RSAPrivateKey)
    other = by_rsa.key.sign(CONTENT, padding.PKCS1v15(), SHA256)
    update["signature"] = base64.b64encode(other).decode()
    assert outcomes(judged(firmware, approved(manufacturer, PSS), update))["signature"] == "fail"


def test_other_firmware_and_another_manufacturer_are_refused(
    firmware: Path, manufacturer: Identity, by_ecdsa: Identity
) -> None:
    trust = approved(manufacturer, KeyOptions())
    assert outcomes(judged(firmware, trust, request(by_ecdsa, b"other")))["signature"] == "fail"
    other = root("Other manufacturer").issue("Firmware signing")
    report = judged(firmware, trust, request(other))
    assert outcomes(report)["key"] == "fail"
    assert "Other manufacturer" in reason(report, "key")


def test_a_hexadecimal_certificate_is_unreadable(
    firmware: Path, manufacturer: Identity, by_ecdsa: Identity
) -> None:
    """Of older texts; certificates are given as PEM."""
    update = request(by_ecdsa)
    update["signingCertificate"] = by_ecdsa.certificate.public_bytes(serialization.Encoding.DER).hex()
    report = judged(firmware, approved(manufacturer, KeyOptions()), update)
    assert outcomes(report)["certificates"] == "unreadable"
    assert report.outcome.value != "pass"
