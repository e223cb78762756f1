"""Roots, revocation lists and time-stamp authorities in a trust file: what is refused by name."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from portal.errors import TrustError
from portal.verification import Root, TimestampAuthority, Trust
from tests.unit.verification.authority import Identity, day, root


@pytest.fixture(scope="module")
def anchor() -> Identity:
    return root()


def document(**members: Any) -> str:
    return json.dumps({"version": 1, "keys": [], **members})


def test_everything_a_chain_needs_can_be_built_and_parsed(anchor: Identity) -> None:
    between = anchor.issue("Between", authority=True)
    Trust.build(
        [],
        roots=[
            Root(
                "root",
                anchor.pem,
                ("firmware",),
                ("codeSigning", "1.3.6.1.4.1.311.10.3.5"),
                not_before=day(-3),
            ),
            Root("any", anchor.pem, usages=("any",), subjects=("CN=x", "sha256:" + "0" * 64)),
        ],
        intermediates=[between.pem],
        crls=[anchor.revoke(), between.revoke()],
        revocation="required",
        timestamp_authorities=[TimestampAuthority("tsa", anchor.pem)],
    )


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"usages": []}, "usages: expected at least one"),
        ({"usages": ["serverAuth"]}, "expected codeSigning, emailProtection, any or an OID"),
        ({"subjects": []}, "subjects: expected at least one"),
        ({"purposes": []}, "purposes: expected at least one"),
        ({"not_before": "soon"}, "not_before: expected RFC 3339"),
        ({"not_before": "2026-02-01T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"}, "lies before"),
        ({"certificate": "x"}, "expected nothing but PEM blocks|has no end"),
        ({"threshold": 1}, "unknown field `threshold`"),
        ({"options": {"pss_salt": "max"}}, "pss_salt applies only"),
        ({"id": "\n"}, "id: expected 1 to 200"),
    ],
)
def test_a_root_that_is_wrong_is_refused(anchor: Identity, members: dict[str, Any], message: str) -> None:
    with pytest.raises(TrustError, match=message) as refused:
        Trust.parse(document(roots=[{"id": "r", "certificate": anchor.pem} | members]))
    if "threshold" not in members:
        assert "roots[0]" in refused.value.message


def test_a_root_must_be_one_certificate_with_a_key_that_can_be_used(anchor: Identity) -> None:
    for pem, message in [
        (anchor.pem * 2, "expected one PEM block, found 2"),
        (anchor.revoke(), "expected a PEM block CERTIFICATE, found X509 CRL"),
        (anchor.pem + "-----BEGIN PRIVATE KEY-----", "private key"),
        (anchor.issue("p521", key=ec.generate_private_key(ec.SECP521R1())).pem, "1.3.132.0.35"),
        (anchor.issue("e3", key=rsa.generate_private_key(3, 2048)).pem, "exponent 0x03"),
    ]:
        with pytest.raises(TrustError, match=message):
            Trust.parse(document(roots=[{"id": "r", "certificate": pem}]))


def test_ids_differ_among_keys_roots_and_authorities(anchor: Identity) -> None:
    entry = {"id": "one", "certificate": anchor.pem}
    with pytest.raises(TrustError, match=r"timestamp_authorities\[0\].*ids must differ"):
        Trust.parse(document(roots=[entry], timestamp_authorities=[entry]))


def test_other_members_are_refused_by_name(anchor: Identity) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"revocation": "sometimes"}, "unknown variant `sometimes`"),
        ({"crls": [anchor.pem]}, r"crls\[0\]: expected a PEM block X509 CRL"),
        ({"intermediates": ["-----BEGIN X"]}, r"intermediates\[0\]"),
        (
            {"timestamp_authorities": [{"id": "t", "certificate": anchor.pem, "usages": ["any"]}]},
            "unknown field",
        ),
    ]
    for members, message in cases:
        with pytest.raises(TrustError, match=message):
            Trust.parse(document(**members))
