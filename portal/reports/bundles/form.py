"""What a bundle looks like: the names of its files, and how its documents are written. No database here."""

from typing import Any, Final

import rfc8785

FORMAT: Final = "lotgate-bundle-v1"
MANIFEST: Final = "manifest.json"
README: Final = "README.txt"
REPORT: Final = "report.pdf"
EVIDENCE: Final = "evidence.json"
POLICY: Final = "ledger/policy"  # whom the portal says to believe
DECLARED: Final = ("declared_sha256", "declared_version", "lot")  # of a submission, as its entry has them
DOCUMENT_MAX: Final = 64 * 1024 * 1024  # bytes of a document that is read whole

TEXT: Final = """\
A bundle of Lotgate: one assessment with all that is needed to check it offline.

    lotgate verify-bundle FILE --policy POLICY

checks it without the portal and says what holds. POLICY is the list of keys that you believe
(C2SP tlog-policy): take it from the portal once, over a way that you trust, and not from here.

manifest.json            every file: what it is, its size and SHA-256
assessment/N/            facts.json and result.json of assessment N, and about.json
policies/                the rules that were applied: facts and rules give the result
decisions/ exceptions/   what people decided, and which gaps they accepted until when
submissions/             what was submitted, each check that was made, each attestation's verdict
samples/                 which units of a lot were drawn to be tested, and by which seed
evidence.json evidence/  every file by its digest; the files themselves unless digests were asked for
keys/                    the supplier's approved keys; revocation/ lists of revoked certificates;
                         authorities/ those whose time stamps count
ledger/N/                receipts (c2sp.org/tlog-proof@v1) of every entry about this, and the checkpoint
                         of log N that they rest on
report.pdf               the report for people

What a file says counts because an entry of the ledger has its digest, and a receipt proves the entry.
report.pdf and this text are no more than a print: nothing proves them.
"""


def document(plain: Any) -> bytes:
    """Canonical JSON (RFC 8785)."""
    return rfc8785.dumps(plain)


def blob(sha256: str) -> str:
    return f"evidence/{sha256}"


def revocation_list(sha256: str) -> str:
    """In DER, as its authority signed it."""
    return f"revocation/{sha256}.crl"


def receipt(log: int, index: int) -> str:
    return f"ledger/{log}/entries/{index:012d}.tlog-proof"


def stamped(log: int, size: int, kind: str) -> str:
    """Of a time stamp over the checkpoint of a size: its `tsr`, that `checkpoint`, the `consistency` of it
    with the bundle's."""
    return f"ledger/{log}/{size:012d}.{kind}"


def checkpoint(log: int) -> str:
    return f"ledger/{log}/checkpoint"
