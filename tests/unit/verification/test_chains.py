"""Chains of certificates: what counts, what is refused and by which words; beside openssl and pyca."""

import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from portal.verification import FileReport, Root, Trust, verify_file
from tests.unit.verification.authority import CODE_SIGNING, NOW, Identity, day, root
from tests.unit.verification.conftest import AT
from tests.unit.verification.syntax import Signer, parsed, raw_signature, signed_data
from tests.unit.verification.test_firmware import outcomes, reason

CONTENT = b"\x01" * 1000
EMAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION


@pytest.fixture(scope="module")
def anchor() -> Identity:
    return root()


@pytest.fixture(scope="module")
def between(anchor: Identity) -> Identity:
    return anchor.issue("Issuing", authority=True)


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(CONTENT)
    return path


def trusting(*anchors: Identity, options: dict[str, Any] | None = None, **members: Any) -> Trust:
    roots = [Root(f"root {place}", anchor.pem, **(options or {})) for place, anchor in enumerate(anchors)]
    return Trust.build([], roots=roots, **members)


def judged(path: Path, trust: Trust, leaf: Identity, *others: Identity, at: datetime = NOW) -> FileReport:
    signature = signed_data(CONTENT, Signer(leaf), certificates=others)
    return verify_file(path, trust, at=at.timestamp(), signature=signature)


def refusal(path: Path, trust: Trust, leaf: Identity, *others: Identity, at: datetime = NOW) -> str:
    report = judged(path, trust, leaf, *others, at=at)
    checks = outcomes(report)
    assert "fail" in (checks["signature"], checks["key"]), report.checks
    assert report.document["signatures"][0]["signer"] is None
    return reason(report, "key" if checks["key"] == "fail" else "signature")


def accepted(path: Path, trust: Trust, leaf: Identity, *others: Identity, at: datetime = NOW) -> str:
    report = judged(path, trust, leaf, *others, at=at)
    assert outcomes(report)["key"] == "pass", report.checks
    return reason(report, "key")


def test_an_expired_certificate_without_a_time_stamp_is_refused(firmware: Path, anchor: Identity) -> None:
    leaf = anchor.issue("Signer", start=day(-100), end=day(-1))
    trust = trusting(anchor)
    assert "had expired at signing" in refusal(firmware, trust, leaf)
    accepted(firmware, trust, leaf, at=day(-50))
    assert "valid only from" in refusal(firmware, trust, leaf, at=day(-101))
    short = anchor.issue("Issuing", authority=True, end=day(-1))
    below = short.issue("Signer")
    assert "CN=Issuing" in refusal(firmware, trust, below, short)
    old = root("Old", start=day(-1000), end=day(-1))
    assert "CN=Old" in refusal(firmware, trusting(old), old.issue("Signer"))


def test_a_key_compromise_refuses_whatever_the_date(
    firmware: Path, anchor: Identity, between: Identity
) -> None:
    leaf = between.issue("Signer")
    flags = x509.ReasonFlags
    for date, flag, word in [
        (day(10), flags.key_compromise, "its key was compromised"),
        (day(10), flags.ca_compromise, "authority was compromised"),
        (day(-10), flags.superseded, "before the time that counts"),
        (day(-10), None, "before the time that counts"),
        (day(-10), flags.certificate_hold, "on hold"),
    ]:
        trust = trusting(anchor, crls=[between.revoke((leaf, date, flag))])
        assert word in refusal(firmware, trust, leaf, between)
    later = trusting(anchor, crls=[between.revoke((leaf, day(10), flags.superseded))])
    assert "revoked later" in accepted(firmware, later, leaf, between)
    authority = trusting(anchor, crls=[anchor.revoke((between, day(-10), None))])
    assert "CN=Issuing" in refusal(firmware, authority, leaf, between)
    two = [
        between.revoke((leaf, day(-10), flags.superseded)),
        between.revoke((leaf, day(10), flags.key_compromise)),
    ]
    assert "compromised" in refusal(firmware, trusting(anchor, crls=two), leaf, between)


