"""Which units of a lot are tested: drawn by a seed that was committed before the lot was submitted.

The order of the units is that of HMAC-SHA-256 with the seed over the manifest's digest and the serial, so a
sample is the beginning of one list: a larger one later has the smaller one in it, and whoever knows seed and
manifest draws it again.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.permissions import Permission
from portal.clock import Clock
from portal.errors import Conflict, InvalidInput, LedgerError, NotAllowed, Problem
from portal.ledger import logs
from portal.ledger import service as ledger
from portal.ledger.models import Entry
from portal.submissions.lots.models import Lot, Sample, Unit
from portal.submissions.models import AttachmentRole, Submission
from portal.suppliers import sampling
from portal.suppliers.models import Product
from portal.suppliers.seeds import order

DRAWN: Final = "sampling.drawn"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sample and what shows that nobody chose it: its seed was committed `ahead` of the lot."""

    sample: Sample
    manifest: str
    committed: Entry
    submitted: Entry
    entry: Entry

    @property
    def ahead(self) -> bool:
        return self.committed.seq < self.submitted.seq

    @property
    def serials(self) -> list[str]:
        return self.sample.serials.splitlines()


def draw(session: Session, actor: Actor, clock: Clock, lot: Lot, size: int) -> Sample:
    """Draw a sample of `size` units, or a larger one than before. Tells the seed, and commits the next one.

    Raises NotAllowed, InvalidInput, Conflict where the lot does not count or has such a sample.
    """
    actor.must(Permission.REVIEW_CASE_DECIDE)
    if actor.user_id is None:
        raise NotAllowed("a sample is drawn by a person")
    ledger.take_turn(session)
    submission = lot.submission
    if not lot.live or lot.unit_count == 0:
        raise Conflict("This lot does not count: it was superseded, refused or withdrawn, or has no units.")
    before = newest(session, lot)
    least = before.size + 1 if before else 1
    if not least <= size <= lot.unit_count:
        if least > lot.unit_count:
            raise Conflict("All units of this lot are in the sample.")
        expected = f"a number from {least} to {lot.unit_count}"
        raise InvalidInput("No sample was drawn.", (Problem("size", expected, str(size)),))
    product = session.get_one(Product, submission.product_id)
    submitted = _submitted(session, submission)
    if before is not None:
        seed = before.seed
    else:
        seed = sampling.committed_before(session, product, submitted) or sampling.commit(
            session, clock, product
        )
    serials = list(session.scalars(select(Unit.serial).where(Unit.lot_id == lot.id)))
    sample = Sample(
        supplier_id=lot.supplier_id,
        lot=lot,
        seed=seed,
        size=size,
        serials="\n".join(order(seed.seed, manifest_of(submission), serials)[:size]),
        drawn_by=actor.user_id,
        drawn_at=clock.now(),
    )
    session.add(sample)
    session.flush()
    ledger.append(session, clock, DRAWN, sample.id, says(sample), lot.supplier_id)
    sampling.spend(session, clock, product, seed)
    return sample


def says(sample: Sample) -> dict[str, object]:
    """What the ledger entry of a sample says."""
    submission = sample.lot.submission
    return {
        "lot": submission.id,
        "manifest": f"sha256:{manifest_of(submission)}",
        "size": sample.size,
        "serials": "sha256:" + hashlib.sha256(sample.serials.encode()).hexdigest(),
        "seed": sample.seed.seed,
        "committed": sample.seed_id,
        "by": sample.drawn_by,
    }


def newest(session: Session, lot: Lot) -> Sample | None:
    """The largest sample of a lot."""
    return session.scalars(
        select(Sample).where(Sample.lot_id == lot.id).order_by(Sample.size.desc()).limit(1)
    ).first()


def drawn(session: Session, lot: Lot) -> Drawn | None:
    """The newest sample of a lot with what proves it."""
    sample = newest(session, lot)
    if sample is None:
        return None
    committed = logs.entry_about(session, sampling.COMMITTED, sample.seed_id)
    entry = logs.entry_about(session, DRAWN, sample.id)
    if committed is None or entry is None:
        raise LedgerError("The ledger does not have the entries of this sample: run `lotgate fsck`.")
    return Drawn(sample, manifest_of(lot.submission), committed, _submitted(session, lot.submission), entry)


def manifest_of(submission: Submission) -> str:
    """SHA-256 of the lot manifest, hex."""
    return next(row.evidence.sha256 for row in submission.attachments if row.role is AttachmentRole.MANIFEST)


def _submitted(session: Session, submission: Submission) -> Entry:
    """The entry by which the manifest became that of a lot: from then on the units are fixed.

    Not that of its bytes: several could be delivered, and one be chosen once the seed is known.
    """
    entry = logs.entry_about(session, "submission.made", submission.id)
    if entry is None:
        raise Conflict("This lot was not submitted yet.")
    return entry
