"""Whose key made a signature that does not count: words that help, and tell nothing about others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.errors import TrustError
from portal.suppliers import enrolment
from portal.suppliers.keys import key_name
from portal.suppliers.models import KeyState, SigningKey
from portal.verification import (
    PURPOSES,
    Check,
    FileReport,
    Outcome,
    Purpose,
    Root,
    Trust,
    TrustKey,
    inspect_key,
    verify_file,
)

_FOREIGN = "It was made with a key that is not approved for you. Sign with a key that you registered."


def explained(
    session: Session,
    supplier_id: str,
    path: Path,
    report: FileReport,
    signature: bytes | None,
    purpose: Purpose = "firmware",
    certificates: bytes | None = None,
) -> tuple[Check, ...]:
    """The checks of `report`; where no approved key made the signature, the reasons say which known key did.

    Only words change, never an outcome. The session must see the keys of all suppliers.
    """
    outcomes = {check.id: check.outcome for check in report.checks}
    signed = outcomes.get(f"{purpose}.signed") is Outcome.PASS
    if report.key_fingerprint is not None or not signed:
        return report.checks
    named = report.claims.get("key_hash") if signature is None else None
    candidates = {
        key.fingerprint: key for key in reversed(_not_approved(session, supplier_id)) if _fits(key, named)
    }  # a key that this supplier registered too is theirs
    if not candidates:
        return report.checks
    trust = enrolment.trust_of(_at_any_time(key) for key in candidates.values())
    made = verify_file(
        path, trust, at=report.at, purpose=purpose, signature=signature, certificates=certificates
    )
    key = next((key for key in candidates.values() if key.id == made.key_id), None)
    if key is None:
        return report.checks
    why = _why(key) if key.supplier_id == supplier_id else _FOREIGN
    unproven = (f"{purpose}.signature", f"{purpose}.key")
    return tuple(
        replace(check, reason=why) if check.id in unproven and check.outcome is not Outcome.PASS else check
        for check in report.checks
    )


def explained_batch(session: Session, supplier_id: str, makers: Callable[[Trust], set[str]]) -> str:
    """Why none of many attestations counts, or nothing. `makers`: ids of the keys that made any of them."""
    known = {
        key.id: key
        for key in _not_approved(session, supplier_id)
        if key.supplier_id == supplier_id and _fits(key, None)
    }
    if not known:
        return ""
    made = makers(enrolment.trust_of(_at_any_time(key) for key in known.values()))
    return next((_why(key) for key_id, key in known.items() if key_id in made), "")


def _not_approved(session: Session, supplier_id: str) -> list[SigningKey]:
    """Keys that do not count for this supplier: its own pending and rejected ones, then those of others."""
    own = SigningKey.supplier_id == supplier_id
    keys = session.scalars(
        select(SigningKey)
        .where(~own | (SigningKey.state != KeyState.APPROVED))
        .order_by(SigningKey.registered_at, SigningKey.id)
    )
    return sorted(keys, key=lambda key: key.supplier_id != supplier_id)


def _fits(key: SigningKey, named: Any) -> bool:
    try:
        return named in (None, inspect_key(key.pem).mcuboot_key_hash)
    except TrustError:
        return False


def _at_any_time(key: SigningKey) -> TrustKey | Root:
    entry = enrolment.entry(key.id, key)
    return replace(entry, purposes=PURPOSES, not_before=None, not_after=None, distrusted_from=None)


def _why(key: SigningKey) -> str:
    if key.state is KeyState.PENDING:
        return (
            f"It was made with your key “{key_name(key)}”, which waits for approval. Ask the buyer to "
            "compare its fingerprint; then submit this again."
        )
    return f"It was made with your key “{key_name(key)}”, which was rejected. Sign with an approved key."