def test_an_invalidity_date_counts_from_then_on(firmware: Path, anchor: Identity) -> None:
    leaf = anchor.issue("Signer")
    entry = (
        x509.RevokedCertificateBuilder()
        .serial_number(leaf.certificate.serial_number)
        .revocation_date(day(5))
        .add_extension(x509.InvalidityDate(day(-20).replace(tzinfo=None)), critical=False)
    )
    builder = x509.CertificateRevocationListBuilder().issuer_name(anchor.certificate.subject)
    builder = builder.last_update(day(-1)).next_update(day(30)).add_revoked_certificate(entry.build())
    assert isinstance(anchor.key, ec.EllipticCurvePrivateKey)
    pem = builder.sign(anchor.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    trust = trusting(anchor, crls=[pem.decode()])
    assert "before the time that counts" in refusal(firmware, trust, leaf)
    assert "revoked later" in accepted(firmware, trust, leaf, at=day(-30))


def test_a_list_that_proves_nothing_refuses_only_where_lists_are_required(
    firmware: Path, anchor: Identity, between: Identity
) -> None:
    leaf = between.issue("Signer")
    other = root("Nordhaven Root")  # the name of the anchor, another key
    blind = anchor.issue("Blind", authority=True, bits={"key_cert_sign": True})
    seen = blind.issue("Signer")
    good = anchor.revoke()
    for lists, signer, above, word in [
        ([good], leaf, between, "no revocation list by CN=Issuing"),
        ([good, between.revoke(made=day(-60), until=day(-30))], leaf, between, "was good until"),
        ([good, between.revoke(key=other.key)], leaf, between, "not signed by its key"),
        ([other.revoke(), between.revoke()], leaf, between, "not signed by its key"),
        ([good, blind.revoke()], seen, blind, "may not sign revocation lists"),
    ]:
        required = trusting(anchor, crls=lists, revocation="required")
        assert word in refusal(firmware, required, signer, above)
        note = accepted(firmware, trusting(anchor, crls=lists), signer, above)
        assert "no revocation list" in word or word in note
    complete = trusting(anchor, crls=[good, between.revoke()], revocation="required")
    assert "revoked" not in accepted(firmware, complete, leaf, between)
    # What a stale list names stays revoked.
    stale = between.revoke((leaf, day(-50), None), made=day(-60), until=day(-30))
    assert "before the time that counts" in refusal(firmware, trusting(anchor, crls=[stale]), leaf, between)


def test_lists_of_a_kind_that_is_not_understood_are_refused_when_trust_is_read(anchor: Identity) -> None:
    def point(names: list[x509.GeneralName] | None, **bits: bool) -> x509.IssuingDistributionPoint:
        every = (
            "only_contains_user_certs",
            "only_contains_ca_certs",
            "indirect_crl",
            "only_contains_attribute_certs",
        )
        return x509.IssuingDistributionPoint(
            full_name=names,
            relative_name=None,
            only_some_reasons=None,
            **{bit: bits.get(bit, False) for bit in every},
        )

    indirect = point(None, indirect_crl=True)
    partial = point([x509.UniformResourceIdentifier("http://x")])
    for extension, word in [
        (x509.DeltaCRLIndicator(1), "delta list"),
        (indirect, "give a complete list"),
        (partial, "one distribution point"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), "not known"),
    ]:
        with pytest.raises(Exception, match=word):
            trusting(anchor, crls=[anchor.revoke(extensions=[(extension, True)])])


def constraints(
    permitted: list[x509.GeneralName] | None = None, excluded: list[x509.GeneralName] | None = None
) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.NameConstraints(permitted, excluded), True)]


def alternative(*names: x509.GeneralName) -> list[tuple[x509.ExtensionType, bool]]:
    return [(x509.SubjectAlternativeName(names), False)]


UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


def test_a_leaf_that_is_an_authority_is_refused(firmware: Path, anchor: Identity) -> None:
    leaf = anchor.issue("Signer", authority=True, bits={"digital_signature": True, "key_cert_sign": True})
    assert "CA:TRUE" in refusal(firmware, trusting(anchor, options={"usages": ("any",)}), leaf)
    self_signed = root("Self", usages=[CODE_SIGNING], bits={"digital_signature": True})
    assert "CA:TRUE" in refusal(firmware, trusting(self_signed), self_signed)


