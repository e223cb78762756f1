"""PE executables are opaque: what an Authenticode signature says of them counts for nothing here."""

import shutil
import struct
from pathlib import Path

import pytest

from portal.verification import FileReport, Outcome, Root, Trust, TrustKey, verify_file
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.conftest import AT, run
from tests.unit.verification.test_firmware import outcomes

HIDDEN = b"hidden behind the certificate table" * 20


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """An EFI application by gcc and ld."""
    source, thing, made = tmp_path / "a.c", tmp_path / "a.o", tmp_path / "a.efi"
    source.write_text("int efi_main(void) { return 0; }\n")
    run("gcc", "-c", source, "-o", thing)
    run("ld", "-m", "i386pep", "--subsystem", "10", "-e", "efi_main", thing, "-o", made)
    return made


@pytest.fixture(scope="module")
def signer() -> Identity:
    return root().issue("Firmware")


def signed(path: Path, signer: Identity) -> Path:
    """Signed by osslsigncode."""
    certificate, key = signer.write(path.parent, "signer")
    out = path.with_suffix(".signed.efi")
    run("osslsigncode", "sign", "-certs", certificate, "-key", key, "-h", "sha256", "-in", path, "-out", out)
    return out


def hidden(content: bytes) -> bytes:
    """With bytes that no digest of Authenticode covers: the certificate table is said to be longer."""
    header = struct.unpack_from("<I", content, 0x3C)[0]
    directory = header + 24 + 112 + 4 * 8  # PE32+, the fifth directory
    table, size = struct.unpack_from("<II", content, directory)
    entry = struct.unpack_from("<I", content, table)[0]
    assert table + size == len(content)
    made = bytearray(content + HIDDEN)
    struct.pack_into("<I", made, directory + 4, size + len(HIDDEN))
    struct.pack_into("<I", made, table, entry + len(HIDDEN))
    return bytes(made)


def told(path: Path, trust: Trust, signature: bytes | None = None) -> FileReport:
    report = verify_file(path, trust, at=AT, signature=signature)
    assert report.format == "opaque"
    assert outcomes(report)["format"] == "warn"
    return report


@pytest.mark.skipif(not shutil.which("osslsigncode"), reason="osslsigncode is not installed")
def test_data_hidden_behind_the_certificate_table_is_covered_by_no_authenticode_signature(
    application: Path, signer: Identity
) -> None:
    good = signed(application, signer)
    path = good.with_name("hidden.efi")
    path.write_bytes(hidden(good.read_bytes()))
    trust = Trust.build([TrustKey("pinned", signer.pem)], roots=[Root("vendor", signer.pem)])
    for file in (good, path):
        report = told(file, trust)
        assert report.outcome is Outcome.FAIL
        assert outcomes(report)["signed"] == "fail"
        assert report.key_id is None


def test_a_detached_signature_covers_what_stands_behind_the_certificate_table(
    application: Path, signer: Identity
) -> None:
    _, key = signer.write(application.parent, "signer")
    trust = Trust.build([TrustKey("pinned", signer.pem)])
    signature = run("openssl", "dgst", "-sha256", "-sign", key, application)
    assert outcomes(told(application, trust, signature))["signature"] == "pass"
    application.write_bytes(application.read_bytes() + HIDDEN)
    assert outcomes(told(application, trust, signature))["signature"] == "fail"
