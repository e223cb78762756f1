"""Holds: placed by one person, released by two. What is under hold stays, whoever asks."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound, Problem
from portal.evidence.models import Evidence
from portal.ledger import service as ledger
from portal.retention.models import Hold, HoldAct, HoldStep
from portal.submissions.models import Attachment, Submission
from portal.submissions.questionnaires.models import AnswerEvidence
from portal.suppliers.models import Product, Supplier


def in_force() -> ColumnElement[bool]:
    """The condition that a hold was not released."""
    return ~exists().where(HoldAct.hold_id == Hold.id, HoldAct.step == HoldStep.RELEASED)


def covers(evidence: type[Evidence]) -> ColumnElement[bool]:
    """The condition that a hold is on a row of Evidence: on it, its supplier or a product it was for."""
    for_product = or_(
        *(
            exists().where(
                use.evidence_id == evidence.id,
                use.submission_id == Submission.id,
                Submission.product_id == Hold.product_id,
            )
            for use in (Attachment, AnswerEvidence)
        )
    )
    return or_(
        Hold.evidence_id == evidence.id,
        Hold.product_id.is_not(None) & for_product,
        Hold.product_id.is_(None) & Hold.evidence_id.is_(None) & (Hold.supplier_id == evidence.supplier_id),
    )


@dataclass(frozen=True, slots=True)
class Frozen:
    """What is under hold now: the reference of the (oldest) hold by supplier, product and evidence id."""

    suppliers: Mapping[str, str]
    products: Mapping[str, str]
    evidence: Mapping[str, str]


def frozen(session: Session) -> Frozen:
    suppliers: dict[str, str] = {}
    products: dict[str, str] = {}
    evidence: dict[str, str] = {}
    for hold in session.scalars(select(Hold).where(in_force()).order_by(Hold.placed_at, Hold.id)):
        if hold.evidence_id is not None:
            evidence.setdefault(hold.evidence_id, hold.reference)
        elif hold.product_id is not None:
            products.setdefault(hold.product_id, hold.reference)
        else:
            suppliers.setdefault(hold.supplier_id, hold.reference)
    return Frozen(suppliers, products, evidence)


def place(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    supplier_id: str,
    product_id: str | None = None,
    evidence_id: str | None = None,
    reference: str,
    why: str,
) -> Hold:
    """Freeze everything of a supplier, of one of its products, or one file. It is in force with the commit.

    A deletion that is being committed at the same moment comes either before it, whole, or not at all.
    Raises NotAllowed, NotFound, InvalidInput.
    """
    actor.must(Permission.REVIEW_HOLD_PLACE)
    if actor.user_id is None:
        raise NotAllowed("a hold needs a person")
    ledger.take_turn(session)
    _demand(reference, why)
    if product_id is not None and evidence_id is not None:
        raise InvalidInput("A hold is on a supplier, on a product or on one file.")
    if session.get(Supplier, supplier_id) is None:
        raise NotFound("There is no such supplier.")
    product = session.get(Product, product_id) if product_id else None
    if product_id and (product is None or product.supplier_id != supplier_id):
        raise NotFound("This supplier has no such product.")
    evidence = session.get(Evidence, evidence_id) if evidence_id else None
    if evidence_id and (evidence is None or evidence.supplier_id != supplier_id):
        raise NotFound("This supplier has no such file.")
    hold = Hold(
        supplier_id=supplier_id,
        product_id=product_id,
        evidence_id=evidence_id,
        reference=reference.strip(),
        why=why.strip(),
        placed_by=actor.user_id,
        placed_at=clock.now(),
    )
    session.add(hold)
    session.flush()
    ledger.append(session, clock, "hold.placed", hold.id, says(hold), supplier_id=supplier_id)
    return hold


def says(hold: Hold) -> dict[str, object]:
    """What the ledger says of a hold."""
    return {
        "product": hold.product_id,
        "evidence": hold.evidence_id,
        "reference": hold.reference,
        "why": ledger.digest(hold.why),
        "by": hold.placed_by,
    }


def act_says(act: HoldAct) -> dict[str, object]:
    """What the ledger says of a step towards a hold's end."""
    return {"hold": act.hold_id, "why": ledger.digest(act.why), "by": act.by}


def ask_release(session: Session, actor: Actor, clock: Clock, hold_id: str, *, why: str) -> HoldAct:
    """Say that a hold is needed no more. It stays in force until another person releases it."""
    hold = _open_hold(session, actor, hold_id)
    if act_of(session, hold.id, HoldStep.RELEASE_ASKED) is not None:
        raise Conflict("Somebody has asked for its release already: another person releases it.")
    return _act(session, actor, clock, hold, HoldStep.RELEASE_ASKED, why)


def release(session: Session, actor: Actor, clock: Clock, hold_id: str, *, why: str) -> HoldAct:
    """End a hold that somebody else asked to be released. Raises Conflict, NotAllowed."""
    hold = _open_hold(session, actor, hold_id)
    asked = act_of(session, hold.id, HoldStep.RELEASE_ASKED)
    if asked is None:
        raise Conflict("Nobody has asked for its release: one person asks, another one releases.")
    if asked.by == actor.user_id:
        raise NotAllowed("You have asked for its release: another person releases it.")
    return _act(session, actor, clock, hold, HoldStep.RELEASED, why)


def act_of(session: Session, hold_id: str, step: HoldStep) -> HoldAct | None:
    return session.scalars(select(HoldAct).where(HoldAct.hold_id == hold_id, HoldAct.step == step)).first()


def _open_hold(session: Session, actor: Actor, hold_id: str) -> Hold:
    actor.must(Permission.REVIEW_HOLD_RELEASE)
    if actor.user_id is None:
        raise NotAllowed("the release of a hold needs a person")
    ledger.take_turn(session)
    hold = session.get(Hold, hold_id)
    if hold is None:
        raise NotFound("There is no such hold.")
    if act_of(session, hold.id, HoldStep.RELEASED) is not None:
        raise Conflict("This hold was released already.")
    return hold


def _act(session: Session, actor: Actor, clock: Clock, hold: Hold, step: HoldStep, why: str) -> HoldAct:
    _demand("known", why)
    act = HoldAct(
        supplier_id=hold.supplier_id,
        hold_id=hold.id,
        step=step,
        why=why.strip(),
        by=actor.user_id,
        at=clock.now(),
    )
    session.add(act)
    session.flush()
    ledger.append(session, clock, f"hold.{step.value}", act.id, act_says(act), supplier_id=hold.supplier_id)
    return act


def _demand(reference: str, why: str) -> None:
    problems = [
        Problem(name, f"1 to {most} characters", f"{len(text.strip())}")
        for name, text, most in (("reference", reference, 100), ("why", why, 500))
        if not 1 <= len(text.strip()) <= most
    ]
    if problems:
        raise InvalidInput("The hold was not changed.", tuple(problems))