def test_a_leaf_without_the_code_signing_usage_is_refused(firmware: Path, anchor: Identity) -> None:
    none, mail = anchor.issue("None", usages=[]), anchor.issue("Mail", usages=[EMAIL])
    every = anchor.issue("Every", usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    for leaf, word in [(none, "absent"), (mail, "1.3.6.1.5.5.7.3.4"), (every, "2.5.29.37.0")]:
        assert word in refusal(firmware, trusting(anchor), leaf)
        accepted(firmware, trusting(anchor, options={"usages": ("any",)}), leaf)
    accepted(firmware, trusting(anchor, options={"usages": ("codeSigning", "emailProtection")}), mail)
    accepted(firmware, trusting(anchor, options={"usages": ("1.3.6.1.5.5.7.3.4",)}), mail)
    # An authority for mail only cannot make signers of code.
    narrow = anchor.issue("Narrow", authority=True, usages=[EMAIL])
    assert "its authority may certify" in refusal(firmware, trusting(anchor), narrow.issue("Signer"), narrow)


def test_a_leaf_that_may_not_sign_is_refused(firmware: Path, anchor: Identity) -> None:
    leaf = anchor.issue("Signer", bits={"key_encipherment": True})
    assert "digitalSignature" in refusal(firmware, trusting(anchor), leaf)
    accepted(firmware, trusting(anchor), anchor.issue("Signer", bits={}))


def test_an_unknown_critical_extension_is_refused(firmware: Path, anchor: Identity) -> None:
    assert "1.2.3.4.5" in refusal(firmware, trusting(anchor), anchor.issue("S", extensions=[(UNKNOWN, True)]))
    accepted(firmware, trusting(anchor), anchor.issue("S", extensions=[(UNKNOWN, False)]))
    above = anchor.issue("Issuing", authority=True, extensions=[(UNKNOWN, True)])
    assert "1.2.3.4.5" in refusal(firmware, trusting(anchor), above.issue("S"), above)
    policy = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
    above = anchor.issue("Issuing", authority=True, extensions=[(policy, True)])
    assert "policies" in refusal(firmware, trusting(anchor), above.issue("S"), above)


@pytest.mark.parametrize(
    ("extension", "names", "allowed"),
    [
        (constraints([x509.DNSName("example.com")]), [x509.DNSName("a.example.com")], True),
        (constraints([x509.DNSName("example.com")]), [x509.DNSName("*.example.com")], True),
        (constraints([x509.DNSName("example.com")]), [x509.DNSName("example.org")], False),
        (constraints([x509.DNSName("host.example.com")]), [x509.DNSName("*.example.com")], False),
        (constraints(None, [x509.DNSName("host.example.com")]), [x509.DNSName("*.example.com")], False),
        (
            constraints([x509.UniformResourceIdentifier(".example.com")]),
            [x509.UniformResourceIdentifier("https://a.example.com/x")],
            True,
        ),
        (
            constraints([x509.UniformResourceIdentifier(".example.com")]),
            [x509.UniformResourceIdentifier("https://example.org/?.example.com")],
            False,
        ),
        (
            constraints(None, [x509.UniformResourceIdentifier("example.com")]),
            [x509.UniformResourceIdentifier("urn:no:host")],
            False,
        ),
        (constraints([x509.RFC822Name("example.com")]), [x509.RFC822Name("a@example.com")], True),
        (constraints([x509.RFC822Name("example.com")]), [x509.RFC822Name("a@b.example.com")], False),
        (constraints([x509.RFC822Name("example.com")]), [x509.DNSName("other.org")], True),
        (
            constraints([x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")]),
            [x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00")],
            False,
        ),
    ],
)
def test_name_constraints(
    firmware: Path, anchor: Identity, extension: Any, names: list[x509.GeneralName], allowed: bool
) -> None:
    above = anchor.issue("Issuing", authority=True, extensions=extension)
    leaf = above.issue("Signer", extensions=alternative(*names))
    if allowed:
        accepted(firmware, trusting(anchor), leaf, above)
    else:
        assert "name constraints of" in refusal(firmware, trusting(anchor), leaf, above)


def test_subjects_lie_below_the_permitted_directory(firmware: Path, anchor: Identity) -> None:
    tree = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NO")])
    other = x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "SE")])
    for permitted, excluded, allowed in [(tree, None, True), (other, None, False), (None, tree, False)]:
        extension = constraints(
            [x509.DirectoryName(permitted)] if permitted else None,
            [x509.DirectoryName(excluded)] if excluded else None,
        )
        above = anchor.issue("Issuing", authority=True, extensions=extension)
        leaf = above.issue("Signer")
        if allowed:
            accepted(firmware, trusting(anchor), leaf, above)
        else:
            assert "directory name" in refusal(firmware, trusting(anchor), leaf, above)


def test_a_path_longer_than_its_authority_allows_is_refused(firmware: Path, anchor: Identity) -> None:
    one = anchor.issue("One", authority=True, path_length=0)
    two = one.issue("Two", authority=True)
    assert "pathLenConstraint" in refusal(firmware, trusting(anchor), two.issue("Signer"), one, two)
    accepted(firmware, trusting(anchor), one.issue("Signer"), one)


def test_one_that_is_no_authority_issues_nothing(firmware: Path, anchor: Identity) -> None:
    leaf = anchor.issue("Leaf", bits={})
    assert "basicConstraints" in refusal(firmware, trusting(anchor), leaf.issue("Signer"), leaf)
    crl_only = anchor.issue("Lists", authority=True, bits={"crl_sign": True})
    assert "keyCertSign" in refusal(firmware, trusting(anchor), crl_only.issue("Signer"), crl_only)


def test_a_chain_loop_is_refused_fast(firmware: Path, anchor: Identity) -> None:
    one, two = root("One"), root("Two")
    crossed = [
        Identity(one.issue("Two", key=two.key, authority=True).certificate, two.key),
        Identity(two.issue("One", key=one.key, authority=True).certificate, one.key),
    ]
    leaf = one.issue("Signer")
    began = time.perf_counter()
    why = refusal(firmware, trusting(anchor), leaf, *crossed, one, two)
    assert time.perf_counter() - began < 1
    assert "circle" in why


def test_a_cross_sign_explosion_is_refused_fast(firmware: Path, anchor: Identity) -> None:
    """Every authority signed every other one, and none of them leads to a root."""
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(7)]
    tops = [root(f"A{place}", key) for place, key in enumerate(keys)]
    crossed = [
        above.issue(f"A{place}", key=keys[place], authority=True)
        for above in tops
        for place in range(len(keys))
        if tops[place] is not above
    ]
    began = time.perf_counter()
    why = refusal(firmware, trusting(anchor), tops[0].issue("Signer"), *crossed)
    assert time.perf_counter() - began < 1
    assert "too many ways" in why or "circle" in why or "no approved root" in why


