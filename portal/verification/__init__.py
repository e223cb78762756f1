"""Bytes in, facts out: typed, pure calls with frozen results. The only room that imports portal._verifier."""

from portal._verifier import ED25519_RULE
from portal.verification.batches import BatchReport, EnvelopeVerdict, verify_attestations
from portal.verification.files import FileReport, verify_file
from portal.verification.hashing import Digests, Hasher, Progress, hash_file
from portal.verification.outcomes import Check, Outcome, worst
from portal.verification.trust import (
    PURPOSES,
    KeyInfo,
    KeyOptions,
    Purpose,
    Root,
    TimestampAuthority,
    Trust,
    TrustedKey,
    TrustKey,
    inspect_key,
)

__all__ = [
    "ED25519_RULE",
    "PURPOSES",
    "BatchReport",
    "Check",
    "Digests",
    "EnvelopeVerdict",
    "FileReport",
    "Hasher",
    "KeyInfo",
    "KeyOptions",
    "Outcome",
    "Progress",
    "Purpose",
    "Root",
    "TimestampAuthority",
    "Trust",
    "TrustKey",
    "TrustedKey",
    "hash_file",
    "inspect_key",
    "verify_attestations",
    "verify_file",
    "worst",
]
