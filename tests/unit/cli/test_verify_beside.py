"""`lotgate verify` with what comes beside a file, a chain or a time stamp; all made by openssl."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.test_verify import lotgate, write_trust
from tests.unit.verification.conftest import run

STAMPING = """[tsa]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def certificate(folder: Path, name: str, *extensions: str, issuer: str = "", days: int = 30) -> Path:
    """By `issuer`, or by itself."""
    by = ("-CA", folder / f"{issuer}.pem", "-CAkey", folder / f"{issuer}.key") if issuer else ()
    added = [word for extension in extensions for word in ("-addext", extension)]
    path = folder / f"{name}.pem"
    named = ("-subj", f"/O=Nordhaven/CN={name}", "-keyout", folder / f"{name}.key", "-out", path)
    run("openssl", "req", "-x509", *EC, "-days", str(days), *named, *by, *added)
    return path


@dataclass
class Bench:
    """A file signed by a signer below an intermediate authority, the signature without certificates."""

    folder: Path
    file: Path
    signature: Path
    chain: Path
    trust: Path

    def stamp(self, over: Path, *, nonce: bool = True) -> Path:
        """What the time-stamp authority answers about a file."""
        query, answer = self.folder / "query.tsq", self.folder / f"{over.name}.tsr"
        asked = () if nonce else ("-no_nonce",)
        run("openssl", "ts", "-query", "-data", over, "-sha256", "-cert", *asked, "-out", query)
        authority = ("-signer", self.folder / "clock.pem", "-inkey", self.folder / "clock.key")
        settings = ("-config", self.folder / "ts.cnf", "-section", "tsa")
        run("openssl", "ts", "-reply", "-queryfile", query, *authority, *settings, "-out", answer)
        return answer

    def verify(self, *options: str | Path, later: int = 0) -> tuple[int, dict[str, Any]]:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 + later * 86_400))
        given = ("--trust", self.trust, "--signature", self.signature, "--at", at, "--json")
        result = lotgate("verify", self.file, *given, *options)
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("beside")
    root = certificate(folder, "root", "keyUsage=critical,keyCertSign,cRLSign", days=400)
    below = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
    middle = certificate(folder, "middle", *below, issuer="root", days=400)
    no_authority = "basicConstraints=critical,CA:FALSE"
    usages = ("keyUsage=digitalSignature", "extendedKeyUsage=codeSigning")
    signer = certificate(folder, "signer", no_authority, *usages, issuer="middle", days=9)
    stamping = "extendedKeyUsage=critical,timeStamping"
    clock = certificate(folder, "clock", no_authority, "keyUsage=digitalSignature", stamping, days=400)
    (folder / "serial").write_text("01\n")
    (folder / "ts.cnf").write_text(STAMPING.format(folder=folder))
    file, signature, chain = folder / "firmware.bin", folder / "firmware.p7s", folder / "chain.pem"
    file.write_bytes(b"\x01firmware" + bytes(5000))
    by = ("-signer", signer, "-inkey", folder / "signer.key", "-nocerts")
    run("openssl", "cms", "-sign", "-binary", "-in", file, *by, "-outform", "DER", "-out", signature)
    chain.write_text(signer.read_text() + middle.read_text())
    trust = write_trust(
        folder / "TRUST.json",
        roots=[{"id": "vendor", "certificate": root.read_text(), "purposes": ["firmware"]}],
        timestamp_authorities=[{"id": "clock", "certificate": clock.read_text()}],
    )
    return Bench(folder, file, signature, chain, trust)


def check(report: dict[str, Any], name: str) -> dict[str, str]:
    return next(entry for entry in report["checks"] if entry["id"] == f"firmware.{name}")


def test_the_chain_beside_the_signature_leads_to_the_root(bench: Bench) -> None:
    code, report = bench.verify("--certificates", bench.chain)
    (signature,) = report["signatures"]
    assert (signature["outcome"], signature["signer"]["id"]) == ("pass", "vendor"), report["checks"]
    subjects = [item["subject"].split(",")[0] for item in signature["signer"]["chain"]]
    assert subjects == ["CN=signer", "CN=middle", "CN=root"]
    # Nothing but the format, which nobody here can read inside, is left to say.
    assert (code, report["outcome"], check(report, "format")["outcome"]) == (1, "warn", "warn")
    assert {"firmware.certificates", "firmware.timestamp"}.isdisjoint(e["id"] for e in report["checks"])


