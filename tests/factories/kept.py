"""Evidence with its bytes, delivered by the real verbs years ago, and offered with a submission."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor, actor_of
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import open_session
from portal.evidence.models import Evidence
from portal.evidence.service import receive_bytes
from portal.ledger.service import append, digest_of
from portal.reports.consistency import examine
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.models import Attachment, AttachmentRole, Submission, SubmissionKind, SubmissionState
from portal.submissions.service import offered
from portal.suppliers.models import Product, Supplier
from portal.verification import Outcome
from tests.factories.make import Make

LONG_AGO = timedelta(days=20 * 365)  # beyond every default period of a product that was out of support then


@dataclass
class Kept:
    """`delivered` puts the clock back for the delivery, and leaves it where it was."""

    session: Session
    clock: FixedClock
    make: Make
    store: LocalBlobStore
    spool: Path
    suppliers: dict[str, Actor] = field(default_factory=dict)

    def ended(self, supplier: Supplier | None = None, **values: Any) -> Product:
        """A product whose support ended nineteen years ago."""
        values = {"end_of_sale": date(2005, 1, 1), "end_of_support": date(2007, 6, 30)} | values
        return self.make.product(supplier, **values)

    def delivered(
        self,
        product: Product | None = None,
        data: bytes = b"an image",
        *,
        supplier: Supplier | None = None,
        ago: timedelta = LONG_AGO,
        filename: str = "image.bin",
        kind: SubmissionKind = SubmissionKind.FIRMWARE,
        role: AttachmentRole = AttachmentRole.IMAGE,
        state: SubmissionState = SubmissionState.ACCEPTED,
    ) -> Evidence:
        """A file of the product's supplier, with a submission about the product; with nothing without one."""
        now, self.clock.at = self.clock.at, self.clock.at - ago
        owner = product.supplier_id if product else (supplier or self.make.supplier()).id
        evidence = receive_bytes(
            self.session,
            self._actor(owner),
            self.clock,
            self.store,
            self.spool,
            data,
            filename=filename,
            limit=1 << 26,
        )
        if product is not None:
            self.submission(product, evidence, kind, role, state)
        self.session.commit()
        self.clock.at = now
        return evidence

    def faults(self) -> list[str]:
        """What fsck says, read by a session of its own."""
        self.session.commit()
        engine = self.session.get_bind()
        assert isinstance(engine, Engine)
        with open_session(engine) as session:
            found = examine(session, self.clock, self.store, self.spool, tell=lambda _: None)
            return [str(fault) for fault in found]

    def submission(
        self,
        product: Product,
        evidence: Evidence,
        kind: SubmissionKind,
        role: AttachmentRole,
        state: SubmissionState,
    ) -> Submission:
        row = Submission(
            supplier_id=product.supplier_id,
            kind=kind,
            state=state,
            outcome=None if state is SubmissionState.DRAFT else Outcome.PASS,
            product_id=product.id,
            title=f"{kind.value} {evidence.filename}",
            created_at=self.clock.now(),
            submitted_at=None if state is SubmissionState.DRAFT else self.clock.now(),
            verified_at=None if state is SubmissionState.DRAFT else self.clock.now(),
            run=0 if state is SubmissionState.DRAFT else 1,
        )
        self.session.add(row)
        self.session.flush()
        self.session.add(
            Attachment(
                supplier_id=product.supplier_id,
                submission_id=row.id,
                evidence_id=evidence.id,
                role=role,
                attached_at=self.clock.now(),
            )
        )
        if kind is SubmissionKind.FIRMWARE and product.components:
            component = product.components[0]
            self.session.add(
                FirmwareRelease(
                    supplier_id=product.supplier_id,
                    submission_id=row.id,
                    component_id=component.id,
                    declared_version="1.0",
                )
            )
        self.session.flush()
        if state is not SubmissionState.DRAFT:
            self._enter(row)
        return row

    def _enter(self, row: Submission) -> None:
        """As the verbs do: offered, and verified in one run without checks."""
        offer = {
            "submission": row.kind.value,
            "product": row.product_id,
            "by": row.submitted_by,
            **offered(row),
        }
        run = {
            "run": row.run,
            "outcome": row.outcome,
            "checks": digest_of([]),
            "verdicts": None,
            "state": row.state,
        }
        append(self.session, self.clock, "submission.made", row.id, offer, row.supplier_id)
        append(self.session, self.clock, "verification.ended", row.id, run, row.supplier_id)

    def _actor(self, supplier_id: str) -> Actor:
        if supplier_id not in self.suppliers:
            supplier = self.session.get_one(Supplier, supplier_id)
            self.suppliers[supplier_id] = actor_of(self.make.user(RoleName.SUPPLIER_ADMIN, supplier))
        return self.suppliers[supplier_id]