def test_a_longer_chain_than_sane_is_refused(firmware: Path, anchor: Identity) -> None:
    chain = [anchor.issue("L0", authority=True)]
    for depth in range(1, 9):
        chain.append(chain[-1].issue(f"L{depth}", authority=True))
    accepted(firmware, trusting(anchor), chain[7].issue("Signer"), *chain[:8])
    assert "More than 8" in refusal(firmware, trusting(anchor), chain[8].issue("Signer"), *chain)


def test_weak_keys_and_hashes_are_refused_by_name(firmware: Path, anchor: Identity) -> None:
    short = anchor.issue("Short", key=rsa.generate_private_key(65537, 1024), authority=True)
    assert "RSA-1024 can be broken" in refusal(firmware, trusting(anchor), short.issue("Signer"), short)
    three = anchor.issue("Three", key=rsa.generate_private_key(3, 2048), authority=True)
    assert "exponent 0x03" in refusal(firmware, trusting(anchor), three.issue("Signer"), three)
    leaf = anchor.issue("Signer")
    for digest, word in [("sha1", "ECDSA with SHA-1"), ("sha224", "1.2.840.10045.4.3.1 is not supported")]:
        again = parsed(leaf)
        again["tbs_certificate"]["signature"] = {"algorithm": f"{digest}_ecdsa"}
        again["signature_algorithm"] = {"algorithm": f"{digest}_ecdsa"}
        again["signature_value"] = raw_signature(anchor.key, again["tbs_certificate"].dump(), digest)[1]
        old = Identity(x509.load_der_x509_certificate(again.dump()), leaf.key)
        assert word in refusal(firmware, trusting(anchor), old)


def test_the_trust_file_says_for_what_and_whom_a_root_speaks(firmware: Path, anchor: Identity) -> None:
    leaf = anchor.issue("Signer")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"purposes": ("manifest",)}, "approved for manifest, not for firmware"),
        ({"subjects": ("CN=Other",)}, "certain signers only"),
        ({"distrusted_from": day(-1)}, "distrusted from"),
        ({"not_before": day(1)}, "approved from"),
        ({"not_after": day(-1)}, "approved until"),
    ]
    for options, word in cases:
        assert word in refusal(firmware, trusting(anchor, options=options), leaf)
    for subject in (leaf.subject, leaf.fingerprint):
        accepted(firmware, trusting(anchor, options={"subjects": ("CN=Other", subject)}), leaf)


