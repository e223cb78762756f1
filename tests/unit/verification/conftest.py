"""Keys, images and envelopes made by tools that nobody here wrote: openssl, imgtool, securesystemslib."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from imgtool.main import imgtool
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from portal.verification import FileReport, Trust, TrustKey
from tests.unit.verification.reports import hold

AT = 1_795_262_400.0  # 2026-11-21T12:00:00Z
PAYLOAD_TYPE = "application/vnd.in-toto+json"
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

OPENSSL_KEYS = {
    "rsa-1024": ("RSA", "rsa_keygen_bits:1024"),
    "rsa-2048": ("RSA", "rsa_keygen_bits:2048"),
    "rsa-3072": ("RSA", "rsa_keygen_bits:3072"),
    "rsa-e3": ("RSA", "rsa_keygen_bits:3072", "rsa_keygen_pubexp:3"),
    "p256": ("EC", "ec_paramgen_curve:P-256"),
    "p384": ("EC", "ec_paramgen_curve:P-384"),
    "p521": ("EC", "ec_paramgen_curve:P-521"),
    "ed25519": ("ED25519",),
    "other": ("ED25519",),
}


@pytest.fixture(autouse=True)
def _every_report_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test in this folder verifies: its report fits the schema and can be shown."""
    made = FileReport.of

    def of(document_json: str, at: float) -> FileReport:
        hold(document_json)
        return made(document_json, at)

    monkeypatch.setattr(FileReport, "of", of)


def run(*arguments: str | Path) -> bytes:
    return subprocess.run(arguments, check=True, capture_output=True).stdout


class Keys:
    """Key pairs by openssl, made when first asked for and kept for the session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def private(self, name: str) -> Path:
        path = self.folder / f"{name}.pem"
        if not path.exists():
            algorithm, *options = OPENSSL_KEYS[name]
            arguments = [argument for option in options for argument in ("-pkeyopt", option)]
            run("openssl", "genpkey", "-algorithm", algorithm, *arguments, "-out", path)
        return path

    def public(self, name: str) -> str:
        return run("openssl", "pkey", "-in", self.private(name), "-pubout").decode()

    def certificate(self, name: str, days: int = 3650) -> str:
        return run(
            *("openssl", "req", "-x509", "-new", "-key", self.private(name), "-days", str(days)),
            *("-subj", "/O=Nordhaven Cells/CN=Firmware signing"),
        ).decode()

    def trust(self, *names: str, threshold: int = 1, **members: Any) -> Trust:
        return Trust.build([TrustKey(name, self.public(name), **members) for name in names], threshold)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


MakeImage = Callable[..., Path]


@pytest.fixture
def image(tmp_path: Path, keys: Keys) -> MakeImage:
    """Make an MCUboot image with imgtool; `key` None leaves it unsigned."""

    def make(
        key: str | None = "ed25519",
        *options: str,
        version: str = "1.4.2+7",
        size: int = 5000,
        name: str = "image.bin",
    ) -> Path:
        payload = tmp_path / "application.bin"
        payload.write_bytes(bytes(n * 7 % 256 for n in range(size)))
        out = tmp_path / name
        signing = [] if key is None else ["-k", str(keys.private(key))]
        arguments = [
            *("sign", *signing, "--header-size", "32", "--pad-header", "--version", version),
            *("--slot-size", "0x40000", "--align", "4", *options, str(payload), str(out)),
        ]
        # In this process: starting it anew for every image would take most of the time.
        done = CliRunner().invoke(imgtool, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return out

    return make


class Signers:
    """Signers of securesystemslib, by name."""

    def __init__(self) -> None:
        self.made: dict[str, CryptoSigner] = {}

    def __getitem__(self, name: str) -> CryptoSigner:
        if name not in self.made:
            kind = name.partition("-")[0]
            make = {
                "ed25519": CryptoSigner.generate_ed25519,
                "rsa": CryptoSigner.generate_rsa,
                "ecdsa": CryptoSigner.generate_ecdsa,
            }[kind]
            self.made[name] = make()
        return self.made[name]

    def key(self, name: str, **members: Any) -> TrustKey:
        public = self[name].public_key
        pem = public.keyval["public"]
        if public.scheme == "ed25519":
            der = bytes.fromhex("302a300506032b6570032100" + pem)
            pem = subprocess.run(
                ["openssl", "pkey", "-pubin", "-inform", "DER", "-pubout"],
                input=der,
                check=True,
                capture_output=True,
            ).stdout.decode()
        return TrustKey(name, pem, **members)


@pytest.fixture(scope="session")
def signers() -> Signers:
    return Signers()


def statement(name: str = "SN-0001", **members: Any) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": DIGEST}}],
        "predicateType": "https://lotgate.example/unit-test/v1",
        "predicate": {"stage": "end-of-line", "capacity_ah": 280.1},
        **members,
    }


def envelope(
    payload: dict[str, Any] | bytes, *signers: CryptoSigner, payload_type: str = PAYLOAD_TYPE
) -> dict[str, Any]:
    """A DSSE envelope, signed by securesystemslib."""
    content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    made = Envelope(content, payload_type, {})
    for signer in signers:
        made.sign(signer)
    result: dict[str, Any] = made.to_dict()
    return result
