"""RFC 3161: a time stamp moves the time that counts only when everything about it is right."""

import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc3161_client
from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from portal.verification import FileReport, Outcome, Root, TimestampAuthority, Trust, TrustKey, verify_file
from tests.unit.verification.authority import Identity, day, root
from tests.unit.verification.conftest import AT, run
from tests.unit.verification.syntax import Signer, ess_certificate, signed_data, time_stamp
from tests.unit.verification.test_firmware import outcomes, reason

STAMPING = ExtendedKeyUsageOID.TIME_STAMPING


@dataclass
class World:
    """A vendor's root and a signer that expired 10 days ago; a time-stamp authority of somebody else."""

    vendor: Identity
    signer: Identity
    anchor: Identity
    authority: Identity

    def trust(self, **options: object) -> Trust:
        members = {
            "roots": [Root("vendor", self.vendor.pem)],
            "timestamp_authorities": [TimestampAuthority("clock", self.anchor.pem)],
        }
        return Trust.build([], **(members | options))  # type: ignore[arg-type]


def make(now: datetime) -> World:
    long: dict[str, Any] = {"start": now - timedelta(1000), "end": now + timedelta(1000)}
    vendor, anchor = root("Vendor", **long), root("Clock root", rsa.generate_private_key(65537, 3072), **long)
    return World(
        vendor,
        vendor.issue("Signer", start=now - timedelta(100), end=now - timedelta(10)),
        anchor,
        anchor.issue(
            "Clock",
            usages=[STAMPING],
            critical_usages=True,
            start=now - timedelta(50),
            end=now + timedelta(50),
        ),
    )


@pytest.fixture(scope="module")
def world() -> World:
    return make(day(0))


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(b"\x01firmware" + bytes(100_000))
    return path


def signature(path: Path, signer: Identity, **options: object) -> bytes:
    return signed_data(path.read_bytes(), Signer(signer, **options))  # type: ignore[arg-type]


def stamped(path: Path, world: World, token: bytes) -> bytes:
    """A CMS signature with a time stamp over it among its unsigned attributes."""
    return signature(
        path, world.signer, unsigned=[("signature_time_stamp_token", [cms.ContentInfo.load(token)])]
    )


def bare_signature(path: Path, world: World) -> bytes:
    """The signature value that `stamped` makes a stamp for; deterministic signing keeps it the same."""
    info = cms.ContentInfo.load(signature(path, world.signer))
    value: bytes = info["content"]["signer_infos"][0]["signature"].native
    return value


@pytest.fixture(scope="module")
def steady() -> World:
    """With a signer whose signatures are the same each time."""
    found = make(day(0))
    found.signer = found.vendor.issue(
        "Signer", key=ed25519.Ed25519PrivateKey.generate(), start=day(-100), end=day(-10)
    )
    return found


def judged(
    path: Path, trust: Trust, signature: bytes, timestamp: bytes | None = None, at: float = AT
) -> FileReport:
    return verify_file(path, trust, at=at, signature=signature, timestamp=timestamp)


def test_without_a_time_stamp_it_had_expired_at_signing(firmware: Path, steady: World) -> None:
    report = judged(firmware, steady.trust(), signature(firmware, steady.signer))
    assert outcomes(report)["key"] == "fail"
    assert "had expired at signing" in reason(report, "key")
    assert "no trusted time stamp" in reason(report, "key")
    assert "timestamp" not in outcomes(report)


def test_a_stamp_over_the_signature_proves_that_it_was_valid_then_and_expired_since(
    firmware: Path, steady: World
) -> None:
    token = time_stamp(bare_signature(firmware, steady), steady.authority, day(-20), accuracy=2)
    report = judged(firmware, steady.trust(), stamped(firmware, steady, token))
    assert outcomes(report)["key"] == "pass", report.checks
    assert "has expired since" in reason(report, "key")
    assert outcomes(report)["timestamp"] == "pass"
    (found,) = report.document["signatures"]
    assert found["time"] == {"at": "2026-11-01T12:00:02Z", "source": "timestamp", "authority": "clock"}
    late = time_stamp(bare_signature(firmware, steady), steady.authority, day(-5))
    after = judged(firmware, steady.trust(), stamped(firmware, steady, late))
    assert outcomes(after)["timestamp"] == "pass"
    assert outcomes(after)["key"] == "fail"
    assert "had expired at signing" in reason(after, "key")


