"""CMS signatures by openssl, detached and attached, by pinned keys and by chains; and what is refused."""

import hashlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from portal.verification import FileReport, KeyOptions, Outcome, Root, Trust, TrustKey, verify_file
from tests.unit.verification.authority import Identity, PrivateKey, day, root
from tests.unit.verification.conftest import AT, run
from tests.unit.verification.syntax import Attribute, Signer, parsed, signed_data
from tests.unit.verification.test_firmware import outcomes, reason

KEYS: dict[str, Callable[[], PrivateKey]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 3072),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class World:
    """A root, an authority below it, and signers below that, made once."""

    root: Identity
    between: Identity
    signers: dict[str, Identity]

    def trust(self, **options: object) -> Trust:
        return Trust.build([], roots=[Root("vendor", self.root.pem, **options)])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world() -> World:
    top = root()
    between = top.issue("Issuing", authority=True, path_length=0)
    return World(top, between, {name: between.issue(name, key=make()) for name, make in KEYS.items()})


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.bin"
    path.write_bytes(b"\x01firmware" + bytes(300_000))
    return path


def sign(
    path: Path, *signers: Identity, options: tuple[str, ...] = (), others: tuple[Identity, ...] = ()
) -> bytes:
    """`openssl cms -sign`, detached DER unless the options say otherwise."""
    arguments: list[str | Path] = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-in", path]
    for place, signer in enumerate(signers):
        certificate, key = signer.write(path.parent, f"signer{place}")
        arguments += ["-signer", certificate, "-inkey", key]
    if others:
        chain = path.parent / "chain.pem"
        chain.write_text("".join(other.pem for other in others))
        arguments += ["-certfile", chain]
    return run(*arguments, *options)


def openssl_accepts(path: Path, signature: bytes, anchor: Identity, *options: str) -> bool:
    (path.parent / "sig.der").write_bytes(signature)
    (path.parent / "anchor.pem").write_text(anchor.pem)
    arguments: list[str | Path] = [
        *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", path.parent / "sig.der"),
        *("-content", path, "-CAfile", path.parent / "anchor.pem", "-purpose", "any", "-out", "/dev/null"),
        *("-attime", str(int(AT))),
    ]
    return subprocess.run([*arguments, *options], capture_output=True).returncode == 0


def verify(
    path: Path, trust: Trust, signature: bytes | None = None, at: float = AT, **more: bytes
) -> FileReport:
    return verify_file(path, trust, at=at, signature=signature, **more)  # type: ignore[arg-type]


def proven(report: FileReport) -> bool:
    checks = outcomes(report)
    return all(checks[name] == "pass" for name in ("signed", "signature", "key", "algorithm"))


PSS = ("-keyopt", "rsa_padding_mode:pss")


@pytest.mark.parametrize(
    ("signer", "options"),
    [
        ("rsa", ("-md", "sha256")),
        ("rsa", ("-md", "sha512")),
        ("rsa", (*PSS, "-md", "sha256", "-keyopt", "rsa_pss_saltlen:digest")),
        ("rsa", (*PSS, "-md", "sha384", "-keyopt", "rsa_pss_saltlen:max")),
        ("rsa", ("-keyid",)),
        ("p256", ("-md", "sha256")),
        ("p256", ("-noattr",)),
        ("p256", ("-nosmimecap", "-md", "sha384")),
        ("p384", ("-md", "sha384")),
    ],
)
def test_a_chain_to_an_approved_root_counts(
    firmware: Path, world: World, signer: str, options: tuple[str, ...]
) -> None:
    signature = sign(firmware, world.signers[signer], options=options, others=(world.between,))
    assert openssl_accepts(firmware, signature, world.root)
    report = verify(firmware, world.trust(), signature)
    assert proven(report), report.checks
    (found,) = report.document["signatures"]
    assert found["signer"]["id"] == "vendor"
    assert [entry["subject"].split(",")[0] for entry in found["signer"]["chain"]] == [
        f"CN={signer}",
        "CN=Issuing",
        "CN=Nordhaven Root",
    ]
    assert "RFC 5652" in found["rule"]
    assert report.document["signature_file"]["form"] == "cms"

    firmware.write_bytes(firmware.read_bytes() + b"\0")
    assert not openssl_accepts(firmware, signature, world.root)
    changed = verify(firmware, world.trust(), signature)
    assert outcomes(changed)["signature"] == "fail"
    assert not proven(changed)


