"""Bytes in, facts out: typed, pure calls with frozen results. The only room that imports portal._verifier."""

from portal._verifier import ED25519_RULE
from portal.verification.batches import BatchReport, Chunk, EnvelopeVerdict, verify_attestations
from portal.verification.contents import (
    ContentFinding,
    ContentReport,
    ContentRules,
    examine_content,
    load_rules,
    own_rules,
    published_key,
)
from portal.verification.files import FileReport, verify_file
from portal.verification.hashing import Digests, Hasher, Progress, hash_file
from portal.verification.outcomes import Check, Outcome, worst
from portal.verification.timestamps import StampReport, verify_timestamp
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
    "Chunk",
    "ContentFinding",
    "ContentReport",
    "ContentRules",
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
    "StampReport",
    "TimestampAuthority",
    "Trust",
    "TrustKey",
    "TrustedKey",
    "examine_content",
    "hash_file",
    "inspect_key",
    "load_rules",
    "own_rules",
    "published_key",
    "verify_attestations",
    "verify_file",
    "verify_timestamp",
    "worst",
]