def test_a_stamp_over_the_signature_file_comes_beside_it(firmware: Path, world: World) -> None:
    given = signature(firmware, world.signer)
    report = judged(firmware, world.trust(), given, time_stamp(given, world.authority, day(-20)))
    assert outcomes(report)["key"] == "pass", report.checks
    assert "over the signature file" in reason(report, "timestamp")


def test_a_stamp_over_the_file_says_nothing_of_a_signature_beside_it(firmware: Path, world: World) -> None:
    over_file = time_stamp(firmware.read_bytes(), world.authority, day(-20))
    given = signature(firmware, world.signer)
    report = judged(firmware, world.trust(), given, over_file)
    assert outcomes(report)["timestamp"] == "pass"
    assert outcomes(report)["key"] == "fail"
    # Of a signature inside the file it says that it was there already.
    path = firmware.with_suffix(".p7m")
    path.write_bytes(signed_data(b"content" * 20, Signer(world.signer), attached=True))
    inside = verify_file(
        path, world.trust(), at=AT, timestamp=time_stamp(path.read_bytes(), world.authority, day(-20))
    )
    assert inside.outcome is Outcome.PASS, inside.checks
    assert inside.document["time"]["source"] == "timestamp"
    assert outcomes(verify_file(path, world.trust(), at=AT))["key"] == "fail"


def test_a_pinned_key_is_judged_by_the_stamp_too(firmware: Path, world: World) -> None:
    given = signature(firmware, world.signer)
    token = time_stamp(given, world.authority, day(-20))
    authorities = [TimestampAuthority("clock", world.anchor.pem)]
    trust = Trust.build(
        [TrustKey("old", world.signer.pem, distrusted_from=day(-15))], timestamp_authorities=authorities
    )
    assert outcomes(judged(firmware, trust, given))["key"] == "fail"
    assert outcomes(judged(firmware, trust, given, token))["key"] == "pass"


def test_an_authority_that_nobody_named_changes_nothing(firmware: Path, world: World) -> None:
    given = signature(firmware, world.signer)
    token = time_stamp(given, world.authority, day(-20))
    without = judged(firmware, world.trust(timestamp_authorities=[]), given, token)
    assert outcomes(without)["timestamp"] == "not_applicable"
    other = judged(
        firmware,
        world.trust(timestamp_authorities=[TimestampAuthority("o", root("Other").pem)]),
        given,
        token,
    )
    assert outcomes(other)["timestamp"] == "warn"
    for report in (without, other):
        assert outcomes(report)["key"] == "fail"
        assert report.document["signatures"][0]["time"]["source"] == "receipt"


def refused(firmware: Path, world: World, token: bytes, trust: Trust | None = None) -> str:
    """Why the stamp does not count; the signature is then judged by the time of receipt."""
    given = signature(firmware, world.signer)
    report = judged(firmware, trust or world.trust(), given, token)
    assert outcomes(report)["timestamp"] in ("fail", "unreadable")
    assert outcomes(report)["key"] == "fail"
    return reason(report, "timestamp")


def test_a_token_over_another_hash_is_refused(firmware: Path, world: World) -> None:
    token = time_stamp(b"something else", world.authority, day(-20))
    assert "over something else" in refused(firmware, world, token)


@pytest.fixture
def over_file(firmware: Path) -> bytes:
    return firmware.read_bytes()


@pytest.mark.parametrize(
    ("usages", "critical"),
    [([STAMPING], False), ([STAMPING, ExtendedKeyUsageOID.CODE_SIGNING], True), ([], False)],
)
def test_an_authority_whose_usage_is_not_critical_and_sole_is_refused(
    firmware: Path, world: World, over_file: bytes, usages: list[x509.ObjectIdentifier], critical: bool
) -> None:
    wrong = world.anchor.issue("Clock", usages=usages, critical_usages=critical)
    token = time_stamp(over_file, wrong, day(-20))
    assert "critical and alone" in refused(firmware, world, token)