def test_a_pinned_key_needs_no_chain(firmware: Path, world: World) -> None:
    signer = world.signers["p256"]
    for pem in (
        signer.pem,
        run("openssl", "x509", "-pubkey", "-noout", "-in", signer.write(firmware.parent, "s")[0]),
    ):
        text = pem if isinstance(pem, str) else pem.decode()
        trust = Trust.build([TrustKey("pinned", text)])
        for options in [(), ("-nocerts",), ("-keyid",), ("-nocerts", "-keyid")]:
            report = verify(firmware, trust, sign(firmware, signer, options=options))
            assert proven(report), report.checks
            assert report.key_id == "pinned"
    other = Trust.build([TrustKey("pinned", world.signers["p384"].pem)])
    refused = verify(firmware, other, sign(firmware, signer, options=("-nocerts",)))
    assert outcomes(refused)["key"] == "fail"
    assert "not at hand" in reason(refused, "signature")


def test_a_distrusted_pinned_key_is_not_saved_by_its_chain(firmware: Path, world: World) -> None:
    signer = world.signers["p256"]
    trust = Trust.build(
        [TrustKey("old", signer.pem, distrusted_from=day(-1))], roots=[Root("vendor", world.root.pem)]
    )
    report = verify(firmware, trust, sign(firmware, signer, others=(world.between,)))
    assert outcomes(report)["key"] == "fail"
    assert "distrusted" in reason(report, "key")


def test_pem_and_the_python_builder_make_the_same(firmware: Path, world: World) -> None:
    signer = world.signers["rsa"]
    der = sign(firmware, signer, others=(world.between,))
    pem = sign(firmware, signer, others=(world.between,), options=("-outform", "PEM"))
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    built = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(firmware.read_bytes())
        .add_signer(signer.certificate, signer.key, hashes.SHA256())
        .add_certificate(world.between.certificate)
        .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
    )
    for signature in (der, pem, built):
        assert proven(verify(firmware, world.trust(), signature))


def test_the_chain_may_come_beside_the_signature(firmware: Path, world: World) -> None:
    signature = sign(firmware, world.signers["p256"])
    alone = verify(firmware, world.trust(), signature)
    assert outcomes(alone)["key"] == "fail"
    assert "who issued CN=p256" in reason(alone, "key")
    assert proven(verify(firmware, world.trust(), signature, certificates=world.between.pem.encode()))
    trust = Trust.build([], roots=[Root("vendor", world.root.pem)], intermediates=[world.between.pem])
    assert proven(verify(firmware, trust, signature))
    bare = sign(firmware, world.signers["p256"], options=("-nocerts",))
    both = (world.signers["p256"].pem + world.between.pem).encode()
    assert proven(verify(firmware, world.trust(), bare, certificates=both))
    damaged = verify(firmware, world.trust(), bare, certificates=b"nothing")
    assert outcomes(damaged)["certificates"] == "unreadable"


def test_attached_content(tmp_path: Path, world: World) -> None:
    for size, options in [(11, ()), (200_000, ()), (200_000, ("-stream",)), (5_000, ("-outform", "PEM"))]:
        content = tmp_path / "content"
        content.write_bytes(b"x" * size)
        path = tmp_path / "firmware.p7m"
        path.write_bytes(
            sign(content, world.signers["p256"], options=("-nodetach", *options), others=(world.between,))
        )
        report = verify(path, world.trust())
        assert report.format == "cms"
        assert report.outcome is Outcome.PASS, report.checks
        assert report.claims["content_size"] == size
        assert report.claims["signers"][0]["signer"].startswith("CN=p256")
        if "PEM" not in options:
            path.write_bytes(path.read_bytes().replace(b"xxxxx", b"xxyxx", 1))
            assert outcomes(verify(path, world.trust()))["signature"] == "fail"


