"""Sigstore bundles against a given trusted root: all of the proof must hold, to sigstore-python too."""

import base64
import hashlib
import importlib.resources
import json
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sigstore.errors
import sigstore.models
from cryptography.x509.oid import ExtendedKeyUsageOID
from sigstore.verify import Verifier, policy

from portal.errors import TrustError
from portal.verification import FileReport, Trust, verify_file
from tests.unit.verification.authority import day, root
from tests.unit.verification.conftest import AT
from tests.unit.verification.sigstore import (
    ISSUER,
    SIGNED,
    SUBJECT,
    Document,
    Log,
    Sigstore,
    b64,
    compact,
    entry_of,
    older,
)
from tests.unit.verification.test_firmware import outcomes, reason

VECTORS = Path(__file__).parents[2] / "vectors" / "sigstore"
IDENTITIES = [{"issuer": ISSUER, "subject": SUBJECT}]
CONTENT = b"\x01firmware" + bytes(5_000)


@pytest.fixture(scope="module")
def instance() -> Sigstore:
    return Sigstore.make()


@pytest.fixture(scope="module")
def bundle(instance: Sigstore) -> Document:
    """A signature over the firmware; tests change a copy."""
    return instance.message(CONTENT)


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(CONTENT)
    return path


def trust(trusted_root: Document, **members: object) -> Trust:
    entry = {"id": "forge", "trusted_root": trusted_root, "identities": IDENTITIES} | members
    return Trust.parse(json.dumps({"version": 1, "keys": [], "sigstore": [entry]}))


def judged(path: Path, trusted: Trust, bundle: Document | bytes, at: float = AT) -> FileReport:
    signature = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return verify_file(path, trusted, at=at, signature=signature)


def passes(report: FileReport) -> bool:
    found = outcomes(report)
    return {found[name] for name in ("signed", "signature", "key", "algorithm")} == {"pass"}


def theirs(path: Path, trusted_root: Document, bundle: Document, folder: Path) -> bool:
    """The verdict of sigstore-python, offline."""
    file = folder / "trusted_root.json"
    file.write_text(json.dumps(trusted_root))
    verifier = Verifier(trusted_root=sigstore.models.TrustedRoot.from_file(str(file)))
    who = policy.Identity(identity=SUBJECT, issuer=ISSUER)
    try:
        read = sigstore.models.Bundle.from_json(json.dumps(bundle))
        if "dsseEnvelope" in bundle:
            verifier.verify_dsse(read, who)
        else:
            verifier.verify_artifact(path.read_bytes(), read, who)
    except (sigstore.errors.Error, ValueError):
        return False
    return True


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
def test_the_signature_of_a_file_counts(
    firmware: Path, instance: Sigstore, bundle: Document, version: str
) -> None:
    given = bundle if version == "0.3" else older(bundle, version)
    report = judged(firmware, trust(instance.trusted_root()), given)
    assert passes(report), report.checks
    assert SUBJECT in reason(report, "key")
    signature = report.document["signatures"][0]
    assert signature["signer"]["id"] == "forge"
    assert len(signature["signer"]["chain"]) == 3
    assert signature["time"]["source"] == "timestamp"
    assert report.document["signature_file"]["form"] == "sigstore"
    assert report.document["signature_file"]["claims"]["identity"] == SUBJECT


def test_a_time_stamp_proves_the_time_where_the_log_does_not(firmware: Path, instance: Sigstore) -> None:
    signed = instance.message(CONTENT, promise=False)
    trusted = trust(instance.trusted_root())
    refused = judged(firmware, trusted, signed)
    assert outcomes(refused)["key"] == "fail"
    assert "Nothing proves when it was made" in reason(refused, "key")
    signature = base64.b64decode(signed["messageSignature"]["signature"])
    signed["verificationMaterial"]["timestampVerificationData"] = instance.stamp(signature)
    assert passes(judged(firmware, trusted, signed))


@pytest.mark.parametrize("size, place", [(1, 0), (2, 0), (2, 1), (7, 6), (8, 3), (11, 10), (1000, 512)])
def test_an_entry_anywhere_in_a_log_of_any_size_counts(
    firmware: Path, instance: Sigstore, size: int, place: int
) -> None:
    signed = instance.message(CONTENT, size=size, place=place)
    assert passes(judged(firmware, trust(instance.trusted_root()), signed))


STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "firmware.bin", "digest": {"sha256": hashlib.sha256(CONTENT).hexdigest()}}],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {
        "buildDefinition": {"buildType": "https://forge.example/build", "externalParameters": {}},
        "runDetails": {"builder": {"id": "https://forge.example/runner"}},
    },
}


@pytest.mark.parametrize("kind", ["dsse", "intoto", "hashedrekord"])
def test_a_statement_counts_as_a_file_and_as_the_signature_of_one(
    firmware: Path, instance: Sigstore, tmp_path: Path, kind: str
) -> None:
    signed = instance.statement(STATEMENT, kind=kind)
    builders = ["https://forge.example/runner"]
    trusted = trust(instance.trusted_root(), builders=builders)
    report = judged(firmware, trusted, signed)
    assert passes(report), report.checks
    assert (outcomes(report)["statement"], outcomes(report)["builder"]) == ("pass", "pass")
    alone = tmp_path / "provenance.json"
    alone.write_text(json.dumps(signed))
    report = verify_file(alone, trusted, at=AT, purpose="attestation")
    assert report.outcome.value == "pass", report.checks
    assert report.document["format"] == "sigstore"
    assert outcomes(judged(firmware, trust(instance.trusted_root()), signed))["builder"] == "fail"
    firmware.write_bytes(b"another")
    report = judged(firmware, trusted, signed)
    assert outcomes(report)["signature"] == "fail"
    assert "no subject has this file's digest" in reason(report, "signature")


def test_a_signature_alone_proves_nothing_of_itself(
    tmp_path: Path, instance: Sigstore, bundle: Document
) -> None:
    alone = tmp_path / "firmware.sigstore.json"
    alone.write_text(json.dumps(bundle))
    report = verify_file(alone, trust(instance.trusted_root()), at=AT)
    assert outcomes(report)["format"] == "unreadable"
    assert "signature of another file" in reason(report, "format")


# Refusals: what is done to a good bundle, and the words that name it.
def other_identity(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, instance.signer(subject=SUBJECT + "-not"))


def other_issuer(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, instance.signer(issuer="https://token.other.example"))


def expired_at_the_time(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, at=SIGNED + timedelta(minutes=6))


def before_its_time(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, at=SIGNED - timedelta(minutes=6))


def of_the_future(instance: Sigstore, bundle: Document) -> Document:
    soon = day(0) + timedelta(minutes=7)
    return instance.message(CONTENT, instance.signer(start=soon - timedelta(minutes=1)), at=soon)


def no_timestamp_of_the_certificate(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, instance.signer(sct=False))


def timestamp_of_another_log(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, instance.signer(sct_log=Log("ct.other.example")))


def timestamp_of_another_certificate(instance: Sigstore, bundle: Document) -> Document:
    class Careless(Log):
        def sign(self, message: bytes) -> bytes:
            return super().sign(message.replace(b"forge.example", b"farce.example"))

    log = instance.certificates
    return instance.message(CONTENT, instance.signer(sct_log=Careless(log.host, log.key)))


def not_for_code(instance: Sigstore, bundle: Document) -> Document:
    return instance.message(CONTENT, instance.signer(usages=[ExtendedKeyUsageOID.CLIENT_AUTH]))