def test_without_the_chain_or_with_half_of_it_nobody_is_known(bench: Bench) -> None:
    for options in ((), ("--certificates", bench.folder / "signer.pem")):
        code, report = bench.verify(*options)
        assert (code, check(report, "key")["outcome"]) == (1, "fail")
        assert report["signatures"][0]["signer"] is None


def test_certificates_that_cannot_be_read_are_a_check_of_their_own(bench: Bench) -> None:
    text = bench.folder / "text.pem"
    for content in (b"", b"no certificate", b"\xff\xfe", bench.chain.read_bytes()[:200]):
        text.write_bytes(content)
        code, report = bench.verify("--certificates", text)
        assert (code, report["outcome"]) == (1, "fail")
        assert check(report, "certificates")["outcome"] == "unreadable", content
    text.write_bytes((bench.folder / "signer.key").read_bytes() + bench.chain.read_bytes())
    assert "private key" in check(bench.verify("--certificates", text)[1], "certificates")["reason"]


def test_a_time_stamp_over_the_signature_outlives_the_signer_s_certificate(bench: Bench) -> None:
    stamp = bench.stamp(bench.signature)
    beside = ("--certificates", bench.chain)
    code, report = bench.verify(*beside, later=20)
    assert (code, check(report, "key")["outcome"]) == (1, "fail")
    code, report = bench.verify(*beside, "--timestamp", stamp, later=20)
    assert [check(report, name)["outcome"] for name in ("timestamp", "key")] == ["pass", "pass"]
    assert report["signatures"][0]["time"]["source"] == "timestamp"
    assert report["signatures"][0]["time"]["authority"] == "clock"
    assert report["time"]["source"] == "receipt"  # that of the file itself, which nobody stamped


def test_a_time_stamp_over_the_file_moves_the_time_of_the_file_only(bench: Bench) -> None:
    stamp = bench.stamp(bench.file, nonce=False)
    _, report = bench.verify("--certificates", bench.chain, "--timestamp", stamp, later=20)
    assert check(report, "timestamp")["outcome"] == "pass"
    assert report["time"]["source"] == "timestamp"
    assert check(report, "key")["outcome"] == "fail"


def test_a_time_stamp_over_something_else_or_of_a_stranger_moves_nothing(bench: Bench) -> None:
    other = bench.folder / "other"
    other.write_bytes(b"other")
    beside = ("--certificates", bench.chain, "--timestamp", bench.stamp(other))
    _, report = bench.verify(*beside)
    assert check(report, "timestamp")["outcome"] == "fail"
    assert "over something else" in check(report, "timestamp")["reason"]
    stamp = bench.stamp(bench.signature)
    document = json.loads(bench.trust.read_text())
    for authorities, outcome in (([], "not_applicable"), ([certificate(bench.folder, "stranger")], "warn")):
        document["timestamp_authorities"] = [
            {"id": "other", "certificate": a.read_text()} for a in authorities
        ]
        trust = bench.folder / "other.json"
        trust.write_text(json.dumps(document))
        _, report = Bench(bench.folder, bench.file, bench.signature, bench.chain, trust).verify(
            "--certificates", bench.chain, "--timestamp", stamp
        )
        assert check(report, "timestamp")["outcome"] == outcome
        assert {entry["time"]["source"] for entry in report["signatures"]} == {"receipt"}


def test_what_is_no_time_stamp_is_unreadable(bench: Bench) -> None:
    good = bench.stamp(bench.signature).read_bytes()
    path = bench.folder / "broken.tsr"
    for content in (b"", b"\x30", b"no time stamp", good[:-1], good + b"\0", bench.signature.read_bytes()):
        path.write_bytes(content)
        code, report = bench.verify("--certificates", bench.chain, "--timestamp", path)
        assert (code, check(report, "timestamp")["outcome"]) == (1, "unreadable"), content[:20]


def test_files_that_are_not_there_and_wrong_usage_exit_with_2(bench: Bench) -> None:
    for option in ("--certificates", "--timestamp"):
        missing = lotgate("verify", bench.file, "--trust", bench.trust, option, bench.folder / "missing")
        assert missing.exit_code == 2
        assert "missing: No such file" in missing.stderr
        batch = ("verify", "--attestations", bench.file, "--trust", bench.trust, option, bench.chain)
        assert lotgate(*batch).exit_code == 2