def test_a_detached_signature_as_a_file_of_its_own_says_what_to_do(firmware: Path, world: World) -> None:
    path = firmware.with_name("firmware.p7s")
    path.write_bytes(sign(firmware, world.signers["p256"]))
    report = verify(path, world.trust())
    assert report.outcome is Outcome.UNREADABLE or report.outcome is Outcome.FAIL
    assert "submit what it signs" in reason(report, "format")
    attached = sign(firmware, world.signers["p256"], options=("-nodetach",))
    assert "holds content of its own" in reason(verify(firmware, world.trust(), attached), "signature")


def test_every_signer_must_hold_and_threshold_counts_different_keys(firmware: Path, world: World) -> None:
    one, two = world.signers["p256"], world.signers["p384"]
    both = sign(firmware, one, two, others=(world.between,))
    trust = Trust.build([], 2, roots=[Root("vendor", world.root.pem)])
    report = verify(firmware, trust, both)
    assert proven(report), report.checks
    assert [entry["what"] for entry in report.document["signatures"]] == [
        "The CMS signature, signer 1,",
        "The CMS signature, signer 2,",
    ]
    alone = verify(firmware, trust, sign(firmware, one, others=(world.between,)))
    assert "2 different approved keys must sign, 1 did" in reason(alone, "key")
    # A second certificate for the same key is no second key.
    again = world.between.issue("p256 again", key=one.key)
    same = verify(firmware, trust, sign(firmware, one, again, others=(world.between,)))
    assert "1 did" in reason(same, "key")


def test_ed25519_and_ml_dsa_signers_and_authorities(firmware: Path) -> None:
    """Put together by asn1crypto and pyca: the openssl at hand makes neither."""
    for make in (
        ed25519.Ed25519PrivateKey,
        mldsa.MLDSA44PrivateKey,
        mldsa.MLDSA65PrivateKey,
        mldsa.MLDSA87PrivateKey,
    ):
        top = root(key=make.generate())
        signer = top.issue("Signer", key=make.generate())
        trust = Trust.build([], roots=[Root("vendor", top.pem)])
        signature = signed_data(firmware.read_bytes(), Signer(signer, digest="sha512"))
        report = verify(firmware, trust, signature)
        assert proven(report), report.checks
        bad = verify(firmware, trust, signature[:-1] + bytes([signature[-1] ^ 1]))
        assert outcomes(bad)["signature"] == "fail"
        small = firmware.with_name("small")
        small.write_bytes(b"small")
        assert proven(verify(small, trust, signed_data(b"small", Signer(signer, bare=True))))


def signed_fail(path: Path, world: World, signature: bytes) -> str:
    report = verify(path, world.trust(), signature)
    assert outcomes(report)["signature"] in ("fail", "unreadable"), report.checks
    return reason(report, "signature")


def test_no_signed_attributes_for_content_that_is_not_plain_data_is_refused(
    tmp_path: Path, world: World
) -> None:
    path = tmp_path / "file.p7m"
    signer = Signer(world.signers["p256"], bare=True)
    path.write_bytes(
        signed_data(b"\x30\x00", signer, certificates=[world.between], content_type="tst_info", attached=True)
    )
    report = verify(path, world.trust())
    assert outcomes(report)["signature"] == "fail"
    assert "no signed attributes" in reason(report, "signature")
    path.write_bytes(signed_data(b"abc", signer, certificates=[world.between], attached=True))
    assert verify(path, world.trust()).outcome is Outcome.PASS


