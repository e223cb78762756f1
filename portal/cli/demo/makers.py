"""Evidence for the demo, made by tools that nobody here wrote: imgtool, openssl, securesystemslib."""

import hashlib
import importlib.util
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from portal.errors import LotgateError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://lotgate.dev/attestation/unit-test/v1"


def need_tools() -> None:
    """Raises LotgateError that says what to install."""
    if shutil.which("openssl") is None:
        raise LotgateError("the demo needs the openssl command: apt-get install openssl")
    for module in ("imgtool", "securesystemslib"):
        if importlib.util.find_spec(module) is None:
            raise LotgateError(f"the demo needs the Python package {module}: uv sync --group demo")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LotgateError(f"{' '.join(command[:4])} … failed: {done.stderr.strip()[-300:]}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key of a demo supplier: the private part stays in the demo's folder of that supplier."""

    private: Path
    public_pem: str


class Workshop:
    """Makes the files of one supplier in `folder`, reproducibly random from its name."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.random = random.Random(name)  # noqa: S311  # test values, not secrets

    # --- keys -------------------------------------------------------------------------------------

    def imgtool_key(self, name: str, kind: str = "ecdsa-p256") -> KeyPair:
        """A firmware key by `imgtool keygen` (kind: ecdsa-p256, ed25519, rsa-3072)."""
        path = self.folder / f"{name}.pem"
        _run(sys.executable, "-m", "imgtool.main", "keygen", "-k", str(path), "-t", kind)
        return KeyPair(path, self._public(path))

    def openssl_key(self, name: str, *arguments: str) -> KeyPair:
        """A key by `openssl genpkey`, Ed25519 unless `arguments` say otherwise."""
        path = self.folder / f"{name}.pem"
        _run("openssl", "genpkey", *(arguments or ("-algorithm", "ED25519")), "-out", str(path))
        return KeyPair(path, self._public(path))

    def _public(self, private: Path) -> str:
        public = private.with_suffix(".pub.pem")
        _run("openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public))
        return public.read_text("ascii")

    # --- firmware ---------------------------------------------------------------------------------

    def image(
        self,
        name: str,
        version: str,
        *,
        counter: int,
        key: KeyPair | None,
        encrypt_for: KeyPair | None = None,
        size: int = 96 << 10,
    ) -> Path:
        """A MCUboot image by `imgtool sign`, signed with `key` if given, encrypted if asked."""
        code = self.folder / f"{name}.bin"
        code.write_bytes(self.random.randbytes(size))
        signed = self.folder / f"{name}.signed.bin"
        command = [sys.executable, "-m", "imgtool.main", "sign", "--header-size", "0x200", "--pad-header"]
        command += ["--align", "8", "--slot-size", "0x80000", "--version", version]
        command += ["--security-counter", str(counter)]
        if key is not None:
            command += ["--key", str(key.private)]
        if encrypt_for is not None:
            public = encrypt_for.private.with_suffix(".pub.pem")
            command += ["--encrypt", str(public)]
        _run(*command, str(code), str(signed))
        return signed

    # --- documents --------------------------------------------------------------------------------

    def document(self, name: str, title: str, lines: Iterable[str]) -> Path:
        """A short text document that backs an answer."""
        path = self.folder / f"{name}.txt"
        path.write_text("\n".join([title, "=" * len(title), "", *lines, ""]), "utf-8")
        return path

    # --- lots and attestations --------------------------------------------------------------------

    def units(
        self, prefix: str, count: int, firmware: dict[str, str], *, capacity: float = 100.0
    ) -> list[dict[str, Any]]:
        """`count` units with test values that scatter as a good line's do."""
        return [
            {
                "serial": f"{prefix}{number:06d}",
                "firmware": dict(firmware),
                "capacity_ah": round(self.random.gauss(capacity * 1.02, capacity * 0.004), 3),
                "resistance_mohm": round(self.random.gauss(0.62, 0.012), 4),
                "ocv_v": round(self.random.gauss(3.295, 0.002), 4),
            }
            for number in range(1, count + 1)
        ]

    def manifest(
        self,
        lot: str,
        product: str,
        maker: str,
        site: str,
        units: Sequence[dict[str, Any]],
        *,
        made: datetime,
        holders: Sequence[str],
    ) -> Path:
        """A lot manifest with a custody chain from `maker` through `holders`."""
        custody, holder = [], maker
        for number, receiver in enumerate(holders):
            custody.append(
                {
                    "event": "shipped" if number == 0 else "handed_over",
                    "from": holder,
                    "to": receiver,
                    "location": f"{receiver} dock",
                    "at": (made + timedelta(days=3 + 2 * number)).astimezone(UTC).isoformat(),
                    "seal": f"S-{self.random.randrange(10**6):06d}",
                }
            )
            holder = receiver
        text = {
            "schema": "https://lotgate.dev/schema/lot-manifest/v1",
            "lot": lot,
            "product": product,
            "maker": maker,
            "site": site,
            "manufactured_on": made.date().isoformat(),
            "unit_count": len(units),
            "units": list(units),
            "custody": custody,
        }
        path = self.folder / f"{lot}.json"
        path.write_text(json.dumps(text, indent=1), "utf-8")
        return path

    def attestations(
        self, lot: str, units: Sequence[dict[str, Any]], key: KeyPair, *, tampered: Sequence[int] = ()
    ) -> Path:
        """One DSSE envelope a unit, signed by securesystemslib; the `tampered` ones (from 0) are altered."""
        # Of an optional group: imported once `need_tools` has seen to it.
        from securesystemslib.dsse import Envelope  # noqa: PLC0415
        from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # noqa: PLC0415

        signer = CryptoSigner(load_pem_private_key(key.private.read_bytes(), None))
        path = self.folder / f"{lot}.attestations.jsonl"
        with path.open("w", encoding="ascii") as file:
            for number, unit in enumerate(units):
                statement: dict[str, Any] = {
                    "_type": "https://in-toto.io/Statement/v1",
                    "subject": [{"name": unit["serial"], "digest": {"sha256": unit_digest(unit)}}],
                    "predicateType": PREDICATE_TYPE,
                    "predicate": {"lot": lot, "result": "passed", "station": f"EOL-{number % 8}"},
                }
                envelope = Envelope(rfc8785.dumps(statement), PAYLOAD_TYPE, {})
                envelope.sign(signer)
                line = envelope.to_dict()
                if number in tampered:
                    statement["predicate"]["station"] = "EOL-9"
                    line["payload"] = Envelope(rfc8785.dumps(statement), PAYLOAD_TYPE, {}).to_dict()[
                        "payload"
                    ]
                file.write(json.dumps(line) + "\n")
        return path


def unit_digest(unit: dict[str, Any]) -> str:
    """What an attestation's subject must match: SHA-256 of the unit's record in RFC 8785 form, hex."""
    return hashlib.sha256(rfc8785.dumps(unit)).hexdigest()
