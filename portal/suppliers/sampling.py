"""Seeds of samples, committed before the lots that they choose from arrive.

One seed of a product is always committed and unspent. Its commitment is in the ledger; it is told only when
a lot is sampled, which spends it and commits the next. So the supplier cannot foresee which units are tested,
and the buyer cannot choose a seed once it knows the units.
"""

import secrets
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.clock import Clock
from portal.ledger import service as ledger
from portal.ledger.models import Entry
from portal.suppliers.models import Product, SamplingSeed
from portal.suppliers.seeds import commitment

COMMITTED: Final = "sampling.committed"


def commit(session: Session, clock: Clock, product: Product) -> SamplingSeed:
    """Make the next seed of a product, and commit to it."""
    row = SamplingSeed(
        supplier_id=product.supplier_id,
        product_id=product.id,
        seed=secrets.token_hex(32),
        committed_at=clock.now(),
    )
    session.add(row)
    session.flush()
    ledger.append(session, clock, COMMITTED, row.id, says(row), supplier_id=row.supplier_id)
    return row


def says(row: SamplingSeed) -> dict[str, object]:
    """What the ledger entry says of it."""
    return {"product": row.product_id, "commitment": commitment(row.seed)}


def committed_before(session: Session, product: Product, entry: Entry) -> SamplingSeed | None:
    """The seed of a product that was committed last before an entry of the ledger."""
    return session.scalars(
        select(SamplingSeed)
        .join(Entry, (Entry.subject_id == SamplingSeed.id) & (Entry.kind == COMMITTED))
        .where(SamplingSeed.product_id == product.id, Entry.seq < entry.seq)
        .order_by(Entry.seq.desc())
        .limit(1)
    ).first()


def spend(session: Session, clock: Clock, product: Product, seed: SamplingSeed) -> None:
    """It is told from now on; the next one is committed, if none is yet."""
    if seed.spent_at is None:
        seed.spent_at = clock.now()
        session.flush()
    unspent = select(SamplingSeed.id).where(
        SamplingSeed.product_id == product.id, SamplingSeed.spent_at.is_(None)
    )
    if session.scalars(unspent).first() is None:
        commit(session, clock, product)
