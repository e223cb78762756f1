"""What the table in docs/formats.md lists as not verified: made by the tools, never a pass, and said so."""

import shutil
import subprocess
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from esptool.bin_image import ELFSection, ESP8266ROMFirmwareImage
from joserfc import jws
from joserfc.jwk import ECKey

from portal.errors import TrustError
from portal.verification import FileReport, Outcome, Trust, TrustKey, verify_file
from tests.unit.verification import test_elf, test_esp32
from tests.unit.verification.conftest import AT, Keys, MakeImage, run
from tests.unit.verification.cose import ByHand
from tests.unit.verification.test_firmware import outcomes, reason
from tests.unit.verification.test_fit import ALL, PARTS, SIGN, Mkimage, configuration, mkimage, part, source
from tests.unit.verification.test_swupdate import Packages, packages

__all__ = ["mkimage", "packages"]

NOBODY = Trust.build([])


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(tool), reason=f"{tool} is not installed")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# --- Keys and detached signatures ---------------------------------------------------------------------
@pytest.mark.parametrize("algorithm", ["ED448", "X25519", "EC:secp256k1", "EC:brainpoolP256r1", "EC:P-521"])
def test_keys_of_other_curves_are_refused_when_trust_is_read(algorithm: str) -> None:
    kind, _, curve = algorithm.partition(":")
    options = ("-pkeyopt", f"ec_paramgen_curve:{curve}") if curve else ()
    private = run("openssl", "genpkey", "-algorithm", kind, *options)
    made = subprocess.run(("openssl", "pkey", "-pubout"), input=private, capture_output=True, check=True)
    with pytest.raises(TrustError):
        Trust.build([TrustKey("key", made.stdout.decode())])


def test_ml_dsa_with_a_context_is_refused(tmp_path: Path) -> None:
    key = mldsa.MLDSA65PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    path = written(tmp_path / "firmware.bin", b"\x01firmware" * 500)
    trust = Trust.build([TrustKey("key", public)])
    plain = verify_file(path, trust, at=AT, signature=key.sign(path.read_bytes()))
    other = verify_file(path, trust, at=AT, signature=key.sign(path.read_bytes(), b"context"))
    assert (outcomes(plain)["signature"], outcomes(other)["signature"]) == ("pass", "fail")


