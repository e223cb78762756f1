"""What a trust file and a key must be, and what is refused by name."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from portal.errors import TrustError
from portal.verification import KeyOptions, Trust, TrustKey, inspect_key
from tests.unit.verification.conftest import Keys


def entry(keys: Keys, name: str = "ed25519", **members: Any) -> dict[str, Any]:
    return {"id": name, "public_key": keys.public(name), **members}


def document(*entries: dict[str, Any], **members: Any) -> str:
    return json.dumps({"version": 1, "keys": list(entries), **members})


def test_only_id_and_key_are_required(keys: Keys) -> None:
    trust = Trust.parse(document(entry(keys)))
    assert trust.threshold == 1
    (key,) = trust.keys
    assert (key.id, key.algorithm) == ("ed25519", "Ed25519")
    assert key.purposes == ("firmware", "attestation", "manifest")


def test_build_and_parse_agree(keys: Keys) -> None:
    moment = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    built = Trust.build(
        [
            TrustKey(
                "a", keys.public("p256"), ("firmware",), moment, options=KeyOptions(ecdsa_encoding="p1363")
            ),
            TrustKey("b", keys.certificate("rsa-3072"), distrusted_from=moment),
        ],
        threshold=2,
    )
    assert built.threshold == 2
    assert [key.algorithm for key in built.keys] == ["ECDSA P-256", "RSA-3072"]
    assert Trust.build([]).keys == ()
    with pytest.raises(ValueError, match="zone"):
        Trust.build([TrustKey("a", keys.public("p256"), not_after=datetime(2026, 1, 1))])  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "EOF"),
        ("[]", "expected struct Document"),
        ('{"version":2,"keys":[]}', "version: expected 1, found 2"),
        ('{"version":1}', "missing field `keys`"),
        ('{"version":1,"keys":[],"keys":[]}', "duplicate field `keys`"),
        ('{"version":1,"keys":[],"trusted":true}', "unknown field `trusted`"),
        ('{"version":1,"keys":[],"threshold":0}', "threshold: expected 1 to 16, found 0"),
        ('{"version":1,"keys":[],"threshold":NaN}', "trust file"),
        ('{"version":1,"keys":[]} x', "trailing characters"),
        ('{"version":1,"keys":[{"id":"a","id":"b"}]}', "duplicate field `id`"),
        ('{"version":1,"keys":[{"id":"a"}]}', "found neither"),
        ('{"version":1,"keys":[{"id":"a","secret":1}]}', "unknown field `secret`"),
    ],
)
def test_a_trust_file_that_does_not_hold_together_is_refused(text: str, message: str) -> None:
    with pytest.raises(TrustError, match=message):
        Trust.parse(text)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"purposes": []}, "purposes: expected at least one"),
        ({"purposes": ["everything"]}, "unknown variant `everything`"),
        ({"not_before": "yesterday"}, "not_before: expected RFC 3339"),
        ({"not_after": "2026-01-31"}, "not_after: expected RFC 3339"),
        ({"not_before": "2026-02-01T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"}, "lies before"),
        ({"certificate": "x"}, "found both"),
        ({"id": ""}, "id: expected 1 to 200"),
        ({"options": {"rsa_padding": "pss"}}, "rsa_padding does not apply to Ed25519"),
        ({"options": {"hash": "sha512"}}, "hash does not apply to Ed25519"),
        ({"options": {"ecdsa_encoding": "der"}}, "ecdsa_encoding does not apply"),
        ({"builders": ["builder.example"]}, "builders: expected at most 64 URIs"),
        ({"builders": ["https://a.example"] * 65}, "builders: expected at most 64 URIs"),
        ({"builders": ["https://a.example/\n"]}, "builders: expected at most 64 URIs"),
        ({"options": {"hash": "sha1"}}, "unknown variant `sha1`"),
        ({"options": {"magic": True}}, "unknown field `magic`"),
    ],
)
def test_a_key_entry_that_is_wrong_is_refused(keys: Keys, members: dict[str, Any], message: str) -> None:
    with pytest.raises(TrustError, match=message):
        Trust.parse(document(entry(keys) | members))


def test_options_must_fit_each_other(keys: Keys) -> None:
    for name, options, message in [
        ("rsa-3072", {"pss_salt": "digest"}, "only to RSA keys with rsa_padding"),
        ("p384", {"ecdsa_encoding": "p1363", "hash": "sha256"}, "needs hash SHA-384"),
        ("p256", {"rsa_padding": "pss"}, "does not apply to ECDSA P-256"),
    ]:
        with pytest.raises(TrustError, match=message):
            Trust.parse(document(entry(keys, name, options=options)))


def test_two_keys_with_one_id_are_refused(keys: Keys) -> None:
    with pytest.raises(TrustError, match="ids must differ"):
        Trust.parse(document(entry(keys), entry(keys, "other", id="ed25519")))


def test_a_key_is_described(keys: Keys) -> None:
    strong = inspect_key(keys.public("p256"))
    assert (strong.kind, strong.algorithm, strong.bits, strong.strong) == (
        "public_key",
        "ECDSA P-256",
        256,
        True,
    )
    assert strong.fingerprint.startswith("sha256:")
    assert (strong.subject, strong.not_after, strong.weakness) == (None, None, "")
    weak = inspect_key(keys.public("rsa-2048"))
    assert not weak.strong
    assert "112 bits" in weak.weakness
    broken = inspect_key(keys.public("rsa-1024"))
    assert not broken.strong
    assert "can be broken" in broken.weakness


def test_a_certificate_is_described(keys: Keys) -> None:
    info = inspect_key(keys.certificate("rsa-3072"))
    assert info.kind == "certificate"
    assert info.subject == info.issuer
    assert info.subject is not None
    assert "O=Nordhaven Cells" in info.subject
    assert info.not_before is not None
    assert info.not_after is not None
    assert 3640 < (info.not_after - info.not_before) / 86400 < 3660
    assert info.fingerprint == inspect_key(keys.public("rsa-3072")).fingerprint, (
        "the key's, not the certificate's"
    )


def test_a_private_key_is_refused_and_called_disclosed(keys: Keys) -> None:
    for name in ("ed25519", "rsa-2048", "p256"):
        with pytest.raises(TrustError, match="private key: it must never be uploaded"):
            inspect_key(keys.private(name).read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pem: pem + pem, "exactly one PEM block, found 2"),
        (lambda pem: pem[:0], "exactly one PEM block, found 0"),
        (lambda pem: "hello\n" + pem, "before or after"),
        (lambda pem: pem + "hello\n", "before or after"),
        (lambda pem: pem.replace("PUBLIC KEY", "PGP MESSAGE"), 'found "-----BEGIN PGP MESSAGE'),
        (lambda pem: pem.replace("MC", "!!", 1), "cannot be decoded"),
        (lambda pem: pem[:40] + pem[44:], "PEM|DER"),
        (lambda pem: pem + " " * 70000, "at most"),
    ],
)
def test_pem_that_is_not_one_public_key_is_refused(keys: Keys, change: Any, message: str) -> None:
    with pytest.raises(TrustError, match=message):
        inspect_key(change(keys.public("ed25519")))


def test_keys_that_cannot_be_relied_on_are_refused(keys: Keys) -> None:
    with pytest.raises(TrustError, match="exponent 0x03"):
        inspect_key(keys.public("rsa-e3"))
    with pytest.raises(TrustError, match="use P-256 or P-384"):
        inspect_key(keys.public("p521"))
    small_order = "MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    with pytest.raises(TrustError, match="sufficient order"):
        inspect_key(f"-----BEGIN PUBLIC KEY-----\n{small_order}\n-----END PUBLIC KEY-----\n")


def test_a_certificate_in_the_place_of_a_key_is_told(keys: Keys) -> None:
    with pytest.raises(TrustError, match='give it as "certificate"'):
        Trust.parse(document({"id": "a", "public_key": keys.certificate("p256")}))
    with pytest.raises(TrustError, match='give it as "public_key"'):
        Trust.parse(document({"id": "a", "certificate": keys.public("p256")}))