def test_the_right_one_of_several_chains_is_found(firmware: Path, anchor: Identity) -> None:
    """An authority with an expired, a foreign and a good certificate of the same name and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    expired = anchor.issue("Issuing", key=key, authority=True, end=day(-1))
    foreign = root("Foreign").issue("Issuing", key=key, authority=True)
    good = anchor.issue("Issuing", key=key, authority=True)
    namesake = anchor.issue("Issuing", authority=True)
    leaf = good.issue("Signer")
    for order in ([expired, foreign, namesake, good], [good, namesake, foreign, expired]):
        accepted(firmware, trusting(anchor), leaf, *order)
    assert "expired" in refusal(firmware, trusting(anchor), leaf, expired, foreign)
    assert "not signed with its key" in refusal(firmware, trusting(anchor), leaf, namesake)
    # And of two roots of one name.
    accepted(firmware, trusting(root(), anchor), leaf, good)


# Beside others.

Case = Callable[[Identity], tuple[Identity, list[Identity]]]


def chain_of(**options: Any) -> Case:
    def make(anchor: Identity) -> tuple[Identity, list[Identity]]:
        above = anchor.issue("Issuing", authority=True, **options)
        return above.issue("Signer"), [above]

    return make


def leaf_of(**options: Any) -> Case:
    return lambda anchor: (anchor.issue("Signer", **options), [])


CASES: dict[str, tuple[Case, bool]] = {
    "good": (chain_of(), True),
    "direct": (leaf_of(), True),
    "not yet valid": (leaf_of(start=day(10)), False),
    "expired": (leaf_of(end=day(-1)), False),
    "expired authority": (chain_of(end=day(-1)), False),
    "no keyCertSign": (chain_of(bits={"crl_sign": True}), False),
    "unknown critical": (leaf_of(extensions=[(UNKNOWN, True)]), False),
    "constraint that does not concern it": (
        chain_of(extensions=constraints([x509.DNSName("example.com")])),
        True,
    ),
    "directory excluded": (
        chain_of(
            extensions=constraints(
                None, [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NO")]))]
            )
        ),
        False,
    ),
    "directory permitted": (
        chain_of(
            extensions=constraints(
                [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COUNTRY_NAME, "NO")]))]
            )
        ),
        True,
    ),
    "no usage": (leaf_of(usages=[]), False),
    "for mail": (leaf_of(usages=[EMAIL]), False),
    "authority": (leaf_of(authority=True, usages=[CODE_SIGNING]), False),
}
#: Where an independent verifier says otherwise than we do, and why.
OPENSSL_DIFFERS = {
    "no usage": "for openssl a certificate without usages is good for all",
    "authority": "openssl lets authorities sign",
}
PYCA_DIFFERS = {
    "directory permitted": "pyca refuses every chain with constraints on directories",
    "authority": "by a policy that only asks for the usage pyca lets authorities sign",
}


def by_openssl(folder: Path, anchor: Identity, leaf: Identity, others: list[Identity]) -> bool:
    for stem, pems in [("a", [anchor.pem]), ("l", [leaf.pem]), ("o", [other.pem for other in others])]:
        (folder / f"{stem}.pem").write_text("".join(pems))
    command: list[str | Path] = [
        "openssl",
        "verify",
        "-x509_strict",
        "-CAfile",
        folder / "a.pem",
        "-attime",
        str(int(AT)),
    ]
    if others:
        command += ["-untrusted", folder / "o.pem"]
    done = subprocess.run([*command, folder / "l.pem"], capture_output=True)
    if done.returncode != 0:
        return False
    # Debian 12's `openssl verify` knows no purpose for code: its usages are looked at here.
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "extendedKeyUsage", "-in", folder / "l.pem"],
        capture_output=True,
    ).stdout
    return b"Code Signing" in shown or b"X509v3" not in shown


def by_pyca(anchor: Identity, leaf: Identity, others: list[Identity]) -> bool:
    def usage(_policy: object, _certificate: x509.Certificate, found: x509.ExtendedKeyUsage | None) -> None:
        if found is None or CODE_SIGNING not in found:
            raise ValueError("not for code")

    present, agnostic = verification.ExtensionPolicy.permit_all(), verification.Criticality.AGNOSTIC
    policy = present.require_present(x509.ExtendedKeyUsage, agnostic, usage)
    builder = verification.PolicyBuilder().store(verification.Store([anchor.certificate]))
    builder = builder.time(NOW).extension_policies(
        ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy
    )
    try:
        builder.build_client_verifier().verify(leaf.certificate, [other.certificate for other in others])
    except verification.VerificationError:
        return False
    return True


@pytest.mark.parametrize("name", CASES)
def test_openssl_and_pyca_say_the_same(name: str, firmware: Path, anchor: Identity) -> None:
    make, expected = CASES[name]
    leaf, others = make(anchor)
    ours = outcomes(judged(firmware, trusting(anchor), leaf, *others))["key"] == "pass"
    assert ours == expected
    assert (by_openssl(firmware.parent, anchor, leaf, others) == ours) == (name not in OPENSSL_DIFFERS)
    assert (by_pyca(anchor, leaf, others) == ours) == (name not in PYCA_DIFFERS)