@needs("gpg")
@pytest.mark.parametrize("options", [("--clearsign",), ("--armor", "--sign"), ("--sign",)])
def test_openpgp_messages_with_their_content_are_no_signature(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback")
    run(
        *gpg,
        "--passphrase",
        "",
        "--quick-generate-key",
        "release@nordhaven.example",
        "ed25519",
        "sign",
        "never",
    )
    public = run(*gpg, "--armor", "--export").decode()
    path = written(tmp_path / "firmware.bin", b"firmware\n" * 500)
    message = run(*gpg, *options, "--output", "-", path)
    trust = Trust.build([TrustKey("key", public)])
    report = verify_file(path, trust, at=AT + 86_400 * 365, signature=message)
    assert outcomes(report)["signature"] in ("unreadable", "fail"), report.checks
    assert report.key_id is None


# --- Statements ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("algorithm", "curve"), [("ES512", "P-521"), ("ES256K", "secp256k1")])
def test_jws_by_algorithms_that_are_not_verified(
    tmp_path: Path, keys: Keys, algorithm: str, curve: str
) -> None:
    key = ECKey.generate_key(curve)
    text = jws.serialize_compact({"alg": algorithm}, b'{"lot": 7}', key, algorithms=[algorithm])
    path = written(tmp_path / "statement.jws", text.encode())
    report = verify_file(path, keys.trust("p256", "p384"), at=AT)
    assert outcomes(report)["signature"] not in ("pass", "warn")
    assert algorithm in reason(report, "signature")


@pytest.mark.parametrize(("number", "name"), [(-36, "ES512"), (-47, "ES256K"), (-46, "HSS-LMS")])
def test_cose_by_algorithms_that_are_not_verified(tmp_path: Path, keys: Keys, number: int, name: str) -> None:
    del name  # for the reader
    path = written(tmp_path / "message.cose", ByHand(keys).sign1({1: number}, b"payload"))
    report = verify_file(path, keys.trust("ed25519"), at=AT)
    assert outcomes(report)["signature"] not in ("pass", "warn"), report.checks


def test_cose_with_external_data_is_refused(tmp_path: Path, keys: Keys) -> None:
    by_hand = ByHand(keys)
    protected = cbor2.dumps({1: -8})

    def message(external: bytes) -> Path:
        signed = cbor2.dumps(["Signature1", protected, external, b"payload"])
        made = cbor2.CBORTag(18, [protected, {}, b"payload", by_hand.raw("ed25519", signed)])
        return written(tmp_path / "message.cose", cbor2.dumps(made))

    assert outcomes(verify_file(message(b""), keys.trust("ed25519"), at=AT))["signature"] == "pass"
    assert outcomes(verify_file(message(b"lot 7"), keys.trust("ed25519"), at=AT))["signature"] == "fail"


# --- Containers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(("content", "found"), [(test_esp32.RAM, "opaque"), (bytes(512), "esp32")])
def test_an_esp8266_image_is_opaque_or_unreadable(tmp_path: Path, content: bytes, found: str) -> None:
    made = ESP8266ROMFirmwareImage()
    made.entrypoint = 0x4010_0000
    made.segments = [ELFSection(b".text", 0x4010_0000, content, 0)]
    made.save(str(tmp_path / "app-"))
    (path,) = tmp_path.glob("app-*")
    report = verify_file(path, NOBODY, at=AT)
    assert report.format == found, report.checks
    assert outcomes(report)["format"] == ("warn" if found == "opaque" else "unreadable")


def test_an_esp32_signature_over_p192_is_unreadable(tmp_path: Path, keys: Keys) -> None:
    private = tmp_path / "p192.pem"
    run("openssl", "ecparam", "-name", "prime192v1", "-genkey", "-noout", "-out", private)
    signed = test_esp32.sign(test_esp32.image(tmp_path), private)
    report = verify_file(signed, keys.trust("p256"), at=AT)
    assert outcomes(report)["signature"] == "unreadable"
    assert "P-192 is too short" in reason(report, "signature")


def test_several_esp32_images_in_one_file_are_unreadable(tmp_path: Path, keys: Keys) -> None:
    one = test_esp32.sign(test_esp32.image(tmp_path), keys.private("p256")).read_bytes()
    report = verify_file(written(tmp_path / "two.bin", one + one), keys.trust("p256"), at=AT)
    assert report.outcome is Outcome.UNREADABLE or outcomes(report)["format"] == "unreadable", report.checks


def test_the_signature_of_a_kernel_module_is_not_taken_for_one(tmp_path: Path, keys: Keys) -> None:
    module = test_elf.by_hand((test_elf.BASE, b"code" * 99)) + bytes(500) + b"~Module signature appended~\n"
    report = verify_file(written(tmp_path / "bms.ko", module), keys.trust("p256"), at=AT)
    assert (report.format, outcomes(report)["signed"], report.outcome) == ("elf", "fail", Outcome.FAIL)
    assert report.claims["appended_signature"] == "of a kernel module; not verified"


@needs("dfu-prefix")
@pytest.mark.parametrize("prefix", [("-s", "0x1000"), ("-L",)])
def test_an_image_behind_a_prefix_of_a_chip_is_not_verified(
    tmp_path: Path, image: MakeImage, keys: Keys, prefix: tuple[str, ...]
) -> None:
    path = shutil.copy(image("p256"), tmp_path / "image.dfu")
    run("dfu-prefix", *prefix, "-a", path)
    run("dfu-suffix", "-a", path)
    report = verify_file(path, keys.trust("p256"), at=AT)
    assert report.outcome in (Outcome.FAIL, Outcome.UNREADABLE), report.checks
    assert report.key_id is None


def test_an_encrypted_description_is_unreadable(packages: Packages, keys: Keys) -> None:
    hidden = run("openssl", "enc", "-aes-256-cbc", "-K", "00" * 32, "-iv", "00" * 16, "-in", __file__)
    report = verify_file(packages.archived(hidden, {}), keys.trust("rsa-3072"), at=AT)
    assert report.format == "swupdate"
    assert outcomes(report)["format"] == "unreadable", report.checks


@needs("mkimage")
def test_an_encrypted_fit_image_is_bound_as_it_is_stored(mkimage: Mkimage, keys: Keys) -> None:
    (mkimage.folder / "aes.bin").write_bytes(bytes(range(32)))
    cipher = 'cipher { algo = "aes256"; key-name-hint = "aes"; };'
    images = "".join(part(name, inside=cipher if name == "kernel" else "") for name in PARTS)
    made = mkimage.make(source(images, configuration(SIGN % ("sha256,rsa3072", "rsa-3072", "", ALL))))
    report: FileReport = verify_file(made, keys.trust("rsa-3072"), at=AT)
    kernel = next(row for row in report.claims["images"] if row["name"] == "kernel-1")
    assert kernel["size"] != len(PARTS["kernel"])  # the encrypted content
    assert kernel["cipher"] == "aes256"
    assert report.outcome is Outcome.PASS, report.checks