def test_a_stamp_outside_of_the_authority_s_validity_is_refused(
    firmware: Path, world: World, over_file: bytes
) -> None:
    for at, accuracy in [(day(-51), None), (day(-50), 60)]:
        token = time_stamp(over_file, world.authority, at, accuracy=accuracy)
        assert "outside of the validity" in refused(firmware, world, token)
    assert "after the time of receipt" in refused(
        firmware, world, time_stamp(over_file, world.authority, day(2))
    )
    gone = root("Gone", start=day(-1000), end=day(-30))
    short = gone.issue("Clock", usages=[STAMPING], critical_usages=True)
    trust = world.trust(timestamp_authorities=[TimestampAuthority("gone", gone.pem)])
    why = refused(firmware, world, time_stamp(over_file, short, day(-20)), trust)
    assert "CN=Gone" in why
    assert "expired" in why


def test_injected_certificates_are_not_taken_for_the_authority_s(
    firmware: Path, world: World, over_file: bytes
) -> None:
    """The attacker's certificate bears the authority's key; what was signed names the authority's own."""
    twin = world.anchor.issue("Twin", key=world.authority.key, usages=[STAMPING], critical_usages=True)
    forged = time_stamp(over_file, twin, day(-20), ess=ess_certificate(world.authority))
    assert "ESSCertID" in refused(firmware, world, forged)
    for ess in [("signing_certificate_v2", []), ess_certificate(twin), ess_certificate(world.anchor, "sha1")]:
        token = time_stamp(over_file, world.authority, day(-20), ess=ess)
        assert "ESSCertID" in refused(firmware, world, token)
    # Others beside it do no harm.
    token = time_stamp(over_file, world.authority, day(-20), others=[twin, world.signer])
    report = judged(firmware, world.trust(), signature(firmware, world.signer), token)
    assert outcomes(report)["timestamp"] == "pass"


def test_sha_1_may_name_the_certificate_because_its_chain_is_checked(
    firmware: Path, world: World, over_file: bytes
) -> None:
    token = time_stamp(over_file, world.authority, day(-20), ess=ess_certificate(world.authority, "sha1"))
    report = judged(firmware, world.trust(), signature(firmware, world.signer), token)
    assert outcomes(report)["timestamp"] == "pass"


def test_two_signers_or_a_wrong_content_are_no_time_stamp(
    firmware: Path, world: World, over_file: bytes
) -> None:
    two = time_stamp(over_file, world.authority, day(-20), signers=[Signer(world.signer)])
    assert "expected one signer, found 2" in refused(firmware, world, two)
    other = time_stamp(over_file, world.authority, day(-20), content_type="data")
    assert "expected the content TSTInfo" in refused(firmware, world, other)
    damaged = bytearray(time_stamp(over_file, world.authority, day(-20)))
    place = bytes(damaged).index(b"20261101")
    damaged[place + 7] = ord("2")
    assert "not what the authority signed" in refused(firmware, world, bytes(damaged))
    assert "cannot be read" in refused(firmware, world, b"no token")


def test_a_revoked_authority_is_refused(firmware: Path, world: World, over_file: bytes) -> None:
    token = time_stamp(over_file, world.authority, day(-20))
    for date, flag, expected in [
        (day(-5), x509.ReasonFlags.key_compromise, "fail"),
        (day(-30), x509.ReasonFlags.superseded, "fail"),
        (day(-5), x509.ReasonFlags.superseded, "pass"),
    ]:
        trust = world.trust(crls=[world.anchor.revoke((world.authority, date, flag))])
        report = judged(firmware, trust, signature(firmware, world.signer), token)
        assert outcomes(report)["timestamp"] == expected, report.checks


def test_a_response_that_was_not_granted_is_refused(firmware: Path, world: World, over_file: bytes) -> None:
    token = cms.ContentInfo.load(time_stamp(over_file, world.authority, day(-20)))
    for status, word in [("granted", None), ("granted_with_mods", None), ("rejection", "status 2")]:
        response = tsp.TimeStampResp({"status": {"status": status}, "time_stamp_token": token}).dump()
        if word is None:
            report = judged(firmware, world.trust(), signature(firmware, world.signer), response)
            assert outcomes(report)["timestamp"] == "pass"
        else:
            assert word in refused(firmware, world, response)
    alone = bytes.fromhex("3005 3003 020102")
    assert "status 2" in refused(firmware, world, alone)


