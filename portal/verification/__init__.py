"""Bytes in, facts out: typed, pure calls with frozen results. The only room that imports portal._verifier."""

from portal.verification.hashing import Digests, Hasher, Progress, hash_file
from portal.verification.outcomes import Check, Outcome, worst

__all__ = ["Check", "Digests", "Hasher", "Outcome", "Progress", "hash_file", "worst"]
