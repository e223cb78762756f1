"""Revocation lists of enrolled certificate authorities: whom not to believe, and until when that is known.

Of each authority the newest list counts; older ones stay, for what was verified by them. The authority signs
it: it does not matter who brings it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock, rfc3339
from portal.errors import Conflict, InvalidInput, NotAllowed, Problem, TooLarge, TrustError
from portal.ledger import service as ledger
from portal.suppliers.enrolment import is_root
from portal.suppliers.models import KeyState, RevocationList, SigningKey
from portal.suppliers.rules import owned
from portal.verification import Trust

LIST_MAX: Final = 512 * 1024
KEPT: Final = "revocation_list.kept"
_FIX: Final = "Ask the authority for its complete, current list (openssl ca -gencrl)."


@dataclass(frozen=True, slots=True)
class Kept:
    """`added`: how many certificates this list revokes that the one before did not."""

    row: RevocationList
    added: int


def keep_list(session: Session, actor: Actor, clock: Clock, key_id: str, content: bytes) -> Kept:
    """Keep a list (PEM or DER) of an enrolled authority: it counts in place of the one before. The caller
    files the change where it revokes anything (portal.reassessment.service.certificates_revoked). The list
    that counts already is not kept twice.

    Raises NotFound, NotAllowed, Conflict for a key that is no authority or an older list, TooLarge,
    InvalidInput.
    """
    ours = actor.supplier_id is None
    actor.must(Permission.REVIEW_KEY_DECIDE if ours else Permission.SUPPLIER_KEY_REGISTER)
    if actor.user_id is None:
        raise NotAllowed("a revocation list is brought by a person")
    key = owned(session, actor, SigningKey, key_id, "key", lock=True)
    if not is_root(key.options):
        raise Conflict("This key is no certificate authority: distrust it instead.")
    if key.state is KeyState.REJECTED:
        raise Conflict("This certificate authority was rejected: no list of it counts.")
    if len(content) > LIST_MAX:
        raise TooLarge(f"A revocation list has at most {LIST_MAX} bytes; this file has {len(content)}.")
    found = _read(content)
    pem = found.public_bytes(Encoding.PEM).decode()
    last, following = _by_its_authority(found, key, pem, clock.now())
    before = list_of(session, key)
    if before is not None and last < before.this_update:
        later, earlier_one = rfc3339(before.this_update), rfc3339(last)
        raise Conflict(f"The list that is here was made later, on {later}; this one on {earlier_one}.")
    sha256 = hashlib.sha256(found.public_bytes(Encoding.DER)).hexdigest()
    if before is not None and before.sha256 == sha256:
        return Kept(before, 0)
    serials = {entry.serial_number for entry in found}
    earlier = {entry.serial_number for entry in _read(before.pem.encode())} if before else set()
    row = RevocationList(
        supplier_id=key.supplier_id,
        key_id=key.id,
        number=before.number + 1 if before else 1,
        sha256=sha256,
        pem=pem,
        this_update=last,
        next_update=following,
        revoked=len(serials),
        brought_by=actor.user_id,
        brought_at=clock.now(),
    )
    session.add(row)
    session.flush()
    about = says(row) | {"fingerprint": key.fingerprint}
    ledger.append(session, clock, KEPT, key.id, about, supplier_id=key.supplier_id)
    return Kept(row, len(serials - earlier))


def says(row: RevocationList) -> dict[str, object]:
    """What the ledger entry of a list says of it."""
    return {
        "number": row.number,
        "sha256": row.sha256,
        "this_update": rfc3339(row.this_update),
        "next_update": rfc3339(row.next_update),
        "revoked": row.revoked,
        "by": row.brought_by,
    }


def der(row: RevocationList) -> bytes:
    """The list as its authority signed it. Raises ValueError for text that is none."""
    return x509.load_pem_x509_crl(row.pem.encode()).public_bytes(Encoding.DER)


def list_of(session: Session, key: SigningKey) -> RevocationList | None:
    """The one that counts."""
    return next(iter(lists_of(session, (key,))), None)


def lists_of(session: Session, keys: Iterable[SigningKey]) -> tuple[RevocationList, ...]:
    """Those that count, of keys that are authorities and have one, in a fixed order."""
    ids = [key.id for key in keys if is_root(key.options)]
    if not ids:
        return ()
    newer = aliased(RevocationList)
    replaced = exists().where(newer.key_id == RevocationList.key_id, newer.number > RevocationList.number)
    wanted = select(RevocationList).where(RevocationList.key_id.in_(ids), ~replaced)
    return tuple(session.scalars(wanted.order_by(RevocationList.key_id)))


def stale(row: RevocationList, now: datetime) -> bool:
    """Whether the authority promised a newer one for before now: then nothing says who was revoked since."""
    return row.next_update < now


def _refused(expected: str, found: str, fix: str = _FIX) -> InvalidInput:
    return InvalidInput("The revocation list was not kept.", (Problem("file", expected, found, fix),))


def _read(content: bytes) -> x509.CertificateRevocationList:
    try:
        if b"-----BEGIN" in content[:64]:
            return x509.load_pem_x509_crl(content)
        return x509.load_der_x509_crl(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refused("one X.509 revocation list, PEM or DER", f"another file ({error})") from None


def _by_its_authority(
    found: x509.CertificateRevocationList, key: SigningKey, pem: str, now: datetime
) -> tuple[datetime, datetime]:
    """When it was made, and when the next one is due; refused unless the authority made it whole."""
    try:
        authority = x509.load_pem_x509_certificate(key.pem.encode())
        last, following = found.last_update_utc, found.next_update_utc
        signed = found.issuer == authority.subject and found.is_signature_valid(
            authority.public_key()  # type: ignore[arg-type]  # others raise TypeError
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refused("a list that can be read", f"another ({error})") from None
    if not signed:
        expected = f"a list signed by {authority.subject.rfc4514_string()}"
        raise _refused(expected, f"one by {found.issuer.rfc4514_string()} that its key did not sign")
    if following is None:
        raise _refused("a list that says when the next one comes", "none")
    if last > now:
        raise _refused("a list that was made before now", f"one of {rfc3339(last)}")
    try:
        Trust.build([], crls=[pem])
    except TrustError as error:
        raise _refused("a complete list", error.message) from None
    return last, following
