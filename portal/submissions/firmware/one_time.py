"""One-time keys (HSS/LMS): each may sign once. Who sees two signatures by one of them can forge a third."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.submissions.firmware.models import OneTimeKey
from portal.submissions.models import Submission
from portal.verification import Check, Outcome

_CHECK: Final = "firmware.one_time_key"


@dataclass(frozen=True, slots=True)
class Use:
    """What one one-time key signed, by a signature that holds."""

    fingerprint: str
    level: int
    identifier: str
    leaf: int
    signed: str


def uses(document: Mapping[str, Any]) -> tuple[Use, ...]:
    """Those that the verifier's report tells of, each once."""

    def told() -> Iterator[Use]:
        for signature in document.get("signatures", ()):
            for key in signature.get("one_time_keys", ()):
                yield Use(
                    signature["signer"]["fingerprint"],
                    *(key["level"], key["identifier"], key["index"], key["signed"]),
                )

    return tuple(dict.fromkeys(told()))


def used_once(session: Session, submission: Submission, found: tuple[Use, ...]) -> tuple[Check, ...]:
    """Whether none of them signed anything else before; no check where there are none."""
    if not found:
        return ()
    signed: dict[tuple[str, str, int], str] = {}
    for use in found:
        before = _remembered(session, submission.supplier_id, use)
        first = signed.setdefault((use.fingerprint, use.identifier, use.leaf), use.signed)
        if (before is None or before.signed == use.signed) and first == use.signed:
            continue
        when = "in this very submission" if before is None else f"before, on {before.seen_at:%d %b %Y}"
        text = (
            f"One-time key {use.leaf} of tree {use.identifier[:16]}… (level {use.level}) signed something "
            f"else {when}: the key is compromised, because two signatures by one one-time key let anybody "
            "make more. Distrust the key. The maker must find out how its signer lost count (a restored "
            "backup, a copied key, two signers), and sign with a new key."
        )
        return (Check(_CHECK, Outcome.FAIL, text),)
    text = f"None of the {len(found)} one-time key(s) that signed was ever seen here to sign anything else."
    return (Check(_CHECK, Outcome.PASS, text),)


def remember(session: Session, clock: Clock, submission: Submission, found: tuple[Use, ...]) -> None:
    """Keep what each of them signed first."""
    for use in found:
        if _remembered(session, submission.supplier_id, use) is None:
            session.add(
                OneTimeKey(
                    supplier_id=submission.supplier_id,
                    fingerprint=use.fingerprint,
                    identifier=use.identifier,
                    leaf=use.leaf,
                    signed=use.signed,
                    submission_id=submission.id,
                    seen_at=clock.now(),
                )
            )
            session.flush()


def _remembered(session: Session, supplier_id: str, use: Use) -> OneTimeKey | None:
    return session.scalars(
        select(OneTimeKey).where(
            OneTimeKey.supplier_id == supplier_id,
            OneTimeKey.fingerprint == use.fingerprint,
            OneTimeKey.identifier == use.identifier,
            OneTimeKey.leaf == use.leaf,
        )
    ).first()