def test_a_message_digest_twice_is_refused(firmware: Path, world: World) -> None:
    content = firmware.read_bytes()
    good, other = hashlib.sha256(content).digest(), hashlib.sha256(b"other").digest()
    signer = world.signers["p256"]
    cases: list[tuple[list[Attribute], str]] = [
        ([("content_type", ["data"]), ("message_digest", [good, other])], "exactly one"),
        ([("content_type", ["data"]), ("message_digest", [good]), ("message_digest", [other])], "twice"),
        ([("content_type", ["data"]), ("message_digest", [])], "exactly one"),
        ([("content_type", ["data"])], "messageDigest is missing"),
        ([("message_digest", [good])], "contentType is missing"),
        ([("content_type", ["data", "data"]), ("message_digest", [good])], "exactly one"),
        ([("content_type", ["tst_info"]), ("message_digest", [good])], "type of the content"),
        ([("content_type", ["data"]), ("message_digest", [other])], "not what was signed"),
    ]
    for attributes, word in cases:
        signature = signed_data(content, Signer(signer, attributes=attributes), certificates=[world.between])
        assert word in signed_fail(firmware, world, signature)


def test_attributes_that_are_not_in_the_order_of_der_are_refused(firmware: Path, world: World) -> None:
    hashed = hashlib.sha256(firmware.read_bytes()).digest()
    signature = signed_data(
        firmware.read_bytes(), Signer(world.signers["p256"]), certificates=[world.between]
    )
    content_type, digest = (
        bytes.fromhex("301806092a864886f70d010903310b06092a864886f70d010701"),
        bytes.fromhex("302f06092a864886f70d01090431220420"),
    )
    swapped = signature.replace(content_type + digest + hashed, digest + hashed + content_type)
    assert swapped != signature
    assert "order of DER" in signed_fail(firmware, world, swapped)


def test_signed_attributes_of_another_signature_are_no_content(tmp_path: Path, world: World) -> None:
    """Whoever signed attributes did not sign a file that consists of them."""
    signer = world.signers["p256"]
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [bytes(32)]}),
        ]
    ).dump()
    path = tmp_path / "attributes.bin"
    path.write_bytes(attributes)
    signature = signed_data(attributes, Signer(signer, bare=True), certificates=[world.between])
    assert openssl_accepts(path, signature, world.root)  # a difference on purpose: openssl does not look
    assert "set of signed attributes" in signed_fail(path, world, signature)


def test_of_several_signers_one_that_chains_saves_no_other(firmware: Path, world: World) -> None:
    stranger = root("Stranger").issue("Stranger")
    for signers in [(stranger, world.signers["p256"]), (world.signers["p256"], stranger)]:
        signature = sign(firmware, *signers, others=(world.between,))
        assert not openssl_accepts(firmware, signature, world.root)
        report = verify(firmware, world.trust(), signature)
        assert outcomes(report)["key"] == "fail"
        assert report.outcome is Outcome.FAIL
        assert sorted(entry["key"]["outcome"] for entry in report.document["signatures"]) == ["fail", "pass"]


def test_bombs_are_refused_fast(firmware: Path, world: World) -> None:
    signed = b"\x30\x80" + bytes.fromhex("06092a864886f70d010702") + b"\xa0\x80"
    data = b"\x30\x80\x02\x01\x01\x31\x00\x30\x0b" + bytes.fromhex("06092a864886f70d010701")
    certificate = world.between.certificate.public_bytes(serialization.Encoding.DER)
    end = b"\x00\x00"
    for bomb, word in [
        (signed + b"\x30\x80" * 1_000_000, "deeper"),
        (signed + b"\x24\x80\x04\x00\x00\x00" * 600_000, "elements"),
        (signed + data + b"\xa0\x80" + b"\x30\x00" * 1_000_000 + end * 4, "elements"),
        (signed + data + b"\xa0\x80" + certificate * 500 + end + b"\x31\x00" + end * 3, "certificates"),
        (signed + data + b"\x31\x80" + b"\x30\x00" * 500 + end * 4, "signers"),
    ]:
        path = firmware.with_name("bomb.p7m")
        path.write_bytes(bomb)
        began = time.perf_counter()
        assert word in signed_fail(firmware, world, bomb)
        assert outcomes(verify(path, world.trust()))["format"] == "unreadable"
        assert time.perf_counter() - began < 1


def element(tag: bytes, content: bytes) -> bytes:
    return tag + b"\x83" + len(content).to_bytes(3) + content


