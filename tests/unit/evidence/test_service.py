import hashlib
import io
from pathlib import Path

import pytest
from sqlalchemy import func, select

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import Scope, TenantSession, set_scope
from portal.errors import InvalidInput, NotAllowed, NotFound, StorageFailed, TooLarge
from portal.evidence import service
from portal.evidence.models import Evidence
from portal.ledger.models import Entry
from portal.ledger.service import verify_chain
from tests.factories import Make

DATA = b"evidence " * 1000


def receive(
    session: TenantSession,
    actor: Actor,
    clock: FixedClock,
    store: LocalBlobStore,
    spool: Path,
    data: bytes = DATA,
    declared_sha256: str | None = None,
) -> Evidence:
    return service.receive_bytes(
        session,
        actor,
        clock,
        store,
        spool,
        io.BytesIO(data),
        filename="report.pdf",
        limit=100_000,
        declared_sha256=declared_sha256,
    )


def test_a_small_file_becomes_evidence_with_a_ledger_entry(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    evidence = receive(session, actor, clock, store, spool)
    session.commit()

    assert evidence.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (evidence.size, evidence.supplier_id) == (len(DATA), actor.supplier_id)
    with store.open(evidence.sha256) as file:
        assert file.read() == DATA
    entry = session.scalars(select(Entry)).one()
    assert (entry.kind, entry.subject_id) == ("evidence.accepted", evidence.id)
    assert evidence.sha256 in entry.body
    assert evidence.blake3 in entry.body
    assert list(verify_chain(session)) == []
    assert list(spool.iterdir()) == []


def test_the_same_bytes_twice_are_two_deliveries_and_one_blob(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    first, second = (receive(session, actor, clock, store, spool) for _ in range(2))
    session.commit()
    assert first.id != second.id
    assert [blob.sha256 for blob in store.list()] == [first.sha256]


def test_a_blob_that_was_changed_in_the_store_is_not_taken_for_the_same_bytes(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    first = receive(session, actor, clock, store, spool)
    session.commit()
    with store.get_local_path(first.sha256) as path:
        path.chmod(0o640)
        path.write_bytes(b"x" * len(DATA))
    with pytest.raises(StorageFailed, match="not those that arrived"):
        receive(session, actor, clock, store, spool)
    session.rollback()
    assert session.scalar(select(func.count()).select_from(Evidence)) == 1


def test_an_empty_file_is_refused(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        receive(session, actor, clock, store, spool, b"")
    assert list(store.list()) == []
    assert list(spool.iterdir()) == []


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    with pytest.raises(TooLarge, match="100000"):
        receive(session, actor, clock, store, spool, bytes(100_001))
    assert list(store.list()) == []
    assert list(spool.iterdir()) == []


def test_another_file_than_declared_is_refused(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        receive(session, actor, clock, store, spool, declared_sha256="0" * 64)
    problem = refusal.value.problems[0]
    assert (problem.expected, problem.found) == ("0" * 64, hashlib.sha256(DATA).hexdigest())
    assert list(store.list()) == []


def test_the_quota_counts_what_is_stored(
    session: TenantSession, actor: Actor, clock: FixedClock, store: LocalBlobStore, spool: Path
) -> None:
    receive(session, actor, clock, store, spool)
    with pytest.raises(TooLarge, match="quota"):
        service.demand_quota(session, actor, 1, len(DATA))
    service.demand_quota(session, actor, 1, len(DATA) + 1)


@pytest.mark.parametrize("role", [RoleName.REVIEWER, RoleName.AUDITOR, RoleName.ADMINISTRATOR])
def test_the_buyers_people_deliver_nothing(
    session: TenantSession, make: Make, clock: FixedClock, store: LocalBlobStore, spool: Path, role: RoleName
) -> None:
    with pytest.raises(NotAllowed):
        receive(session, make.actor(role), clock, store, spool)
    assert session.scalar(select(func.count()).select_from(Evidence)) == 0


def test_evidence_of_another_supplier_looks_like_none(
    session: TenantSession,
    actor: Actor,
    make: Make,
    clock: FixedClock,
    store: LocalBlobStore,
    spool: Path,
) -> None:
    evidence = receive(session, actor, clock, store, spool)
    session.commit()
    session.expunge_all()
    set_scope(session, Scope(make.supplier().id))
    with pytest.raises(NotFound):
        service.get_evidence(session, evidence.id)
