"""The queue page with 50,000 cases of 2,000 suppliers, on SQLite: how long until it answers.

`run()` fills a fresh database, asks for the page through the whole web door as a signed-in reviewer, and
compares the median with the promise of 100 ms.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from portal.accounts.models import Organisation, OrganisationKind, Role, RoleName, User
from portal.app import create_app
from portal.db import new_id, open_engine, open_session
from portal.models import metadata
from portal.policy.model import Rating
from portal.review.models import Assessment, Case, CaseCause, CaseState
from portal.settings import Settings
from portal.suppliers.models import Product, Supplier
from tests.factories.signing_in import signed_in_client

CASES = 50_000
SUPPLIERS = 2_000
PROMISE_MS = 100.0
ROUNDS = 30
PAGES = {
    "first page": "/r/",
    "all, by rating": "/r/?view=all&sort=rating",
    "search by words": "/r/?view=all&q=Supplier+1234",
    "high risk, oldest first": "/r/?view=all&rating=high_risk&sort=age",
    "overdue": "/r/?view=all&overdue=yes",
    "far down": "/r/?view=all&after=25000",
}


class Idle:
    """A queue that nobody enqueues to here."""

    def enqueue(self, session: Session, job: str, *arguments: str, key: str | None = None) -> None:
        raise AssertionError("the bench reads only")


def fill(session: Session, now: datetime) -> User:
    """Suppliers with 25 products each and one case a product, a tenth of them open; returns a reviewer."""
    buyer = Organisation(id=new_id(), kind=OrganisationKind.BUYER, name="Meridian", created_at=now)
    session.add(buyer)
    reviewer = User(
        organisation_id=buyer.id,
        name="Ana Ferreira",
        email="ana@meridian.example",
        active=True,
        fs_uniquifier=new_id(),
        tf_primary_method="authenticator",
        tf_totp_secret="{}",
        created_at=now,
        confirmed_at=now,
        roles=[Role(name=RoleName.REVIEWER)],
    )
    session.add(reviewer)
    session.flush()
    suppliers = [
        {
            "id": new_id(),
            "kind": OrganisationKind.SUPPLIER,
            "name": f"Supplier {number:04}",
            "created_at": now,
        }
        for number in range(SUPPLIERS)
    ]
    session.execute(insert(Organisation), suppliers)
    session.execute(
        insert(Supplier),
        [{"id": row["id"], "name": row["name"], "created_at": now, "standing": "new"} for row in suppliers],
    )
    for table, rows in _rows([(str(row["id"]), str(row["name"])) for row in suppliers], reviewer.id, now):
        session.execute(insert(table), rows)
    return reviewer


def _rows(
    suppliers: list[tuple[str, str]], reviewer_id: str, now: datetime
) -> Iterator[tuple[type[Any], list[dict[str, Any]]]]:
    ratings, causes = list(Rating), list(CaseCause)
    products, assessments, cases = [], [], []
    for number in range(CASES):
        supplier_id, name = suppliers[number % SUPPLIERS]
        product_id, assessment_id = new_id(), new_id()
        rating = ratings[number * 7 % 4].value
        tier = number % 3 + 1
        products.append(
            {
                "id": product_id,
                "supplier_id": supplier_id,
                "model": f"M-{number}",
                "name": f"Module {number}",
                "tier": tier,
                "limits": {},
                "created_at": now,
            }
        )
        assessments.append(
            {
                "id": assessment_id,
                "supplier_id": supplier_id,
                "product_id": product_id,
                "number": 1,
                "tier": tier,
                "rating": rating,
                "knock_outs": 0,
                "cause": "Verified: firmware",
                "policy_id": "lotgate-baseline",
                "policy_version": "1.0.0",
                "policy_digest": "sha256:" + "0" * 64,
                "facts": "x" * 4000,  # what a real one weighs, so that reading it by mistake would show
                "facts_digest": "0" * 64,
                "result": "x" * 8000,
                "result_digest": "0" * 64,
                "created_at": now,
            }
        )
        state = CaseState.OPEN if number % 10 == 0 else CaseState.CLOSED
        state = CaseState.CLAIMED if number % 50 == 0 else state
        cases.append(
            {
                "id": new_id(),
                "supplier_id": supplier_id,
                "number": number + 1,
                "product_id": product_id,
                "state": state,
                "cause": causes[number % len(causes)],
                "title": f"{name}: Module {number} (M-{number})",
                "why": "nobody has decided on this product yet; firmware BMS 1.0.0: fail",
                "tier": tier,
                "rating": rating,
                "assessment_id": assessment_id,
                "claimed_by": reviewer_id if state is CaseState.CLAIMED else None,
                "claimed_at": now if state is CaseState.CLAIMED else None,
                "opened_at": now - timedelta(minutes=number),
                "due_on": date(2026, 11, 21) + timedelta(days=number % 400 - 200),
                "closed_at": now if state is CaseState.CLOSED else None,
            }
        )
    yield Product, products
    yield Assessment, assessments
    yield Case, cases


def run(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """A line for each page: median in ms (`ours`), the promise (`theirs`), their ratio, the ratio needed."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(var_dir=Path(folder), secret_key="a key for a bench that nobody keeps")
        engine = open_engine(settings.database)
        metadata.create_all(engine)
        with open_session(engine) as session:
            reviewer = fill(session, datetime.now(UTC))
            session.commit()
        engine.dispose()
        app = create_app(settings, jobs=Idle())
        client = signed_in_client(app, reviewer)
        return [_measure(name, client, url, rounds) for name, url in PAGES.items()]


def _measure(name: str, client: Any, url: str, rounds: int) -> dict[str, Any]:
    took = []
    for _ in range(rounds + 2):  # the first two warm the templates and the page cache
        begun = time.perf_counter()
        response = client.get(url)
        took.append((time.perf_counter() - begun) * 1000)
        if response.status_code != 200 or b"row-link" not in response.data:
            raise RuntimeError(f"{url} answered {response.status_code} without a case")
    median = statistics.median(took[2:])
    return {
        "name": f"queue of {CASES:,} cases, {name} (ms)",
        "ours": round(median, 1),
        "theirs": PROMISE_MS,
        "ratio": round(PROMISE_MS / median, 2),
        "need": 1.0,
    }


if __name__ == "__main__":
    for line in run():
        print(f"{line['name']:70} {line['ours']:7.1f} ms   promise {line['theirs']:.0f} ms")