def test_a_million_certificates_are_refused_fast(firmware: Path, world: World) -> None:
    """In definite lengths, around a signature that holds; the limit is 64."""
    good = cms.ContentInfo.load(sign(firmware, world.signers["p256"], others=(world.between,)))
    certificate = cms.CertificateChoices("certificate", parsed(world.between))
    for count, word in [(60, None), (65, "more than 64 certificates"), (4_000, "elements")]:
        given = good.copy()
        given["content"]["certificates"] = [*good["content"]["certificates"], *[certificate] * count]
        signature = given.dump(force=True)
        if word is None:
            assert proven(verify(firmware, world.trust(), signature))
        else:
            began = time.perf_counter()
            assert word in signed_fail(firmware, world, signature)
            assert time.perf_counter() - began < 1
    # A million empty ones in four megabytes, each of which a lax reader would make an object of.
    bomb = b"\x02\x01\x01\x31\x00\x30\x0b" + bytes.fromhex("06092a864886f70d010701")
    bomb = element(b"\x30", bomb + element(b"\xa0", b"\x30\x00" * 1_000_000))
    bomb = element(b"\x30", bytes.fromhex("06092a864886f70d010702") + element(b"\xa0", bomb))
    began = time.perf_counter()
    assert "elements" in signed_fail(firmware, world, bomb)
    assert time.perf_counter() - began < 1


def test_sha_1_and_short_rsa_are_refused_by_name(firmware: Path, world: World) -> None:
    weak = world.between.issue("weak", key=rsa.generate_private_key(65537, 1024))
    for signature, word in [
        (sign(firmware, world.signers["rsa"], options=("-md", "sha1"), others=(world.between,)), "SHA-1"),
        (sign(firmware, weak, others=(world.between,)), "RSA-1024 can be broken"),
        (
            signed_data(firmware.read_bytes(), Signer(world.signers["p256"], algorithm="sha384_ecdsa")),
            "they must agree",
        ),
        (
            signed_data(firmware.read_bytes(), Signer(world.signers["p256"], algorithm="sha256_rsa")),
            "does not fit the key",
        ),
    ]:
        assert word in signed_fail(firmware, world, signature)
    for length in ("24", "100"):
        odd = sign(
            firmware,
            world.signers["rsa"],
            options=(*PSS, "-md", "sha256", "-keyopt", f"rsa_pss_saltlen:{length}"),
            others=(world.between,),
        )
        assert f"salt of {length} bytes" in signed_fail(firmware, world, odd)


def test_what_is_no_signature_says_what_it_is(firmware: Path, world: World) -> None:
    certificate, _ = world.signers["p256"].write(firmware.parent, "s")
    only_certificates = run("openssl", "crl2pkcs7", "-nocrl", "-certfile", certificate, "-outform", "DER")
    assert "nobody signed it" in signed_fail(firmware, world, only_certificates)
    good = sign(firmware, world.signers["p256"], others=(world.between,))
    assert "behind its end" in signed_fail(firmware, world, good + b"\0")
    for place in range(0, len(good), 7):
        damaged = good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :]
        report = verify(firmware, world.trust(), damaged)
        if proven(report):
            # Only what is not signed can change unnoticed: hints of the envelope.
            assert openssl_accepts(firmware, damaged, world.root), place
    for length in range(0, len(good), 11):
        assert not proven(verify(firmware, world.trust(), good[:length] or b"\0"))


#: What openssl takes and we refuse, and why.
OPENSSL_TAKES = {
    "a byte behind it": "two readers of one file may see two signatures",
    "SHA-1": "it can be broken; openssl leaves that to its security level",
    "attributes as content": "who signed attributes did not sign a file that consists of them",
}


