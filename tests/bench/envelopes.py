"""Signed in-toto statements, and the loop that a user would write to verify them."""

import base64
import json
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def _pae(payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def make_envelopes(path: Path, count: int, keys: dict[str, Ed25519PrivateKey]) -> None:
    """Write `count` signed in-toto statements of about 1.2 kB an envelope, one a line."""
    names = list(keys)
    with path.open("w") as out:
        for n in range(count):
            serial = f"LOT-2026-11-{n:08}"
            statement = {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": serial, "digest": {"sha256": sha256(serial.encode()).hexdigest()}}],
                "predicateType": "https://lotgate.example/unit-test/v1",
                "predicate": {
                    "stage": "end-of-line",
                    "measured": {"capacity_ah": 280.1, "resistance_mohm": 0.18, "ocv_v": 3.289},
                    "station": {"id": "EOL-07", "operator": "4711", "calibrated": "2026-10-01T00:00:00Z"},
                    "log": "0123456789abcdef" * 22,
                },
            }
            payload = json.dumps(statement).encode()
            name = names[n % len(names)]
            envelope = {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [
                    {"keyid": name, "sig": base64.b64encode(keys[name].sign(_pae(payload))).decode()}
                ],
            }
            out.write(json.dumps(envelope) + "\n")


def loop_over_cryptography(path: Path, start: int, end: int, pems: dict[str, bytes]) -> int:
    """What a user would write: json and cryptography, line by line. Returns how many lines are good."""
    keys = {name: load_pem_public_key(pem) for name, pem in pems.items()}
    good = 0
    with path.open("rb") as lines:
        lines.seek(start)
        while lines.tell() < end:
            envelope = json.loads(lines.readline())
            payload = base64.b64decode(envelope["payload"])
            signature = envelope["signatures"][0]
            keys[signature["keyid"]].verify(base64.b64decode(signature["sig"]), _pae(payload))  # type: ignore[call-arg,union-attr]
            statement = json.loads(payload)
            good += bool(statement["subject"][0]["digest"]["sha256"])
    return good


def shares(path: Path, parts: int) -> list[tuple[int, int]]:
    size = path.stat().st_size
    cuts = [0]
    with path.open("rb") as lines:
        for part in range(1, parts):
            lines.seek(size * part // parts)
            lines.readline()
            cuts.append(lines.tell())
    return list(zip(cuts, [*cuts[1:], size], strict=True))
