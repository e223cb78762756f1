"""Time stamps (RFC 3161) over bytes at hand."""

from dataclasses import dataclass
from datetime import UTC, datetime

from portal import _verifier
from portal.verification.faults import contained
from portal.verification.outcomes import Outcome
from portal.verification.trust import Trust


@dataclass(frozen=True, slots=True)
class StampReport:
    """What a time stamp proves. Only with the outcome pass are `at` and `authority` told: the bytes were
    there at `at` or before, says the entry `authority` of the trust's authorities. Else `why` is a clause.
    """

    outcome: Outcome
    why: str
    at: datetime | None
    authority: str | None


@contained
def verify_timestamp(
    token: bytes, message: bytes, trust: Trust, *, at: float, nonce: int | None = None
) -> StampReport:
    """Whether a TimeStampResp or bare token (DER or BER) is over `message`, by an authority of `trust`.

    `at` is now (seconds since 1970): a stamp from later is refused, and revocations count until then. With
    `nonce` (not negative) it must repeat this one. Raises ValueError for an `at` that is no time,
    VerifierFault when the verifier fails.
    """
    asked = None if nonce is None else nonce.to_bytes(nonce.bit_length() // 8 + 1, "big")
    found = _verifier.verify_timestamp(token, message, trust.native, at, asked)
    return StampReport(
        outcome=Outcome(found.outcome),
        why=found.why,
        at=None if found.at is None else datetime.fromtimestamp(found.at, UTC),
        authority=found.authority,
    )
