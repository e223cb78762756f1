"""What is asked of a supplier about each product, and how far along it is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.policy.questionnaire import Progress
from portal.submissions.lots.models import Lot
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires.read import questionnaire_view
from portal.submissions.read import NEEDS_REPAIR, Current, current_submissions, open_lots
from portal.suppliers.models import Component, KeyPurpose, KeyState, Product, SigningKey


class AskKind(StrEnum):
    QUESTIONNAIRE = "questionnaire"
    KEYS = "keys"
    FIRMWARE = "firmware"
    LOT = "lot"
    ATTESTATIONS = "attestations"


class AskState(StrEnum):
    """todo → begun → waiting (for the machine or the buyer) → done; or repair. `later`: not possible yet."""

    TODO = "todo"
    BEGUN = "begun"
    REPAIR = "repair"
    WAITING = "waiting"
    DONE = "done"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing that is asked. `component` for firmware, `submission_id` of what stands now, `progress` of a
    questionnaire that is begun."""

    kind: AskKind
    state: AskState
    text: str
    component: Component | None = None
    submission_id: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class ProductAsks:
    product: Product
    asks: tuple[Ask, ...]

    @property
    def done(self) -> int:
        return sum(ask.state in (AskState.DONE, AskState.WAITING) for ask in self.asks)

    @property
    def total(self) -> int:
        return sum(ask.state is not AskState.LATER for ask in self.asks)

    @property
    def repairs(self) -> int:
        return sum(ask.state is AskState.REPAIR for ask in self.asks)


def asked(session: Session, supplier_id: str, products: Sequence[Product]) -> tuple[ProductAsks, ...]:
    """What is asked about each of `products`, in their order."""
    current = current_submissions(session, supplier_id)
    keys = session.scalars(select(SigningKey).where(SigningKey.supplier_id == supplier_id)).all()
    lots = open_lots(session, supplier_id)
    drafts = {
        row.product_id: row
        for row in session.scalars(
            select(Submission).where(
                Submission.supplier_id == supplier_id,
                Submission.kind == SubmissionKind.QUESTIONNAIRE,
                Submission.state == SubmissionState.DRAFT,
            )
        )
    }
    found = []
    for product in products:
        mine = [row for row in current if row.submission.product_id == product.id]
        open_here = [lot for lot in lots if lot.submission.product_id == product.id]
        found.append(
            ProductAsks(
                product,
                (
                    _questionnaire(session, drafts.get(product.id), mine),
                    _keys(keys, product),
                    *(_firmware(part, mine) for part in product.components),
                    _lots(mine),
                    _attestations(mine, open_here),
                ),
            )
        )
    return tuple(found)


def _questionnaire(session: Session, draft: Submission | None, mine: Sequence[Current]) -> Ask:
    if draft is not None:
        progress = questionnaire_view(session, draft).progress
        text = f"{progress.done} of {progress.total} required questions are done."
        return Ask(AskKind.QUESTIONNAIRE, AskState.BEGUN, text, submission_id=draft.id, progress=progress)
    return _standing(AskKind.QUESTIONNAIRE, mine, "Not begun. Around 25 questions, each saved as you go.")


def _keys(keys: Iterable[SigningKey], product: Product) -> Ask:
    needed = {KeyPurpose.ATTESTATION} | ({KeyPurpose.FIRMWARE} if product.components else set())
    good: set[str] = set()
    waiting: set[str] = set()
    for key in keys:
        if key.state is KeyState.APPROVED and key.distrusted_from is None:
            good |= set(key.purposes)
        elif key.state is KeyState.PENDING:
            waiting |= set(key.purposes)
    missing = [purpose.value for purpose in KeyPurpose if purpose in needed and purpose not in good]
    if not missing:
        return Ask(AskKind.KEYS, AskState.DONE, "Your keys for firmware and attestations are approved.")
    if set(missing) <= waiting:
        return Ask(
            AskKind.KEYS,
            AskState.WAITING,
            "A reviewer confirms the fingerprint with you by telephone or in person.",
        )
    names = " and ".join(sorted(set(missing) - waiting))
    return Ask(AskKind.KEYS, AskState.TODO, f"No key is registered for {names}.")


def _firmware(component: Component, mine: Sequence[Current]) -> Ask:
    about = [row for row in mine if row.subject_id == component.id]
    ask = _standing(AskKind.FIRMWARE, about, "No image was submitted yet.")
    return Ask(ask.kind, ask.state, ask.text, component, ask.submission_id)


def _lots(mine: Sequence[Current]) -> Ask:
    # What only lacks attestations is not for the lot to put right: the next line asks for them.
    held = [row for row in mine if {check.check_id for check in row.repairs} == {"lot.attested"}]
    judged = [row for row in mine if row not in held]
    if held and not any(row.submission.kind is SubmissionKind.LOT for row in judged):
        return Ask(AskKind.LOT, AskState.WAITING, "Every lot is right but for the attestations of its units.")
    return _standing(AskKind.LOT, judged, "No lot was submitted yet. Submit one before each delivery.")


def _attestations(mine: Sequence[Current], open_here: Sequence[Lot]) -> Ask:
    if open_here:
        named = ", ".join(lot.lot_number for lot in open_here[:3])
        more = f" and {len(open_here) - 3} more" if len(open_here) > 3 else ""
        text = f"Not every unit has a valid attestation yet in lot {named}{more}."
        about = [row for row in mine if row.submission.kind is SubmissionKind.ATTESTATIONS]
        failing = any(row.submission.outcome in NEEDS_REPAIR for row in about)
        return Ask(AskKind.ATTESTATIONS, AskState.REPAIR if failing else AskState.TODO, text)
    if any(row.submission.kind is SubmissionKind.LOT and row.submission.outcome for row in mine):
        return Ask(AskKind.ATTESTATIONS, AskState.DONE, "Every unit of every lot has a valid attestation.")
    return Ask(AskKind.ATTESTATIONS, AskState.LATER, "Comes after the lot: a signed statement for each unit.")


def _standing(kind: AskKind, rows: Sequence[Current], nothing: str) -> Ask:
    """How the submissions of this kind stand: the worst of them speaks."""
    found = [row.submission for row in rows if row.submission.kind == kind.value]
    if not found:
        return Ask(kind, AskState.TODO, nothing)
    judged = [(_state(row), row) for row in found]
    order = (AskState.REPAIR, AskState.WAITING, AskState.DONE)
    state, worst = min(judged, key=lambda item: order.index(item[0]))
    count = sum(one is state for one, _ in judged)
    subject = worst.title if count == 1 else f"{count} of {len(found)} lots"
    text = {
        AskState.REPAIR: f"{subject}: something did not pass and has to be put right.",
        AskState.WAITING: f"{subject}: received, and not decided on yet.",
        AskState.DONE: f"{subject}: accepted.",
    }[state]
    return Ask(kind, state, text, submission_id=worst.id if count == 1 else None)


def _state(row: Submission) -> AskState:
    if row.state is SubmissionState.ACCEPTED:
        return AskState.DONE
    if row.state is SubmissionState.REFUSED or row.outcome in NEEDS_REPAIR:
        return AskState.REPAIR
    return AskState.WAITING