def test_the_same_verdict_as_openssl_cms(firmware: Path, world: World) -> None:
    """On good and bad samples; where openssl is laxer is listed."""
    content = firmware.read_bytes()
    rsa_signer, one, two = (world.signers[name] for name in ("rsa", "p256", "p384"))
    others = (world.between,)
    good = sign(firmware, one, others=others)
    attributes = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [bytes(32)]}),
        ]
    ).dump()
    hashed = hashlib.sha256(content).digest()
    made = signed_data(content, Signer(one), certificates=others)
    first = bytes.fromhex("301806092a864886f70d010903310b06092a864886f70d010701")
    second = bytes.fromhex("302f06092a864886f70d01090431220420") + hashed
    twice: list[Attribute] = [("content_type", ["data"]), ("message_digest", [hashed, bytes(32)])]
    stranger = root("Stranger").issue("Stranger")
    samples: dict[str, tuple[bytes, bytes]] = {
        "good": (content, good),
        "PSS": (content, sign(firmware, rsa_signer, others=others, options=(*PSS, "-md", "sha256"))),
        "without attributes": (content, sign(firmware, one, others=others, options=("-noattr",))),
        "two signers": (content, sign(firmware, one, two, others=others)),
        "a stranger beside": (content, sign(firmware, one, stranger, others=others)),
        "a stranger": (content, sign(firmware, stranger)),
        "no chain": (content, sign(firmware, one)),
        "an expired signer": (
            content,
            sign(firmware, world.between.issue("old", end=day(-1)), others=others),
        ),
        "another content": (content + b"x", good),
        "a changed signature": (content, good[:-1] + bytes([good[-1] ^ 1])),
        "cut": (content, good[:-10]),
        "a byte behind it": (content, good + b"\0"),
        "a digest twice": (content, signed_data(content, Signer(one, attributes=twice), certificates=others)),
        "another digest": (content, made.replace(hashed, bytes(32))),
        "attributes in another order": (content, made.replace(first + second, second + first)),
        "attributes as content": (
            attributes,
            signed_data(attributes, Signer(one, bare=True), certificates=others),
        ),
        "SHA-1": (content, sign(firmware, rsa_signer, others=others, options=("-md", "sha1"))),
    }
    ours, theirs = set(), set()
    for name, (data, signature) in samples.items():
        firmware.write_bytes(data)
        if proven(verify(firmware, world.trust(), signature)):
            ours.add(name)
        if openssl_accepts(firmware, signature, world.root):
            theirs.add(name)
    assert ours == {"good", "PSS", "without attributes", "two signers"}
    assert theirs == ours | set(OPENSSL_TAKES)


def test_a_bare_signature_with_its_chain_beside_it(firmware: Path, world: World) -> None:
    for name, options, enrolment in [
        ("p256", ("-sha256",), {}),
        ("p384", ("-sha384",), {}),
        ("rsa", ("-sha256",), {}),
        (
            "rsa",
            ("-sha512", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:max"),
            {"rsa_padding": "pss", "pss_salt": "max", "hash": "sha512"},
        ),
        ("ed25519", (), {}),
    ]:
        signer = world.signers[name]
        _, key = signer.write(firmware.parent, name)
        if name == "ed25519":
            signature = run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", firmware)
        else:
            signature = run("openssl", "dgst", *options, "-sign", key, firmware)
        chain = (signer.pem + world.between.pem).encode()
        trust = world.trust(options=KeyOptions(**enrolment))
        report = verify(firmware, trust, signature, certificates=chain)
        assert proven(report), (name, report.checks)
        assert report.document["signatures"][0]["signer"]["chain"][2]["subject"].startswith(
            "CN=Nordhaven Root"
        )
        assert outcomes(verify(firmware, trust, signature))["signature"] == "not_run"
        if enrolment:
            other = verify(firmware, world.trust(), signature, certificates=chain)
            assert "in the way in which a root" in reason(other, "signature")
        stranger = verify(
            firmware,
            Trust.build([], roots=[Root("x", root("Other").pem, options=KeyOptions(**enrolment))]),
            signature,
            certificates=chain,
        )
        assert outcomes(stranger)["key"] == "fail"
        expired = verify(firmware, trust, signature, AT + 200 * 86_400, certificates=chain)
        assert "had expired at signing" in reason(expired, "key")
