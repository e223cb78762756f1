"""The checks of a lot: its units, their past, their values, their firmware and their way here."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from portal.db import chunks
from portal.submissions.firmware.service import accepted_versions
from portal.submissions.lots.manifest import MEASURED, CustodyRecord, Manifest, UnitRecord, holder_key
from portal.submissions.lots.models import Lot, Unit
from portal.submissions.models import Submission
from portal.suppliers.models import Product
from portal.verification import Check, Outcome

NAMED = 5  # examples in a reason
_UNITS = {"capacity_ah": "Ah", "resistance_mohm": "mΩ", "ocv_v": "V"}

Combination = tuple[tuple[str, str], ...]  # component and version, sorted


def count(manifest: Manifest) -> Check:
    found = len(manifest.units)
    if found == manifest.unit_count:
        return Check("lot.count", Outcome.PASS, f"{found:,} units, as declared.")
    return Check(
        "lot.count", Outcome.FAIL, f"Declared are {manifest.unit_count:,} units, listed are {found:,}."
    )


def serials_unique(units: Sequence[UnitRecord]) -> Check:
    counted = Counter(unit.serial_key for unit in units)
    twice = [serial for serial, times in counted.items() if times > 1]
    if not twice:
        return Check("lot.serials_unique", Outcome.PASS, "Every serial stands once in this lot.")
    return Check(
        "lot.serials_unique",
        Outcome.FAIL,
        f"{len(twice):,} serials stand more than once in this lot: {_some(twice)}.",
    )


def serials_new(
    session: Session, submission: Submission, lot: Lot | None, units: Sequence[UnitRecord]
) -> Check:
    """Never delivered before, by anyone: asked across all suppliers, told without naming another. A lot that
    is verified again is compared with those before it only: unit ids rise as lots are recorded."""
    earlier: list[ColumnElement[bool]] = []
    if lot is not None:
        first = session.scalar(select(func.min(Unit.id)).where(Unit.lot_id == lot.id))
        earlier = [Unit.id < (first or 0)]
    before: list[str] = []
    elsewhere = False
    for keys in chunks(dict.fromkeys(unit.serial_key for unit in units)):
        rows = session.execute(
            select(Unit.serial, Unit.supplier_id)
            .join(Lot, Lot.id == Unit.lot_id)
            .where(
                Unit.serial_key.in_(keys),
                Lot.live,
                Lot.submission_id.not_in([submission.id, submission.supersedes_id or submission.id]),
                *earlier,
            )
        )
        for serial, supplier_id in rows:
            before.append(serial)
            elsewhere |= supplier_id != submission.supplier_id
    if not before:
        return Check("lot.serials_new", Outcome.PASS, "None of the serials was ever delivered before.")
    by_whom = "by another supplier or by you" if elsewhere else "by you"
    return Check(
        "lot.serials_new",
        Outcome.FAIL,
        f"{len(set(before)):,} serials were delivered before ({by_whom}): {_some(sorted(set(before)))}. "
        "A serial belongs to one unit for ever.",
    )


def limits(product: Product, units: Sequence[UnitRecord]) -> Check:
    limits = product.limits or {}
    if not limits:
        return Check(
            "lot.limits",
            Outcome.WARN,
            "No acceptance limits were set for this product before the lot arrived.",
        )
    outside: list[str] = []
    for name in MEASURED:
        low = limits.get(name, {}).get("min", float("-inf"))
        high = limits.get(name, {}).get("max", float("inf"))
        for unit in units:
            value = getattr(unit, name)
            if not low <= value <= high:
                outside.append(f"{unit.serial} ({name.split('_')[0]} {value:g} {_UNITS[name]})")
    told = ", ".join(f"{name} {_range(limits[name])} {_UNITS[name]}" for name in MEASURED if name in limits)
    if not outside:
        return Check("lot.limits", Outcome.PASS, f"All values are inside the limits: {told}.")
    return Check(
        "lot.limits",
        Outcome.FAIL,
        f"{len(outside):,} values are outside the limits ({told}): {_some(outside)}.",
    )


def _range(bounds: dict[str, float]) -> str:
    low, high = bounds.get("min"), bounds.get("max")
    if low is not None and high is not None:
        return f"{low:g}–{high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}"


def firmware(session: Session, product: Product, units: Counter[Combination]) -> Check:
    accepted = accepted_versions(session, product.id)
    known = {component.name for component in product.components}
    wrong: Counter[str] = Counter()
    for combination, times in units.items():
        named = dict(combination)
        if not named and known:
            wrong["no firmware named"] += times
        for name, version in named.items():
            if name not in known:
                wrong[f"{name}: not a component of this product"] += times
            elif version not in accepted.get(name, ()):
                wrong[f"{name} {version}: not an accepted version"] += times
        for name in known - set(named) if named else ():
            wrong[f"{name}: no version named"] += times
    if not known:
        return Check(
            "lot.firmware", Outcome.NOT_APPLICABLE, "This product has no firmware-bearing component."
        )
    if not wrong:
        return Check("lot.firmware", Outcome.PASS, "Every unit runs accepted firmware.")
    told = "; ".join(f"{what} ({times:,} units)" for what, times in wrong.most_common(NAMED))
    return Check("lot.firmware", Outcome.FAIL, f"Units with firmware that is not accepted: {told}.")


def dates(manifest: Manifest, received: datetime) -> Check:
    late = [f"hand-off {n + 1} at {event.at:%Y-%m-%d %H:%M} UTC" for n, event in enumerate(manifest.custody)
            if event.at > received]  # fmt: skip
    if manifest.manufactured_on > received.date():
        late.insert(0, f"manufactured on {manifest.manufactured_on}")
    if late:
        return Check(
            "lot.dates",
            Outcome.FAIL,
            f"Dates after the manifest was received ({received:%Y-%m-%d}): {_some(late)}.",
        )
    return Check("lot.dates", Outcome.PASS, "No date is in the future.")


def custody(manifest: Manifest) -> Check:
    chain = manifest.custody
    if not chain:
        return Check("lot.custody", Outcome.FAIL, "The manifest names no hand-off at all.")
    gaps = _gaps(manifest.maker, chain)
    if gaps:
        return Check("lot.custody", Outcome.FAIL, f"The custody chain does not hold: {_some(gaps)}.")
    way = " → ".join([chain[0].from_holder, *(event.to_holder for event in chain)])
    return Check("lot.custody", Outcome.PASS, f"Custody is complete and in time order: {way}.")


def _gaps(maker: str, chain: Sequence[CustodyRecord]) -> list[str]:
    gaps = []
    if holder_key(chain[0].from_holder) != holder_key(maker):
        gaps.append(f"it begins with {chain[0].from_holder}, not with the maker {maker}")
    for number in range(1, len(chain)):
        before, after = chain[number - 1], chain[number]
        if holder_key(before.to_holder) != holder_key(after.from_holder):
            gaps.append(
                f"{before.to_holder} received it, but {after.from_holder} handed it on "
                f"(hand-off {number + 1})"
            )
        if after.at < before.at:
            gaps.append(f"hand-off {number + 1} is dated before hand-off {number}")
    return gaps


def attested(session: Session, lot: Lot | None) -> Check:
    """`lot.attested`: every unit covered by a valid attestation whose subject matches."""
    if lot is None:
        return Check("lot.attested", Outcome.NOT_RUN, "No attestations about this lot were received yet.")
    covered, total = session.execute(
        select(func.count(Unit.attested_by), func.count()).where(Unit.lot_id == lot.id)
    ).one()
    if covered == total:
        return Check("lot.attested", Outcome.PASS, f"All {total:,} units have a valid attestation.")
    if covered == 0:
        return Check("lot.attested", Outcome.NOT_RUN, "No unit of this lot has a valid attestation yet.")
    bare = total - covered
    missing_ones = session.scalars(
        select(Unit.serial)
        .where(Unit.lot_id == lot.id, Unit.attested_by.is_(None))
        .order_by(Unit.position)
        .limit(NAMED + 1)
    ).all()
    return Check(
        "lot.attested",
        Outcome.FAIL,
        f"{bare:,} of {total:,} units have no valid attestation: {_some(missing_ones, bare)}.",
    )


def _some(items: Sequence[str], count: int | None = None) -> str:
    count = len(items) if count is None else count
    shown = ", ".join(items[:NAMED])
    return shown if count <= NAMED else f"{shown} and {count - NAMED:,} more"
