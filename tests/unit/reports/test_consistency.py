"""What fsck finds in the vault and between rows and entries: each corruption by name, else nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text

from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession, open_session
from portal.evidence.models import Evidence
from portal.ledger.models import Entry
from portal.ledger.service import append
from portal.reports.consistency import examine
from portal.suppliers.service import update_product
from tests.factories import Make
from tests.factories.kept import Kept


@dataclass
class Vault:
    """Two pieces of evidence of one size, of one supplier."""

    session: TenantSession
    clock: FixedClock
    store: LocalBlobStore
    spool: Path
    one: Evidence
    other: Evidence

    def faults(self) -> str:
        self.session.commit()
        engine = self.session.get_bind()
        assert isinstance(engine, Engine)
        with open_session(engine) as session:
            found = examine(session, self.clock, self.store, self.spool, tell=lambda _: None)
            return "\n".join(f"{fault.where}: {fault.text}" for fault in found)

    def path(self, evidence: Evidence) -> Path:
        return self.store._path(evidence.sha256)

    def write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)


@pytest.fixture
def vault(session: TenantSession, clock: FixedClock, make: Make, store: LocalBlobStore, spool: Path) -> Vault:
    make.entered = True
    kept = Kept(session, clock, make, store, spool)
    supplier = make.supplier()
    one, other = (
        kept.delivered(data=data, supplier=supplier, ago=timedelta()) for data in (b"one!", b"two!")
    )
    return Vault(session, clock, store, spool, one, other)


def flip(vault: Vault) -> None:
    vault.write(vault.path(vault.one), b"onE!")


def truncate(vault: Vault) -> None:
    vault.write(vault.path(vault.one), b"one")


def delete(vault: Vault) -> None:
    vault.path(vault.one).unlink()


def swap(vault: Vault) -> None:
    vault.write(vault.path(vault.one), b"two!")
    vault.write(vault.path(vault.other), b"one!")


def double_a_blob(vault: Vault) -> None:
    """Under a name that no row has. A day may pass: a row may be on its way."""
    vault.write(vault.store._path("0" * 64), b"one!")
    vault.clock.at = datetime.now(UTC) + timedelta(days=2)


def double_a_row(vault: Vault) -> None:
    names = [column.name for column in Evidence.__table__.columns if column.name != "id"]
    vault.session.execute(
        text(
            f"INSERT INTO evidence (id, {', '.join(names)}) "
            f"SELECT :id, {', '.join(names)} FROM evidence WHERE id = :one"
        ),
        {"id": "d" * 32, "one": vault.one.id},
    )


def double_an_entry(vault: Vault) -> None:
    """With every link of the chain as it should be."""
    body = {"sha256": vault.one.sha256, "blake3": vault.one.blake3, "size": vault.one.size}
    append(vault.session, vault.clock, "evidence.accepted", vault.one.id, body, vault.one.supplier_id)


def reorder(vault: Vault) -> None:
    """The rows of two files exchange what they name."""
    for evidence, sha256 in ((vault.one, "f" * 64), (vault.other, vault.one.sha256)):
        vault.session.execute(
            text("UPDATE evidence SET sha256 = :sha256 WHERE id = :id"), {"sha256": sha256, "id": evidence.id}
        )


def forget_a_row(vault: Vault) -> None:
    vault.session.execute(text("DELETE FROM evidence WHERE id = :id"), {"id": vault.one.id})


CORRUPTIONS: dict[str, tuple[Callable[[Vault], None], str]] = {
    "a flipped byte": (flip, "has other bytes in the store"),
    "a truncated blob": (truncate, "has 3 bytes in the store, 4 in the database"),
    "a deleted blob": (delete, "is not in the evidence store, and no tombstone says that it was deleted"),
    "swapped blobs": (swap, "has other bytes in the store"),
    "a doubled blob": (double_a_blob, "is in the evidence store for more than a day without any row"),
    "a doubled row": (double_a_row, f"evidence {'d' * 32}: has no entry evidence.accepted"),
    "a doubled entry": (double_an_entry, "has more than one entry evidence.accepted in the ledger"),
    "reordered rows": (reorder, "sha256: the database says"),
    "a row that is gone": (forget_a_row, "which is not in the database"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_named(vault: Vault, name: str) -> None:
    assert vault.faults() == ""
    corrupt, words = CORRUPTIONS[name]
    for (trigger,) in vault.session.execute(
        text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'evidence'")
    ).all():
        vault.session.execute(text(f"DROP TRIGGER {trigger}"))
    corrupt(vault)
    assert words in vault.faults()


def test_swapped_blobs_are_both_named(vault: Vault) -> None:
    swap(vault)
    found = vault.faults()
    assert all(evidence.id in found for evidence in vault.session.scalars(select(Evidence)))


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE suppliers SET standing = 'excellent'",
        "UPDATE evidence SET received_at = 'yesterday'",
        "UPDATE ledger_entries SET at = 'yesterday'",
        "UPDATE evidence SET sha256 = '../../etc/passwd'",
    ],
)
def test_a_value_that_cannot_be_read_is_named(vault: Vault, tamper: str) -> None:
    vault.session.execute(text("PRAGMA ignore_check_constraints = ON"))
    vault.session.execute(text(tamper))
    found = vault.faults()
    assert tamper.rsplit(maxsplit=1)[-1].strip("'") in found
    assert "Traceback" not in found


def test_time_alone_is_no_fault(vault: Vault) -> None:
    vault.clock.at = datetime.now(UTC) + timedelta(days=4000)
    assert vault.faults() == ""
    assert len(vault.session.scalars(select(Entry)).all()) >= 2


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        ("UPDATE products SET tier = 3", "tier: the database says 3"),
        ("UPDATE products SET end_of_support = '1999-01-01'", "end_of_support: the database says 1999-01-01"),
        ("UPDATE products SET limits = '{}'", "limits: the database says {}"),
    ],
)
def test_a_product_that_is_not_as_it_was_last_changed_is_named(
    vault: Vault, make: Make, tamper: str, said: str
) -> None:
    product, reviewer = make.product(), make.actor(RoleName.REVIEWER)
    for tier, year in ((1, 2031), (2, 2032)):
        changes = {
            "tier": tier,
            "end_of_support": date(year, 1, 1),
            "limits": {"ocv_v": {"min": 3, "max": 4}},
        }
        update_product(vault.session, reviewer, vault.clock, product.id, **changes)  # type: ignore[arg-type]
    assert vault.faults() == ""
    vault.session.execute(text(tamper))
    assert said in vault.faults()
