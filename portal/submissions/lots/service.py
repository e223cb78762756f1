"""Lots: submit a manifest, and check its units, their past, their values and their way here."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.db import chunks, new_id
from portal.errors import InvalidInput, Problem
from portal.evidence.models import Evidence
from portal.evidence.ports import BlobStore
from portal.ledger import service as ledger
from portal.submissions.drafting import Progress, attach, attached, missing, start
from portal.submissions.findings import Limits
from portal.submissions.firmware.service import SIGNATURE_MAX, must_be_delivered
from portal.submissions.lots import checks
from portal.submissions.lots.manifest import (
    Manifest,
    UnitRecord,
    read_manifest,
)
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.lots.told import RECORDED, UNIT, digest_of_units, says
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.submissions.signers import explained
from portal.suppliers.keys import believed
from portal.suppliers.rules import clean_text
from portal.verification import Check, Outcome, verify_file, worst

_ORDER = (
    "manifest", "signature", "count", "serials_unique", "serials_new", "limits", "firmware", "dates",
    "custody", "attested",
)  # fmt: skip
_KEPT = Limits(manifest_bytes=1 << 62, manifest_units=1 << 62)
_UNIT = attrgetter(*UNIT[1:])  # its place comes first


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


@dataclass(frozen=True, slots=True)
class LotFindings:
    """`alone`: the checks of the manifest by itself, by their ids. `firmware`: how many units run what.
    `units`: their digest, as the ledger tells it."""

    alone: dict[str, Check]
    manifest: Manifest | None = None
    firmware: Counter[checks.Combination] = field(default_factory=Counter)
    units: str = ""
    trust_before: int | None = None

    def settle(self, session: Session, submission: Submission) -> tuple[Check, ...]:
        """With what was delivered before, what firmware is accepted and what attestations cover."""
        if self.manifest is None:
            return tuple(self.alone.values())
        lot = lot_of(session, submission.id)
        compared = (
            checks.serials_new(session, submission, lot, self.manifest.units),
            checks.firmware(session, submission.product, self.firmware),
            checks.attested(session, lot),
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
        for rows in chunks(_unit_rows(self.manifest.units, owned), 5000):
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
        shown = "; ".join(str(problem) for problem in error.problems[: checks.NAMED])
        more = len(error.problems) - checks.NAMED
        text = f"{error.message}: {shown}" + (f"; and {more} more" if more > 0 else "")
        unreadable = Check("lot.manifest", Outcome.UNREADABLE, text)
        return LotFindings({check.id: check for check in (unreadable, signature)}, trust_before=trust_before)
    progress(1, 3, "checking units")
    units = manifest.units
    text = f"The manifest holds to its schema: {len(units):,} units, {len(manifest.custody)} hand-offs."
    alone = (
        Check("lot.manifest", Outcome.PASS, text),
        signature,
        checks.count(manifest),
        checks.serials_unique(units),
        checks.limits(submission.product, units),
        checks.dates(manifest, submission.submitted_at),
        checks.custody(manifest),
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