def proof_for_another_entry(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    entry_of(made)["inclusionProof"] = instance.log.proof(b"another body", 11, 6)
    return made


def proof_of_another_length(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    entry_of(made)["inclusionProof"]["hashes"].append(b64(bytes(32)))
    return made


def proof_behind_the_end(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    entry_of(made)["inclusionProof"]["logIndex"] = "11"
    return made


def checkpoint_by_somebody_else(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    proof = entry_of(made)["inclusionProof"]
    forged = Log(instance.log.host).checkpoint(11, base64.b64decode(proof["rootHash"]))
    proof["checkpoint"]["envelope"] = forged
    return made


def checkpoint_under_the_log_s_number(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    proof = entry_of(made)["inclusionProof"]
    text, line = proof["checkpoint"]["envelope"].split("\n\n")
    other = Log().sign(text.encode() + b"\n")
    line = f"— {instance.log.host} {b64(instance.log.id[:4] + other)}\n"
    proof["checkpoint"]["envelope"] = f"{text}\n\n{line}"
    return made


def checkpoint_of_another_size(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    proof = entry_of(made)["inclusionProof"]
    other = instance.log.checkpoint(12, base64.b64decode(proof["rootHash"]))
    proof["checkpoint"]["envelope"] = other
    return made


def checkpoint_of_another_origin(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    proof = entry_of(made)["inclusionProof"]
    other = instance.log.checkpoint(11, base64.b64decode(proof["rootHash"]), host="rekor.other.example")
    proof["checkpoint"]["envelope"] = other
    return made


def promise_for_another_time(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    entry_of(made)["integratedTime"] = str(int(entry_of(made)["integratedTime"]) + 1)
    return made


def body_of_another_signature(instance: Sigstore, bundle: Document) -> Document:
    """CVE-2022-36056: the log's entry is good, and about something else."""
    signer = instance.signer()
    made, other = instance.message(CONTENT, signer), instance.message(CONTENT, signer)
    made["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    return made


def body_of_another_certificate(instance: Sigstore, bundle: Document) -> Document:
    made = instance.message(CONTENT)
    body = json.loads(base64.b64decode(entry_of(made)["canonicalizedBody"]))
    body["spec"]["signature"]["publicKey"]["content"] = b64(instance.signer().pem)
    made["verificationMaterial"]["tlogEntries"] = [instance.log.entry("hashedrekord", "0.0.1", compact(body))]
    return made


def body_of_another_file(instance: Sigstore, bundle: Document) -> Document:
    made = instance.message(CONTENT)
    body = json.loads(base64.b64decode(entry_of(made)["canonicalizedBody"]))
    body["spec"]["data"]["hash"]["value"] = hashlib.sha256(b"another").hexdigest()
    made["verificationMaterial"]["tlogEntries"] = [instance.log.entry("hashedrekord", "0.0.1", compact(body))]
    return made


def signature_by_another_key(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    made["messageSignature"]["signature"] = b64(instance.signer().sign(CONTENT))
    return made


def another_digest(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    made["messageSignature"]["messageDigest"]["digest"] = b64(bytes(32))
    return made


def stamp_over_something_else(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    made["verificationMaterial"]["timestampVerificationData"] = instance.stamp(b"something else")
    return made


def stamp_outside_of_the_certificate(instance: Sigstore, bundle: Document) -> Document:
    made = deepcopy(bundle)
    signature = base64.b64decode(made["messageSignature"]["signature"])
    late = instance.stamp(signature, SIGNED + timedelta(minutes=6))
    made["verificationMaterial"]["timestampVerificationData"] = late
    return made


REFUSED = {
    other_identity: ("key", "none of those that are approved"),
    other_issuer: ("key", "not as vouched for by the issuer"),
    expired_at_the_time: ("key", "it had expired at signing"),
    before_its_time: ("key", "is valid only from"),
    of_the_future: ("key", "after the time of receipt"),
    no_timestamp_of_the_certificate: ("key", "no signed certificate timestamp"),
    timestamp_of_another_log: ("key", "is by a certificate log of the trusted root"),
    timestamp_of_another_certificate: ("key", "is about another certificate"),
    not_for_code: ("key", "is not for this"),
    proof_for_another_entry: ("key", "leads to another root"),
    proof_of_another_length: ("key", "another length than the tree is high"),
    proof_behind_the_end: ("key", "for entry 11 in a tree of 11"),
    checkpoint_by_somebody_else: ("key", "checkpoint is not signed by log"),
    checkpoint_under_the_log_s_number: ("key", "checkpoint is not signed by log"),
    checkpoint_of_another_size: ("key", "about another tree"),
    checkpoint_of_another_origin: ("key", "checkpoint is by"),
    promise_for_another_time: ("key", "signed entry timestamp is not by log"),
    body_of_another_signature: ("signature", "about another signature"),
    body_of_another_certificate: ("signature", "about another certificate"),
    body_of_another_file: ("signature", "about another file"),
    signature_by_another_key: ("signature", "not valid under its own certificate"),
    another_digest: ("signature", "its digest is not this file's"),
    stamp_over_something_else: ("key", "over something else than its signature"),
    stamp_outside_of_the_certificate: ("key", "it had expired at signing"),
}
# What we refuse and sigstore-python takes: it compares neither origin nor size of a checkpoint, passes
# over time stamps that do not hold where the log proves a time, and knows no time of receipt.
STRICTER = {
    checkpoint_of_another_origin,
    checkpoint_of_another_size,
    stamp_over_something_else,
    of_the_future,
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_refused_for_what_it_is_and_by_sigstore_python_too(
    firmware: Path, instance: Sigstore, bundle: Document, tmp_path: Path, change: Any
) -> None:
    check, words = REFUSED[change]
    given = change(instance, bundle)
    report = judged(firmware, trust(instance.trusted_root()), given)
    assert outcomes(report)[check] == "fail", report.checks
    assert words in reason(report, check)
    assert report.document["signatures"][0]["signer"] is None
    assert theirs(firmware, instance.trusted_root(), given, tmp_path) == (change in STRICTER)


def test_sigstore_python_takes_what_we_take(
    firmware: Path, instance: Sigstore, bundle: Document, tmp_path: Path
) -> None:
    stamped = instance.message(CONTENT, promise=False)
    signature = base64.b64decode(stamped["messageSignature"]["signature"])
    stamped["verificationMaterial"]["timestampVerificationData"] = instance.stamp(signature)
    good = [
        bundle,
        older(bundle, "0.1"),
        older(bundle, "0.2"),
        stamped,
        instance.statement(STATEMENT),
        instance.statement(STATEMENT, kind="hashedrekord"),
    ]
    # Rekor 2 writes no time of its own.
    late = entry_of(good[-1])
    del late["inclusionPromise"], late["integratedTime"]
    signature = base64.b64decode(good[-1]["dsseEnvelope"]["signatures"][0]["sig"])
    good[-1]["verificationMaterial"]["timestampVerificationData"] = instance.stamp(signature)
    for given in good:
        assert passes(judged(firmware, trust(instance.trusted_root()), given))
        assert theirs(firmware, instance.trusted_root(), given, tmp_path)


def test_a_changed_file_is_refused(firmware: Path, instance: Sigstore, bundle: Document) -> None:
    firmware.write_bytes(CONTENT + b"\0")
    report = judged(firmware, trust(instance.trusted_root()), bundle)
    assert outcomes(report)["signature"] == "fail"


def test_another_root_is_refused(firmware: Path, instance: Sigstore, bundle: Document) -> None:
    report = judged(firmware, trust(Sigstore.make().trusted_root()), bundle)
    assert "none of the trusted root" in reason(report, "key")
    # The same logs, another authority of the same name.
    other = Sigstore.make()
    other.log, other.certificates = instance.log, instance.certificates
    report = judged(firmware, trust(other.trusted_root()), bundle)
    assert outcomes(report)["key"] == "fail"
    assert "is not signed with its key" in reason(report, "key")
    report = judged(firmware, Trust.parse('{"version": 1, "keys": []}'), bundle)
    assert "No Sigstore instance is approved" in reason(report, "key")


def test_the_root_s_own_limits_hold(firmware: Path, instance: Sigstore, bundle: Document) -> None:
    ended = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
    for member, words in [
        ("tlogs", "does not count at"),
        ("ctlogs", "did not count"),
        ("certificateAuthorities", "no certificate authority of the trusted root counts"),
    ]:
        limited = instance.trusted_root()
        part = limited[member][0]
        (part if "validFor" in part else part["publicKey"])["validFor"] = ended
        report = judged(firmware, trust(limited), bundle)
        assert outcomes(report)["key"] == "fail"
        assert words.lower() in reason(report, "key").lower()


@pytest.mark.parametrize(
    "limit, words",
    [
        ({"purposes": ["manifest"]}, "not for firmware"),
        ({"not_before": "2026-11-01T00:00:00Z"}, "is approved from"),
        ({"not_after": "2026-10-01T00:00:00Z"}, "was approved until"),
        ({"distrusted_from": "2026-10-01T00:00:00Z"}, "is distrusted from"),
    ],
)
def test_the_trust_file_limits_an_instance(
    firmware: Path, instance: Sigstore, bundle: Document, limit: Document, words: str
) -> None:
    report = judged(firmware, trust(instance.trusted_root(), **limit), bundle)
    assert outcomes(report)["key"] == "fail"
    assert words in reason(report, "key")


def test_a_clock_that_nobody_named_does_not_count(firmware: Path, instance: Sigstore) -> None:
    other = root("Clock root").issue(
        "Clock", usages=[ExtendedKeyUsageOID.TIME_STAMPING], critical_usages=True
    )
    signed = instance.message(CONTENT, promise=False)
    signature = base64.b64decode(signed["messageSignature"]["signature"])
    signed["verificationMaterial"]["timestampVerificationData"] = instance.stamp(signature, clock=other)
    report = judged(firmware, trust(instance.trusted_root()), signed)
    assert outcomes(report)["key"] == "fail"
    assert "time stamp does not count" in reason(report, "key")


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda made: made.update(mediaType="application/vnd.dev.sigstore.bundle.v0.9+json"),
            "0.1, 0.2 or 0.3",
        ),
        (lambda made: made.pop("messageSignature"), "either messageSignature or dsseEnvelope"),
        (lambda made: made.update(somethingNew=1), "not known here"),
        (lambda made: entry_of(made).pop("inclusionProof"), "needs an inclusion proof"),
        (lambda made: entry_of(made).update(logIndex="-1"), "whole number"),
        (lambda made: made["verificationMaterial"].update(tlogEntries=[]), "expected one entry"),
        (
            lambda made: made["verificationMaterial"].update(publicKey={"hint": "x"}, certificate=None),
            "a key of its own",
        ),
        (lambda made: made["messageSignature"].update(signature="AB=="), "strict base64"),
    ],
)
def test_what_is_not_supported_is_unreadable(
    firmware: Path, instance: Sigstore, bundle: Document, change: Any, words: str
) -> None:
    made = deepcopy(bundle)
    change(made)
    report = judged(firmware, trust(instance.trusted_root()), made)
    assert outcomes(report)["signature"] == "unreadable"
    assert words in reason(report, "signature")


def test_a_double_member_is_unreadable(firmware: Path, instance: Sigstore, bundle: Document) -> None:
    text = json.dumps(bundle)
    twice = text.replace('"integratedTime"', '"integratedTime": "1", "integratedTime"', 1)
    report = judged(firmware, trust(instance.trusted_root()), twice.encode())
    assert outcomes(report)["signature"] == "unreadable"
    assert "appears twice" in reason(report, "signature")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda entry: entry.update(identities=[]), "identities: expected 1 to"),
        (lambda entry: entry.update(identities=[{"issuer": ISSUER, "subject": ""}]), "must not be empty"),
        (lambda entry: entry["trusted_root"].update(tlogs=[]), "tlogs: expected at least one"),
        (lambda entry: entry["trusted_root"].update(extra=1), "not known here"),
        (lambda entry: entry["trusted_root"]["tlogs"][0]["publicKey"]["validFor"].pop("start"), '"start"'),
        (
            lambda entry: entry["trusted_root"]["tlogs"][0]["publicKey"].update(keyDetails="PKIX_ED25519"),
            "it is no PKIX_ED25519 key",
        ),
        (lambda entry: entry["trusted_root"].update(mediaType="text/plain"), "mediaType"),
    ],
)
def test_a_trusted_root_is_read_strictly(instance: Sigstore, change: Any, words: str) -> None:
    entry = {"id": "forge", "trusted_root": instance.trusted_root(), "identities": IDENTITIES}
    change(entry)
    with pytest.raises(TrustError, match=r"sigstore\[0\]") as refused:
        Trust.parse(json.dumps({"version": 1, "keys": [], "sigstore": [entry]}))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "name, instance_name, subject, issuer",
    [
        (
            "pypi_attestation_models-0.0.4a2.tar.gz",
            "sigstore.dev",
            "https://github.com/trailofbits/pypi-attestation-models/.github/workflows/release.yml@refs/tags/v0.0.4a2",
            "https://token.actions.githubusercontent.com",
        ),
        (
            "rfc8785-0.1.2-py3-none-any.whl",
            "sigstage.dev",
            "william@yossarian.net",
            "https://github.com/login/oauth",
        ),
    ],
)
def test_bundles_of_the_public_instances_count(
    name: str, instance_name: str, subject: str, issuer: str
) -> None:
    store = importlib.resources.files("sigstore") / "_store"
    (folder,) = [each for each in store.iterdir() if each.name.endswith(instance_name)]
    trusted_root = json.loads((folder / "trusted_root.json").read_text())
    signature = (VECTORS / f"{name}.sigstore").read_bytes()
    report = judged(
        VECTORS / name, trust(trusted_root, identities=[{"issuer": issuer, "subject": subject}]), signature
    )
    assert passes(report), report.checks
    report = judged(VECTORS / name, trust(trusted_root), signature)
    assert "none of those that are approved" in reason(report, "key")
