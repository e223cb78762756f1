"""CMS signatures by openssl, detached and attached, by pinned keys and by chains; and what is refused."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from portal.verification import FileReport, Outcome, Root, Trust, TrustKey, verify_file
from tests.unit.verification.authority import Identity, PrivateKey, day, root
from tests.unit.verification.conftest import AT, run
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
