"""What the demo found, read back from the database: for the table, the JSON, and the reports."""

import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.db import connected, reading
from portal.reports.pdf import render
from portal.reports.read import assessment_report
from portal.review.models import Assessment, Case
from portal.submissions.models import CheckRecord, Submission
from portal.suppliers.models import Product, Supplier
from portal.verification import Outcome

_SILENT = (Outcome.PASS, Outcome.NOT_APPLICABLE)


@dataclass
class SupplierOutcome:
    name: str
    standing: str
    rating: str
    case: str
    why: list[str] = field(default_factory=list)
    checks: dict[str, str] = field(default_factory=dict)


def outcomes(session: Session) -> list[SupplierOutcome]:
    """One row a supplier, in order of creation: standing, rating, case, and the checks that did not pass."""
    found = []
    for supplier in session.scalars(select(Supplier).order_by(Supplier.created_at)):
        product = session.scalars(select(Product).where(Product.supplier_id == supplier.id)).first()
        newest = session.scalars(
            select(Assessment)
            .where(Assessment.supplier_id == supplier.id)
            .order_by(Assessment.number.desc())
            .limit(1)
        ).first()
        case = (
            session.scalars(
                select(Case).where(Case.product_id == product.id).order_by(Case.number.desc()).limit(1)
            ).first()
            if product
            else None
        )
        row = SupplierOutcome(
            name=supplier.name,
            standing=supplier.standing.value,
            rating=newest.rating if newest else "none",
            case=case.state.value if case else "none",
        )
        for check in _newest_checks(session, supplier.id):
            if row.checks.get(check.check_id) in (None, *_SILENT):
                row.checks[check.check_id] = check.outcome.value
            if check.outcome not in _SILENT:
                row.why.append(check.reason)
        if not row.why and case is not None and case.closed_at is None:
            row.why.append(case.why)
        found.append(row)
    return found


def _newest_checks(session: Session, supplier_id: str) -> list[CheckRecord]:
    return list(
        session.scalars(
            select(CheckRecord)
            .join(Submission, Submission.id == CheckRecord.submission_id)
            .where(CheckRecord.supplier_id == supplier_id, CheckRecord.run == Submission.run)
            .order_by(Submission.submitted_at, CheckRecord.position)
        )
    )


def write_reports(session: Session, database: str, folder: Path) -> list[dict[str, Any]]:
    """The buyer's PDF report of the newest assessment of each supplier; [{"path", "pages"}].

    Layout takes seconds of one core each, so every core makes some; a report that is younger than its
    assessment stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    newest = select(func.max(Assessment.number)).where(Assessment.product_id == Product.id)
    rows = session.execute(
        select(Supplier.name, Assessment.id, Assessment.created_at)
        .join(Product, Product.supplier_id == Supplier.id)
        .join(Assessment, Assessment.product_id == Product.id)
        .where(Assessment.number == newest.correlate(Product).scalar_subquery())
        .order_by(Supplier.created_at)
    ).all()
    paths = {row.id: folder / f"{row.name.lower().replace(' ', '-')}.pdf" for row in rows}
    wanted = [row.id for row in rows if not _is_younger(paths[row.id], row.created_at)]
    if wanted:
        with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
            list(pool.map(_write_report, [database] * len(wanted), wanted, [paths[one] for one in wanted]))
    return [{"path": str(path), "pages": len(PdfReader(path).pages)} for path in paths.values()]


def _is_younger(path: Path, moment: datetime) -> bool:
    return path.is_file() and path.stat().st_mtime >= moment.timestamp()


def _write_report(database: str, assessment_id: str, path: Path) -> None:
    """In a process of its own: one report."""
    with connected(database) as engine, reading(engine) as session:
        path.write_bytes(render(assessment_report(session, assessment_id, audience="buyer")))


def summary(session: Session) -> dict[str, Any]:
    """Counts for `lotgate demo --json`."""
    rows = outcomes(session)
    submissions: dict[str, Counter[str]] = {}
    for kind, outcome in session.execute(select(Submission.kind, Submission.outcome)):
        submissions.setdefault(kind.value, Counter())[outcome.value if outcome else "none"] += 1
    checks: dict[str, Counter[str]] = {}
    for check in session.scalars(
        select(CheckRecord)
        .join(Submission, Submission.id == CheckRecord.submission_id)
        .where(CheckRecord.run == Submission.run)
    ):
        checks.setdefault(check.check_id, Counter())[check.outcome.value] += 1
    cases = Counter(case.state.value for case in session.scalars(select(Case)))
    return {
        "suppliers": [row.name for row in rows],
        "submissions": {kind: dict(counts) for kind, counts in sorted(submissions.items())},
        "checks": {check: dict(counts) for check, counts in sorted(checks.items())},
        "ratings": {row.name: row.rating for row in rows},
        "standings": {row.name: row.standing for row in rows},
        "cases": dict(cases),
        "findings": {
            row.name: {
                "case": row.case,
                "checks": {check: outcome for check, outcome in row.checks.items() if outcome not in _SILENT},
                "why": row.why,
            }
            for row in rows
        },
    }
