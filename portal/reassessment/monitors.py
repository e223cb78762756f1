"""What time has caught up with: decisions that are old, dates that passed, keys that ran out, a newer
policy."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.clock import Clock, today
from portal.policy.evaluate import evaluate
from portal.policy.facts import Facts
from portal.policy.model import builtin
from portal.policy.result import difference
from portal.reassessment.models import ChangeKind, ChangeNotice, ChangeSource
from portal.review.assessing import newest_assessment, result_of
from portal.review.facts import last_settled
from portal.review.models import Assessment, Decision
from portal.review.rules import APPROVALS
from portal.submissions.firmware.models import FirmwareRelease
from portal.suppliers.models import Component, Product, SigningKey


@dataclass(frozen=True, slots=True)
class Due:
    """Why a product has to be assessed again."""

    kind: ChangeKind
    title: str
    description: str = ""


def due(session: Session, clock: Clock, days: int) -> Iterator[tuple[Product, Due]]:
    """Products that people decided on and that must be assessed again today, each with the weightiest
    reason."""
    decided = select(Decision.product_id).where(Decision.settled_id.is_not(None))
    for product in session.scalars(select(Product).where(Product.id.in_(decided)).order_by(Product.id)).all():
        newest = newest_assessment(session, product.id)
        settled = last_settled(session, product.id)
        if newest is None or settled is None:
            continue
        facts = Facts.from_json(newest.facts)
        reason = (
            _yearly(settled, facts, today(clock), days)
            or _by_date(newest, facts, today(clock))
            or _expired_keys(session, product, newest, clock.now())
        )
        if reason is not None:
            yield product, reason


def _yearly(settled: Decision, facts: Facts, day: date, days: int) -> Due | None:
    """An approval holds for `days`; once told, the change stays open until people decide."""
    told = any(change.kind == ChangeKind.DUE for change in facts.changes)
    age = (day - settled.decided_at.date()).days
    if told or settled.kind not in APPROVALS or age < days:
        return None
    return Due(ChangeKind.DUE, "Re-assessment is due", f"Last decided on {age} days ago; {days} are allowed.")


def _by_date(newest: Assessment, facts: Facts, day: date) -> Due | None:
    """The same facts, judged by the policy and the day of today, say something else."""
    before = result_of(newest)
    now = evaluate(builtin(), facts, newest.tier, day)
    changed = difference(before, now)
    if changed.policy_changed:
        return Due(ChangeKind.OTHER, f"Policy {now.policy_id} {now.policy_version} applies")
    if changed.empty:
        return None
    told = "; ".join(f"{control.control_id}: {control.why[0]}" for control in changed.controls if control.why)
    ids = ", ".join(control.control_id for control in changed.controls[:5])
    return Due(ChangeKind.DATE, f"A date passed: {ids}" if ids else "A date passed", told)


def _expired_keys(session: Session, product: Product, newest: Assessment, now: datetime) -> Due | None:
    """Keys that signed accepted firmware and whose validity ended since anybody looked."""
    told = session.scalar(
        select(func.max(ChangeNotice.filed_at)).where(
            ChangeNotice.product_id == product.id,
            ChangeNotice.kind == ChangeKind.DATE,
            ChangeNotice.source == ChangeSource.MACHINE,
        )
    )
    since = max(newest.created_at, told or newest.created_at)
    keys = session.scalars(
        select(SigningKey)
        .distinct()
        .join(FirmwareRelease, FirmwareRelease.signing_key_id == SigningKey.id)
        .join(Component, Component.id == FirmwareRelease.component_id)
        .where(
            Component.product_id == product.id,
            FirmwareRelease.accepted_at.is_not(None),
            FirmwareRelease.withdrawn_at.is_(None),
            SigningKey.not_after > since,
            SigningKey.not_after <= now,
        )
    ).all()
    if not keys:
        return None
    return Due(
        ChangeKind.DATE,
        f"Key no longer valid: {', '.join(sorted(key.label for key in keys))}",
        "\n".join(f"{key.fingerprint} was valid until {key.not_after}" for key in keys),
    )
