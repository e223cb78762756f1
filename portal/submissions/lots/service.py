"""Lots: submit a manifest, and check its units, their past, their values and their way here."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.db import new_id
from portal.errors import InvalidInput, Problem
from portal.evidence.models import Evidence
from portal.evidence.ports import BlobStore
from portal.ledger import service as ledger
from portal.submissions.drafting import Progress, attach, attached, missing, start
from portal.submissions.findings import Limits
from portal.submissions.firmware.service import SIGNATURE_MAX, accepted_versions, must_be_delivered
from portal.submissions.lots.manifest import (
    MEASURED,
    CustodyRecord,
    Manifest,
    UnitRecord,
    holder_key,
    read_manifest,
)
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.lots.told import RECORDED, UNIT, digest_of_units, says
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.submissions.signers import explained
from portal.suppliers.keys import believed
from portal.suppliers.models import Product
from portal.suppliers.rules import clean_text
from portal.verification import Check, Outcome, verify_file, worst

_ORDER = (
    "manifest", "signature", "count", "serials_unique", "serials_new", "limits", "firmware", "dates",
    "custody", "attested",
)  # fmt: skip
_KEPT = Limits(manifest_bytes=1 << 62, manifest_units=1 << 62)
_CHUNK = 900  # values in one IN list, below SQLite's oldest limit
_NAMED = 5  # examples in a reason
_UNIT = attrgetter(*UNIT[1:])  # its place comes first
_UNITS = {"capacity_ah": "Ah", "resistance_mohm": "mΩ", "ocv_v": "V"}


def start_lot(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    product_id: str,
    lot_number: str,
    manifest_id: str | None = None,
    units_id: str | None = None,
    signature_id: str | None = None,
    supersedes_id: str | None = None,
) -> Submission:
    """A draft that offers a lot manifest (JSON), with units as CSV and a detached signature where given."""
    lot_number = clean_text(lot_number, "lot", 100)
    submission = start(
        session,
        actor,
        clock,
        kind=SubmissionKind.LOT,
        product_id=product_id,
        title=f"Lot {lot_number}",
        supersedes_id=supersedes_id,
    )
    for evidence_id, role in (
        (manifest_id, AttachmentRole.MANIFEST),
        (units_id, AttachmentRole.UNITS),
        (signature_id, AttachmentRole.SIGNATURE),
    ):
        if evidence_id:
            attach(session, actor, clock, submission.id, evidence_id, role)
    return submission


def problems(_session: Session, submission: Submission) -> tuple[Problem, ...]:
    return missing(submission, AttachmentRole.MANIFEST, "the lot manifest")


def declared(_session: Session, _submission: Submission) -> dict[str, object]:
    """Nothing: all is in its manifest."""
    return {}


def kept(_session: Session, _submission: Submission) -> dict[str, object]:
    """Nothing: a lot is written down once, and has an entry of its own."""
    return {}


def lot_of(session: Session, submission_id: str) -> Lot | None:
    return session.scalars(select(Lot).where(Lot.submission_id == submission_id)).first()


def withdraw(session: Session, _clock: Clock, submission: Submission) -> None:
    """Its serials are free again."""
    lot = lot_of(session, submission.id)
    if lot is not None:
        lot.live = False


Combination = tuple[tuple[str, str], ...]  # component and version, sorted


@dataclass(frozen=True, slots=True)
class LotFindings:
    """`alone`: the checks of the manifest by itself, by their ids. `firmware`: how many units run what.
    `units`: their digest, as the ledger tells it."""

    alone: dict[str, Check]
    manifest: Manifest | None = None
    firmware: Counter[Combination] = field(default_factory=Counter)
    units: str = ""
    trust_before: int | None = None

    def settle(self, session: Session, submission: Submission) -> tuple[Check, ...]:
        """With what was delivered before, what firmware is accepted and what attestations cover."""
        if self.manifest is None:
            return tuple(self.alone.values())
        lot = lot_of(session, submission.id)
        compared = (
            _new(session, submission, lot, self.manifest.units),
            _firmware(session, submission.product, self.firmware),
            attested_check(session, lot),
        )
        found = self.alone | {check.id: check for check in compared}
        return tuple(found[f"lot.{name}"] for name in _ORDER)

    def record(self, session: Session, clock: Clock, submission: Submission) -> None:
        """Keep the lot, its units and its custody the first time it could be read. Ledger: `lot.recorded`."""
        if self.manifest is None or lot_of(session, submission.id) is not None:
            return
        lot = Lot(
            id=new_id(),
            supplier_id=submission.supplier_id,
            submission_id=submission.id,
            lot_number=self.manifest.lot,
            maker=self.manifest.maker,
            site=self.manifest.site,
            manufactured_on=self.manifest.manufactured_on,
            declared_count=self.manifest.unit_count,
            unit_count=len(self.manifest.units),
        )
        session.add(lot)
        if submission.supersedes_id is not None:
            replaced = lot_of(session, submission.supersedes_id)
            if replaced is not None:
                replaced.live = False
        session.flush()
        owned = {"supplier_id": submission.supplier_id, "lot_id": lot.id}
        for rows in _chunks(_unit_rows(self.manifest.units, owned), 5000):
            session.execute(insert(Unit), rows)
        for position, event in enumerate(self.manifest.custody):
            session.add(
                CustodyEvent(
                    **owned,
                    position=position,
                    kind=event.event,
                    from_holder=event.from_holder,
                    to_holder=event.to_holder,
                    location=event.location,
                    at=event.at,
                    seal=event.seal,
                )
            )
        session.flush()
        ledger.append(session, clock, RECORDED, lot.id, says(session, lot, self.units), lot.supplier_id)


def examine(
    session: Session, store: BlobStore, submission: Submission, progress: Progress, limits: Limits
) -> LotFindings:
    """All checks of a lot by itself; only `lot.manifest` and the signature where it cannot be read."""
    evidence = attached(submission, AttachmentRole.MANIFEST)
    if evidence is None or submission.submitted_at is None:
        raise InvalidInput("the submission has no manifest")
    progress(0, 3, "reading the manifest")
    signature, trust_before = _signature(session, store, submission, evidence)
    if lot_of(session, submission.id) is not None:
        limits = _KEPT  # what was taken once is read again, whatever the settings say now
    try:
        manifest = _read(store, submission, evidence, limits)
        _fits(manifest, submission)
    except InvalidInput as error:
        shown = "; ".join(str(problem) for problem in error.problems[:_NAMED])
        more = len(error.problems) - _NAMED
        text = f"{error.message}: {shown}" + (f"; and {more} more" if more > 0 else "")
        unreadable = Check("lot.manifest", Outcome.UNREADABLE, text)
        return LotFindings({check.id: check for check in (unreadable, signature)}, trust_before=trust_before)
    progress(1, 3, "checking units")
    units = manifest.units
    text = f"The manifest holds to its schema: {len(units):,} units, {len(manifest.custody)} hand-offs."
    alone = (
        Check("lot.manifest", Outcome.PASS, text),
        signature,
        _count(manifest),
        _unique(units),
        _limits(submission.product, units),
        _dates(manifest, submission),
        _custody(manifest),
    )
    progress(2, 3, "comparing with what was delivered before")
    return LotFindings(
        {check.id: check for check in alone},
        manifest,
        Counter(tuple(sorted(unit.firmware.items())) for unit in units),
        units=digest_of_units((place, *_UNIT(unit)) for place, unit in enumerate(units)),
        trust_before=trust_before,
    )


def _read(store: BlobStore, submission: Submission, evidence: Evidence, limits: Limits) -> Manifest:
    units = attached(submission, AttachmentRole.UNITS)
    for file in (evidence, units):
        if file is not None and file.size > limits.manifest_bytes:
            raise InvalidInput(
                "the file is too large",
                (Problem(file.filename, f"at most {limits.manifest_bytes:,} bytes", f"{file.size:,}"),),
            )
    data = _bytes(store, evidence)
    table = None if units is None else _bytes(store, units)
    return read_manifest(data, table, max_units=limits.manifest_units)


def _bytes(store: BlobStore, evidence: Evidence) -> bytes:
    """The file as it was delivered. Raises StorageFailed when the store gave other bytes."""
    with store.open(evidence.sha256) as stream:
        data = stream.read()
    must_be_delivered(hashlib.sha256(data).hexdigest(), evidence)
    return data


def _fits(manifest: Manifest, submission: Submission) -> None:
    """The manifest must be about the product and lot that were named with it."""
    found = []
    if manifest.product != submission.product.model:
        found.append(Problem("product", submission.product.model, manifest.product))
    if f"Lot {manifest.lot}" != submission.title:
        found.append(Problem("lot", submission.title.removeprefix("Lot "), manifest.lot))
    if found:
        raise InvalidInput("the manifest is about something else than was submitted", tuple(found))


def _signature(
    session: Session, store: BlobStore, submission: Submission, evidence: Evidence
) -> tuple[Check, int | None]:
    """The check, and before which entry of the ledger stands whom it believed."""
    offered = attached(submission, AttachmentRole.SIGNATURE)
    if offered is None or submission.submitted_at is None:
        text = "No signature over the manifest was offered."
        return Check("lot.signature", Outcome.NOT_APPLICABLE, text), None
    with store.open(offered.sha256) as stream:
        signature = stream.read(SIGNATURE_MAX + 1)
    believing = believed(session, submission.supplier_id)
    with store.get_local_path(evidence.sha256) as path:
        report = verify_file(
            path,
            believing.trust,
            at=submission.submitted_at.timestamp(),
            purpose="manifest",
            signature=signature,
        )
        checks = explained(session, submission.supplier_id, path, report, signature, "manifest")
    wanted = [check for check in checks if check.id.split(".")[1] in ("signature", "key", "algorithm")]
    outcome = worst(check.outcome for check in wanted)
    told = [check.reason for check in wanted if outcome is Outcome.PASS or check.outcome is outcome]
    reason = " ".join(dict.fromkeys(told))
    return Check("lot.signature", outcome, reason), believing.before


def _count(manifest: Manifest) -> Check:
    found = len(manifest.units)
    if found == manifest.unit_count:
        return Check("lot.count", Outcome.PASS, f"{found:,} units, as declared.")
    return Check(
        "lot.count", Outcome.FAIL, f"Declared are {manifest.unit_count:,} units, listed are {found:,}."
    )


def _unique(units: Sequence[UnitRecord]) -> Check:
    counted = Counter(unit.serial_key for unit in units)
    twice = [serial for serial, times in counted.items() if times > 1]
    if not twice:
        return Check("lot.serials_unique", Outcome.PASS, "Every serial stands once in this lot.")
    return Check(
        "lot.serials_unique",
        Outcome.FAIL,
        f"{len(twice):,} serials stand more than once in this lot: {_some(twice)}.",
    )


def _new(session: Session, submission: Submission, lot: Lot | None, units: Sequence[UnitRecord]) -> Check:
    """Never delivered before, by anyone: asked across all suppliers, told without naming another. A lot that
    is verified again is compared with those before it only: unit ids rise as lots are recorded."""
    earlier: list[ColumnElement[bool]] = []
    if lot is not None:
        first = session.scalar(select(func.min(Unit.id)).where(Unit.lot_id == lot.id))
        earlier = [Unit.id < (first or 0)]
    before: list[str] = []
    elsewhere = False
    for keys in _chunks(dict.fromkeys(unit.serial_key for unit in units), _CHUNK):
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


def _limits(product: Product, units: Sequence[UnitRecord]) -> Check:
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


def _firmware(session: Session, product: Product, units: Counter[Combination]) -> Check:
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
    told = "; ".join(f"{what} ({times:,} units)" for what, times in wrong.most_common(_NAMED))
    return Check("lot.firmware", Outcome.FAIL, f"Units with firmware that is not accepted: {told}.")


def _dates(manifest: Manifest, submission: Submission) -> Check:
    assert submission.submitted_at is not None  # noqa: S101  # examine has seen to it
    received = submission.submitted_at
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


def _custody(manifest: Manifest) -> Check:
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


def attested_check(session: Session, lot: Lot | None) -> Check:
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
        .limit(_NAMED + 1)
    ).all()
    return Check(
        "lot.attested",
        Outcome.FAIL,
        f"{bare:,} of {total:,} units have no valid attestation: {_some(missing_ones, bare)}.",
    )


def _unit_rows(units: Sequence[UnitRecord], owned: dict[str, str]) -> Iterator[dict[str, Any]]:
    for position, unit in enumerate(units):
        yield {
            **owned,
            "position": position,
            "serial": unit.serial,
            "serial_key": unit.serial_key,
            "digest": unit.digest,
            "firmware": unit.firmware,
            "capacity_ah": unit.capacity_ah,
            "resistance_mohm": unit.resistance_mohm,
            "ocv_v": unit.ocv_v,
        }


def _some(items: Sequence[str], count: int | None = None) -> str:
    count = len(items) if count is None else count
    shown = ", ".join(items[:_NAMED])
    return shown if count <= _NAMED else f"{shown} and {count - _NAMED:,} more"


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
