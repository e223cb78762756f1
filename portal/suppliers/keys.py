"""Verbs of signing keys: registered by the supplier, approved and distrusted by the buyer's reviewers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock, rfc3339
from portal.errors import Conflict, InvalidInput, NotAllowed, Problem, TrustError
from portal.ledger import service as ledger
from portal.ledger.models import Entry
from portal.suppliers import enrolment, timestamping
from portal.suppliers.models import KeyPurpose, KeyState, SigningKey
from portal.suppliers.revocation import KEPT, lists_of
from portal.suppliers.rules import demand, own_supplier, owned, text_problem
from portal.verification import PURPOSES, KeyInfo, Trust, inspect_key, published_key

PEM_MAX: Final = 64 * 1024  # characters
TYPED: Final = 8  # characters of the fingerprint that a reviewer types
LABEL_MAX, NOTE_MAX = 100, 500
_CHANGES_TRUST: Final = (
    "key.approved",
    "key.distrusted",
    KEPT,
    timestamping.ADDED,
    timestamping.REMOVED,
)  # entries after which `trust_for` gives something else


def register_key(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    pem: str,
    label: str,
    purposes: Sequence[str],
    options: Mapping[str, Any] | None = None,
) -> SigningKey:
    """Enrol a public key or certificate for approval. `options`: see portal.suppliers.enrolment.

    Raises InvalidInput (also, and loudly, for a private key), Conflict when the key is registered already.
    """
    actor.must(Permission.SUPPLIER_KEY_REGISTER)
    owner = own_supplier(actor)
    if actor.user_id is None:
        raise NotAllowed("a key is registered by a person")
    kept = {name: value for name, value in (options or {}).items() if value}
    demand(
        "The key was not registered.",
        (
            text_problem("label", label, LABEL_MAX),
            _purpose_problem(purposes),
            Problem("pem", f"at most {PEM_MAX} characters", str(len(pem))) if len(pem) > PEM_MAX else None,
        ),
    )
    info = _inspect(pem, kept)
    same = select(SigningKey).where(
        SigningKey.supplier_id == owner, SigningKey.fingerprint == info.fingerprint
    )
    if known := session.scalars(same).first():
        raise Conflict(
            f"This key is registered already, as “{known.label}” ({known.state}). One entry serves for all "
            "purposes: a new key needs a new pair."
        )
    key = SigningKey(
        supplier_id=owner,
        label=label.strip(),
        purposes=[purpose.value for purpose in KeyPurpose if purpose in purposes],
        pem=pem.strip() + "\n",
        kind=info.kind,
        algorithm=info.algorithm,
        fingerprint=info.fingerprint,
        options=kept,
        not_before=_moment(info.not_before),
        not_after=_moment(info.not_after),
        state=KeyState.PENDING,
        registered_by=actor.user_id,
        registered_at=clock.now(),
    )
    session.add(key)
    session.flush()
    _enter(session, clock, "key.registered", key, {"by": key.registered_by, "purposes": key.purposes})
    return key


def decide_key(
    session: Session,
    actor: Actor,
    clock: Clock,
    key_id: str,
    *,
    approve: bool,
    fingerprint_typed: str = "",
    note: str,
) -> SigningKey:
    """Approve a pending key, by typing the last 8 characters of the fingerprint as heard or read by another
    channel, or reject it. `note`: how it was confirmed, or why it was not.

    Raises NotFound, Conflict when it is decided already, InvalidInput.
    """
    actor.must(Permission.REVIEW_KEY_DECIDE)
    if actor.user_id is None:
        raise NotAllowed("a key is approved by a person")
    key = owned(session, actor, SigningKey, key_id, "key", lock=True)
    if key.state is not KeyState.PENDING:
        raise Conflict(f"This key is {key.state} already.")
    typed = fingerprint_typed.strip().replace(" ", "").replace(":", "").lower()
    wrong = approve and typed != key.fingerprint[-TYPED:].lower()
    demand(
        "The key was not decided on.",
        (
            text_problem("note", note, NOTE_MAX),
            Problem(
                "fingerprint",
                f"the last {TYPED} characters of the fingerprint",
                repr(fingerprint_typed[:80]) if typed else "nothing",
                "Ask the supplier by another channel, such as a telephone number that you know.",
            )
            if wrong
            else None,
        ),
    )
    key.state = KeyState.APPROVED if approve else KeyState.REJECTED
    key.decided_by, key.decided_at, key.decision_note = actor.user_id, clock.now(), note.strip()
    session.flush()
    body = {"by": key.decided_by, "purposes": key.purposes, "note": ledger.digest(key.decision_note)}
    _enter(session, clock, f"key.{key.state}", key, body)
    return key


def distrust_key(
    session: Session, actor: Actor, clock: Clock, key_id: str, *, since: datetime, reason: str
) -> SigningKey:
    """From `since` on, evidence signed with the key no longer counts (by the date of the evidence).

    It can be moved to an earlier time later, never to a later one. The caller files the change in the same
    transaction (portal.reassessment.service.key_distrusted). Raises NotFound, Conflict, InvalidInput.
    """
    actor.must(Permission.REVIEW_KEY_DECIDE)
    if actor.user_id is None:
        raise NotAllowed("a key is distrusted by a person")
    key = owned(session, actor, SigningKey, key_id, "key", lock=True)
    if key.state is not KeyState.APPROVED:
        raise Conflict(f"This key is {key.state}: only an approved one can be distrusted.")
    if key.distrusted_from is not None and since >= key.distrusted_from:
        raise Conflict(f"This key is distrusted already, from {rfc3339(key.distrusted_from)}.")
    late = since > clock.now()
    demand(
        "The key is trusted as before.",
        (
            text_problem("reason", reason, NOTE_MAX),
            Problem("since", "a time that has come", rfc3339(since)) if late else None,
        ),
    )
    key.distrusted_from, key.distrusted_by = since, actor.user_id
    key.distrusted_at, key.distrust_reason = clock.now(), reason.strip()
    session.flush()
    body = {"by": actor.user_id, "since": rfc3339(since), "reason": ledger.digest(key.distrust_reason)}
    _enter(session, clock, "key.distrusted", key, body)
    return key


def trust_for(session: Session, supplier_id: str) -> Trust:
    """The keys that were approved for a supplier, with their purposes, validity and distrust dates; what its
    authorities revoked; and the time-stamp authorities that count for everybody."""
    approved = _approved(session, supplier_id)
    return enrolment.trust_of(
        (enrolment.entry(name, key) for name, key in approved.items()),
        crls=[row.pem for row in lists_of(session, approved.values())],
        timestamp_authorities=timestamping.entries(session),
    )


@dataclass(frozen=True, slots=True)
class Believed:
    """What counted for a supplier at one moment: what entries of the ledger before number `before` tell."""

    trust: Trust
    before: int


def believed(session: Session, supplier_id: str) -> Believed:
    """What `trust_for` gives, and which entries it rests on.

    On PostgreSQL each statement sees what was committed when it began: where whom to believe changed
    meanwhile, all of it is read again.
    """
    while True:
        before = ledger.length(session)
        found = Believed(trust_for(session, supplier_id), before)
        if not changed_since(session, supplier_id, before):
            return found


def changed_since(session: Session, supplier_id: str, before: int, until: int | None = None) -> bool:
    """Whether entry number `before` of the ledger, or a later one (before `until`, if given), changed whom to
    believe for a supplier.

    After `ledger.take_turn` the answer holds to the end of the transaction.
    """
    about = or_(Entry.supplier_id == supplier_id, Entry.supplier_id.is_(None))
    changes = select(Entry.seq).where(Entry.seq >= before, Entry.kind.in_(_CHANGES_TRUST), about)
    if until is not None:
        changes = changes.where(Entry.seq < until)
    return session.scalar(changes.limit(1)) is not None


def signer_named(session: Session, supplier_id: str, name: str | None) -> SigningKey | None:
    """The approved key (or certificate authority) that a report on what `trust_for` judged names."""
    return _approved(session, supplier_id).get(name or "")


def _approved(session: Session, supplier_id: str) -> dict[str, SigningKey]:
    """By the name that reasons call them."""
    rows = session.scalars(
        select(SigningKey)
        .where(SigningKey.supplier_id == supplier_id, SigningKey.state == KeyState.APPROVED)
        .order_by(SigningKey.registered_at, SigningKey.id)
        .execution_options(populate_existing=True)  # as they are now, also where the session has seen them
    )
    found: dict[str, SigningKey] = {}
    for key in rows:
        name = key_name(key)
        found[f"{name} ({key.id})" if name in found else name] = key
    return found


def key_name(key: SigningKey) -> str:
    """How reasons name a key: its label and the end of its fingerprint."""
    return f"{key.label} …{key.fingerprint[-TYPED:]}"


def known_as(key: SigningKey) -> str:
    """What the tool that made it calls it ("OpenSSH key SHA256:…"), for people who compare; else nothing."""
    try:
        return inspect_key(key.pem).known_as
    except TrustError:  # registered under rules that have become stricter
        return ""


def _inspect(pem: str, options: Mapping[str, Any]) -> KeyInfo:
    try:
        info = inspect_key(pem)
    except TrustError as error:
        raise InvalidInput(
            "The key was not registered.",
            (
                Problem(
                    "pem",
                    "one public key (PEM, OpenSSH, minisign, signify) or X.509 certificate (PEM)",
                    error.message,
                    "Send the public half only; a private key never leaves your signing system.",
                ),
            ),
        ) from None
    if (name := published_key(info.fingerprint)) is not None:
        raise InvalidInput(
            "The key was not registered.",
            (
                Problem(
                    "pem",
                    "a key that only you can sign with",
                    f"a published key: {name}",
                    "Make a key pair of your own; samples and test keys are for trying out only.",
                ),
            ),
        )
    try:
        enrolment.trust_of([enrolment.built("new", pem, options, PURPOSES)])
    except (TrustError, TypeError) as error:
        why = error.message if isinstance(error, TrustError) else str(error)
        raise InvalidInput(
            "The key was not registered.",
            (Problem("options", f"options that fit a key {info.algorithm}", why),),
        ) from None
    return info


def _purpose_problem(purposes: Sequence[str]) -> Problem | None:
    known = [purpose.value for purpose in KeyPurpose]
    unknown = [purpose for purpose in purposes if purpose not in known]
    if purposes and not unknown:
        return None
    found = ", ".join(repr(purpose[:40]) for purpose in unknown) or "none"
    return Problem("purposes", "at least one of " + ", ".join(known), found)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _enter(session: Session, clock: Clock, kind: str, key: SigningKey, body: dict[str, Any]) -> None:
    ledger.append(session, clock, kind, key.id, key_says(key) | body, supplier_id=key.supplier_id)


def key_says(key: SigningKey) -> dict[str, Any]:
    """What every entry about a key says of it: `key` is the digest of its text, `options` how it signs."""
    return {
        "label": key.label,
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "form": key.kind,
        "not_before": rfc3339(key.not_before) if key.not_before else None,
        "not_after": rfc3339(key.not_after) if key.not_after else None,
        "key": ledger.digest(key.pem),
        "options": key.options,
    }
