"""tlog-policy: the specification's example, and what is refused."""

import base64

import pytest

from portal.errors import LedgerError
from portal.ledger.notes import Kind, VerifierKey
from portal.ledger.policies import TrustPolicy


def key(name: str, kind: Kind = Kind.ED25519_COSIGNATURE) -> VerifierKey:
    return VerifierKey(name, kind, name.encode().ljust(32, b"."))


LOG = key("log", Kind.ED25519)
W = {name: key(name) for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
# The example of the specification.
EXAMPLE = f"""
log {LOG}

witness X1 {W["X1"]}
witness X2 {W["X2"]}
witness X3 {W["X3"]}
group X-witnesses 2 X1 X2 X3

  witness\tY1 {W["Y1"]}\thttps://witness.example/
witness Y2 {W["Y2"]}
witness Y3 {W["Y3"]}
group Y-witnesses any Y1 Y2 Y3
# two of one, one of the other
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


@pytest.mark.parametrize(
    ("cosigned", "met"),
    [("X1 X2 Y3", True), ("X1 Y1", False), ("X1 X2 X3", False), ("Y1 Y2 Y3", False), ("", False)],
)
def test_the_quorum_of_the_example(cosigned: str, met: bool) -> None:
    policy = TrustPolicy.parse(EXAMPLE)
    assert policy.logs == (LOG,)
    assert policy.met([W[name] for name in cosigned.split()]) is met


def test_without_a_quorum_no_witness_is_needed() -> None:
    assert TrustPolicy.parse(f"log {LOG}\nquorum none").met([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no line quorum"),
        ("quorum none\nquorum none", "line 2 .* second line quorum"),
        ("quorum X1", "neither a witness nor a group"),
        (f"log {LOG}\nlog {LOG}\nquorum none", "line 2 .* named before"),
        (f"witness a {W['X1']}\nwitness b {W['X1']}\nquorum none", "line 2 .* named before"),
        (f"witness a {W['X1']}\nwitness a {W['X2']}\nquorum none", "is taken"),
        (f"witness none {W['X1']}\nquorum none", "is taken"),
        (f"witness a {LOG}\nquorum none", "key of a log"),
        (f"log {W['X1']}\nquorum none", "key of a witness"),
        (f"witness a {W['X1']}\ngroup g 2 a\nquorum g", "from 1 to 1"),
        (f"witness a {W['X1']}\ngroup g 0 a\nquorum g", "from 1 to 1"),
        ("group g all\nquorum g", "from 1 to 0"),
        (f"witness a {W['X1']}\ngroup g any a\ngroup h any a\nquorum g", "in a group already"),
        ("group g any g\nquorum g", "neither a witness nor a group"),
        ("trust everybody\nquorum none", "expected log, witness, group or quorum"),
        (f"log {str(LOG)[:-2]}\nquorum none", "line 1 .* base64"),
        ("#" * 300_000, "at most 262,144"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, words: str) -> None:
    with pytest.raises(LedgerError, match=words):
        TrustPolicy.parse(text)


def test_a_key_of_an_unknown_kind_is_refused() -> None:
    material = base64.b64encode(b"\x09" + bytes(32)).decode()
    with pytest.raises(LedgerError, match="0x09 is not known"):
        TrustPolicy.parse(f"log a+00000000+{material}\nquorum none")
