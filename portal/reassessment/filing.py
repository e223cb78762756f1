"""Filing a change notice: by people, or by the machine that saw something."""

from datetime import date
from typing import Final

from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import InvalidInput, NotAllowed, NotFound, Problem
from portal.formats import moment
from portal.ledger import service as ledger
from portal.reassessment.models import ChangeKind, ChangeNotice, ChangeSource
from portal.review.rules import text_problems
from portal.submissions.ports import JobQueue
from portal.suppliers.models import KeyState, Product, SigningKey, Supplier

TITLE_MAX: Final = 200
DESCRIPTION_MAX: Final = 10_000
TOLD_KINDS: Final = (
    ChangeKind.BOM,
    ChangeKind.FIRMWARE,
    ChangeKind.OWNERSHIP,
    ChangeKind.SITE,
    ChangeKind.OTHER,
)
"""What people may tell; the other kinds are seen by the machine."""


def file_notice(
    session: Session,
    actor: Actor,
    clock: Clock,
    jobs: JobQueue,
    *,
    kind: ChangeKind,
    title: str,
    description: str = "",
    product_id: str | None = None,
    supplier_id: str | None = None,
    effective_on: date | None = None,
) -> ChangeNotice:
    """Tell a change to one product, or (`product_id` None) to all products of a supplier.

    Suppliers tell about themselves; a reviewer names a product or a supplier. Enqueues `reassess`. Ledger:
    `change.filed`. Raises NotFound, NotAllowed, InvalidInput.
    """
    buyer = actor.supplier_id is None
    actor.must(Permission.REVIEW_CHANGE_FILE if buyer else Permission.SUPPLIER_CHANGE_FILE)
    if actor.user_id is None:
        raise NotAllowed("a change notice needs a person; what the machine sees it files itself")
    problems = [*text_problems("title", title, TITLE_MAX)]
    if len(description) > DESCRIPTION_MAX:
        problems.append(
            Problem("description", f"at most {DESCRIPTION_MAX} characters", str(len(description)))
        )
    if kind not in TOLD_KINDS:
        problems.append(Problem("kind", "one of " + ", ".join(TOLD_KINDS), kind.value))
    owner = _owner(session, actor, product_id, supplier_id)
    if owner is None:
        problems.append(
            Problem("product_id", "a product or a supplier", "neither", "Name what the change is about.")
        )
    if problems or owner is None:
        raise InvalidInput("the change was not filed", tuple(problems))
    notice = ChangeNotice(
        supplier_id=owner,
        kind=kind,
        source=ChangeSource.BUYER if buyer else ChangeSource.SUPPLIER,
        title=title.strip(),
        description=description.strip(),
        effective_on=effective_on,
        product_id=product_id,
        filed_by=actor.user_id,
        filed_at=clock.now(),
    )
    return _filed(session, clock, notice, jobs)


def key_distrusted(
    session: Session, actor: Actor, clock: Clock, jobs: JobQueue, key: SigningKey
) -> ChangeNotice:
    """The machine's notice that a key is no longer trusted; goes in one transaction with the distrust
    itself."""
    actor.must(Permission.REVIEW_KEY_DECIDE)
    since = key.distrusted_from
    if since is None:
        raise InvalidInput("the change was not filed", (Problem("key", "a distrusted key", "a trusted one"),))
    notice = notice_from_machine(
        session,
        clock,
        supplier_id=key.supplier_id,
        kind=ChangeKind.KEY,
        title=f"Key distrusted: {key.label}",
        description=f"{key.fingerprint} is distrusted from {moment(since)}. {key.distrust_reason}".strip(),
        signing_key_id=key.id,
    )
    jobs.enqueue(session, "reassess", notice.id, key=notice.id)
    return notice


def certificates_revoked(
    session: Session, clock: Clock, jobs: JobQueue, key: SigningKey, count: int
) -> ChangeNotice | None:
    """The machine's notice that an approved authority revoked certificates; goes in one transaction with its
    list. None where nobody relied on the authority."""
    if key.state is not KeyState.APPROVED:
        return None
    notice = notice_from_machine(
        session,
        clock,
        supplier_id=key.supplier_id,
        kind=ChangeKind.KEY,
        title=f"Certificates revoked: {key.label}",
        description=f"A list of the certificate authority {key.fingerprint} revokes {count} more.",
        signing_key_id=key.id,
    )
    jobs.enqueue(session, "reassess", notice.id, key=notice.id)
    return notice


def notice_from_machine(
    session: Session,
    clock: Clock,
    *,
    supplier_id: str,
    kind: ChangeKind,
    title: str,
    description: str = "",
    product_id: str | None = None,
    signing_key_id: str | None = None,
    submission_id: str | None = None,
) -> ChangeNotice:
    """A change that the machine saw. The caller handles it or enqueues `reassess`."""
    notice = ChangeNotice(
        supplier_id=supplier_id,
        kind=kind,
        source=ChangeSource.MACHINE,
        title=title[:TITLE_MAX],
        description=description,
        effective_on=None,
        product_id=product_id,
        signing_key_id=signing_key_id,
        submission_id=submission_id,
        filed_by=None,
        filed_at=clock.now(),
    )
    return _filed(session, clock, notice, None)


def _owner(session: Session, actor: Actor, product_id: str | None, supplier_id: str | None) -> str | None:
    """The supplier that a notice is about; NotFound when the actor cannot see what they name."""
    if product_id is not None:
        product = session.get(Product, product_id)
        if product is None or actor.supplier_id not in (None, product.supplier_id):
            raise NotFound("there is no such product")
        return product.supplier_id
    if actor.supplier_id is not None:
        return actor.supplier_id
    if supplier_id is not None and session.get(Supplier, supplier_id) is None:
        raise NotFound("there is no such supplier")
    return supplier_id


def _filed(session: Session, clock: Clock, notice: ChangeNotice, jobs: JobQueue | None) -> ChangeNotice:
    session.add(notice)
    session.flush()
    ledger.append(
        session,
        clock,
        "change.filed",
        notice.id,
        filed_says(notice),
        supplier_id=notice.supplier_id,
    )
    if jobs is not None:
        jobs.enqueue(session, "reassess", notice.id, key=notice.id)
    return notice


def filed_says(notice: ChangeNotice) -> dict[str, object]:
    """What the ledger says of a change when it is told."""
    return {
        "change": notice.kind.value,
        "source": notice.source.value,
        "title": ledger.digest(notice.title),
        "description": ledger.digest(notice.description),
        "effective_on": notice.effective_on.isoformat() if notice.effective_on else None,
        "by": notice.filed_by,
        "product": notice.product_id,
        "key": notice.signing_key_id,
        "submission": notice.submission_id,
    }