CONFIGURATION = """
[tsa]
serial = {folder}/serial
signer_digest = {digest}
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500
ess_cert_id_alg = {ess}
ess_cert_id_chain = {chain}
"""


@pytest.mark.parametrize(
    ("digest", "ess", "chain", "certificates"),
    [("sha256", "sha256", "no", True), ("sha512", "sha1", "yes", True), ("sha384", "sha384", "no", False)],
)
def test_openssl_and_an_independent_client_agree(
    tmp_path: Path, firmware: Path, digest: str, ess: str, chain: str, certificates: bool
) -> None:
    """By the clock of the machine: openssl stamps with the time that it is."""
    now = datetime.now(UTC)
    world = make(now)
    world.signer = world.vendor.issue("Signer", start=now - timedelta(9), end=now + timedelta(9))
    certificate, key = world.authority.write(tmp_path, "authority")
    (tmp_path / "anchor.pem").write_text(world.anchor.pem)
    (tmp_path / "serial").write_text("01\n")
    configuration = tmp_path / "ts.cnf"
    configuration.write_text(CONFIGURATION.format(folder=tmp_path, digest=digest, ess=ess, chain=chain))
    given = signature(firmware, world.signer)
    (tmp_path / "given").write_bytes(given)
    ask = ["-cert"] if certificates else []
    query = tmp_path / "query"
    run("openssl", "ts", "-query", "-data", tmp_path / "given", f"-{digest}", *ask, "-out", query)
    arguments = [
        *("openssl", "ts", "-reply", "-queryfile", str(query), "-signer", str(certificate)),
        *(
            "-inkey",
            str(key),
            "-config",
            str(configuration),
            "-section",
            "tsa",
            "-chain",
            str(tmp_path / "anchor.pem"),
        ),
    ]
    response = run(*arguments)
    token = run(*arguments, "-token_out")

    later = time.time() + 100 * 86_400  # the signer's certificate and the authority's have expired
    assert outcomes(judged(firmware, world.trust(), given, at=later))["key"] == "fail"
    authorities = [TimestampAuthority("clock", world.anchor.pem)]
    if not certificates:
        authorities = [TimestampAuthority("pinned", world.authority.pem)]
    trust = world.trust(timestamp_authorities=authorities)
    for stamp in (response, token):
        report = judged(firmware, trust, given, stamp, later)
        assert outcomes(report)["timestamp"] == "pass", report.checks
        assert outcomes(report)["key"] == "pass"

    def openssl(stamp: bytes, content: bytes) -> bool:
        (tmp_path / "stamp").write_bytes(stamp)
        (tmp_path / "content").write_bytes(content)
        command: list[str | Path] = [
            "openssl",
            "ts",
            "-verify",
            "-data",
            tmp_path / "content",
            "-in",
            tmp_path / "stamp",
        ]
        command += ["-CAfile", tmp_path / "anchor.pem", "-untrusted", certificate]
        return subprocess.run(command, capture_output=True).returncode == 0

    def client(stamp: bytes, content: bytes) -> bool:
        builder = rfc3161_client.VerifierBuilder().add_root_certificate(world.anchor.certificate)
        verifier = builder.tsa_certificate(world.authority.certificate).build()
        try:
            decoded = rfc3161_client.decode_timestamp_response(stamp)
            return bool(verifier.verify_message(decoded, content))
        except (ValueError, rfc3161_client.VerificationError):
            return False

    def ours(stamp: bytes, content: bytes) -> bool:
        path = tmp_path / "any"
        path.write_bytes(content)
        found = verify_file(path, trust, at=time.time() + 1, timestamp=stamp)
        return outcomes(found)["timestamp"] == "pass"

    samples = {
        "good": (response, given),
        "other content": (response, given + b"\0"),
        "signature changed": (response[:-1] + bytes([response[-1] ^ 1]), given),
    }
    for name, (stamp, content) in samples.items():
        verdicts = {"openssl": openssl(stamp, content), "ours": ours(stamp, content)}
        # The client knows SHA-256 to SHA-512 of messages, but wants the certificate in the response.
        if certificates:
            verdicts["client"] = client(stamp, content)
        assert len(set(verdicts.values())) == 1, (name, verdicts)
