"""What time has caught up with: old decisions, dates that passed, keys that ran out, a newer policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from portal.clock import Clock, today
from portal.policy.evaluate import evaluate
from portal.policy.facts import Facts
from portal.policy.model import builtin
from portal.policy.result import difference
from portal.reassessment.models import ChangeKind, ChangeNotice, ChangeSource
from portal.review.assessing import facts_now, newest_assessment, result_of
from portal.review.facts import last_settled
from portal.review.models import Assessment, Decision
from portal.review.rules import APPROVALS
from portal.submissions.firmware.models import FirmwareRelease
from portal.suppliers.models import Component, Product, SigningKey

_HANDLED_WITHIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Due:
    """Why a product has to be assessed again."""

    kind: ChangeKind
    title: str
    description: str = ""


def due(session: Session, clock: Clock, days: int) -> list[tuple[str, Due]]:
    """Ids of products to assess again today, each with the weightiest reason. Only reads."""
    found = []
    assessed = select(Product).where(Product.id.in_(select(Assessment.product_id))).order_by(Product.id)
    for product in session.scalars(assessed).all():
        newest = newest_assessment(session, product.id)
        settled = last_settled(session, product.id)
        if newest is None or (settled is not None and settled.kind not in APPROVALS):
            continue  # what was refused waits for new evidence, not for the calendar
        facts = facts_now(session, clock, product, newest, settled)
        reason = (
            _yearly(settled, facts, today(clock), days)
            or _otherwise(newest, facts, product.tier, today(clock))
            or _expired_keys(session, product, newest, clock.now())
        )
        if reason is not None:
            found.append((product.id, reason))
    return found


def unhandled(session: Session, clock: Clock) -> Sequence[str]:
    """Ids of change notices whose job must have failed: what they touch stands as if nothing had happened."""
    late = ChangeNotice.filed_at < clock.now() - _HANDLED_WITHIN
    wanted = select(ChangeNotice.id).where(ChangeNotice.handled_at.is_(None), late)
    return session.scalars(wanted.order_by(ChangeNotice.filed_at, ChangeNotice.id)).all()


def _yearly(settled: Decision | None, facts: Facts, day: date, days: int) -> Due | None:
    """An approval holds for `days`; once told, the change stays open until people decide."""
    told = any(change.kind == ChangeKind.DUE for change in facts.changes)
    if told or settled is None:
        return None
    age = (day - settled.decided_at.date()).days
    if age < days:
        return None
    return Due(ChangeKind.DUE, "Re-assessment is due", f"Last decided on {age} days ago; {days} are allowed.")


def _otherwise(newest: Assessment, facts: Facts, tier: int, day: date) -> Due | None:
    """What is known now, judged by the policy and on the day of today, says something else."""
    now = evaluate(builtin(), facts, tier, day)
    changed = difference(result_of(newest), now)
    if changed.policy_changed:
        return Due(ChangeKind.OTHER, f"Policy {now.policy_id} {now.policy_version} applies")
    if changed.empty:
        return None
    told = "; ".join(f"{control.control_id}: {control.why[0]}" for control in changed.controls if control.why)
    changed_ids = [control.control_id for control in changed.controls]
    ids = ", ".join(list(dict.fromkeys([*changed.knock_outs_added, *changed_ids]))[:5])
    if facts.digest == f"sha256:{newest.facts_digest}":
        return Due(ChangeKind.DATE, f"A date passed: {ids}" if ids else "A date passed", told)
    return Due(ChangeKind.OTHER, f"Evidence is otherwise: {ids}" if ids else "Evidence is otherwise", told)


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
    in_the_field = (
        exists()
        .where(
            FirmwareRelease.signing_key_id == SigningKey.id,
            FirmwareRelease.accepted_at.is_not(None),
            FirmwareRelease.withdrawn_at.is_(None),
        )
        .where(Component.id == FirmwareRelease.component_id, Component.product_id == product.id)
    )
    keys = session.scalars(
        select(SigningKey).where(in_the_field, SigningKey.not_after > since, SigningKey.not_after <= now)
    ).all()
    if not keys:
        return None
    return Due(
        ChangeKind.DATE,
        f"Key no longer valid: {', '.join(sorted(key.label for key in keys))}",
        "\n".join(f"{key.fingerprint} was valid until {key.not_after}" for key in keys),
    )
