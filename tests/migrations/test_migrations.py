"""Migrations with rows in them: up, models equal to head, what the database itself refuses, down."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError

from portal.accounts.models import Organisation, OrganisationKind, User
from portal.cli.database import alembic_config, migrate
from portal.clock import FixedClock
from portal.db import connected, open_session
from portal.ledger.leaves import tag
from portal.ledger.models import Entry, WatchKey
from portal.ledger.service import append, verify_chain
from portal.models import metadata
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.shown import shown
from portal.submissions.models import Submission, SubmissionKind
from portal.suppliers.models import (
    Component,
    Product,
    RevocationList,
    SigningKey,
    Supplier,
    TimestampAuthority,
)
from portal.suppliers.revocation import der
from tests.factories.databases import ON_BOTH
from tests.unit.verification.authority import root

pytestmark = ON_BOTH

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with connected(database_url) as engine:
        migrate(engine)
        yield engine


def with_rows(engine: Engine) -> None:
    with open_session(engine) as session:
        session.add(Organisation(id="s" * 32, kind=OrganisationKind.SUPPLIER, name="Maker", created_at=NOW))
        session.flush()
        session.add(Supplier(id="s" * 32, name="Maker", created_at=NOW))
        session.flush()
        session.add(Product(supplier_id="s" * 32, model="M", name="Pack", tier=2, created_at=NOW))
        append(session, FixedClock(NOW), "supplier.created", "s" * 32, {"name": "Maker"}, "s" * 32)
        session.commit()


def test_the_models_are_what_the_migrations_make(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_a_second_upgrade_changes_nothing_and_keeps_rows(engine: Engine) -> None:
    with_rows(engine)
    migrate(engine)
    with open_session(engine) as session:
        assert session.scalars(select(Product.model)).all() == ["M"]
        assert list(verify_chain(session)) == []


def test_rows_of_the_first_schema_come_along(engine: Engine) -> None:
    config: Config = alembic_config()
    with_rows(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    assert "salt" not in {column["name"] for column in inspect(engine).get_columns("ledger_entries")}
    migrate(engine)
    with open_session(engine) as session:
        assert session.scalars(select(Product.model)).all() == ["M"]
        assert list(verify_chain(session)) == []
        entry, watch = session.scalars(select(Entry)).one(), session.scalars(select(WatchKey)).one()
        assert (len(entry.salt), entry.tag) == (64, tag(watch.key, 0))
    assert "due_on" in {column["name"] for column in inspect(engine).get_columns("change_requests")}


def test_what_images_said_of_themselves_becomes_part_of_their_report(engine: Engine) -> None:
    with_rows(engine)
    with open_session(engine) as session:
        product = session.scalars(select(Product)).one()
        component = Component(supplier_id="s" * 32, product_id=product.id, name="BMS", created_at=NOW)
        session.add(component)
        session.flush()
        for said in ('{"version": "1.2.3+0"}', "{}"):
            submission = Submission(
                supplier_id="s" * 32,
                product_id=product.id,
                kind=SubmissionKind.FIRMWARE,
                title="BMS",
                created_at=NOW,
            )
            session.add(submission)
            session.flush()
            session.add(
                FirmwareRelease(
                    supplier_id="s" * 32,
                    submission_id=submission.id,
                    component_id=component.id,
                    declared_version=said,
                )
            )
        session.commit()
    config: Config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        connection.execute(text("UPDATE firmware_releases SET claims = declared_version"))
    migrate(engine)
    with open_session(engine) as session:
        found = session.execute(select(FirmwareRelease.declared_version, FirmwareRelease.report))
        reports = {row.declared_version: row.report for row in found}
    assert reports["{}"] is None
    image = shown(reports['{"version": "1.2.3+0"}'])
    assert image is not None
    assert [(name, value.text) for name, value in image.groups[0].facts] == [("Version", "1.2.3+0")]


def with_person(engine: Engine) -> str:
    with open_session(engine) as session:
        person = User(
            organisation_id="s" * 32,
            email="ada@example.org",
            name="Ada",
            active=True,
            fs_uniquifier="ada",
            created_at=NOW,
        )
        session.add(person)
        session.commit()
        return person.id


def authority(added_by: str, **values: object) -> TimestampAuthority:
    given = {"label": "Clock", "pem": "pem", "subject": "CN=Clock", "fingerprint": "sha256:1"} | values
    return TimestampAuthority(**given, added_by=added_by, added_at=NOW)


def test_time_stamp_authorities_come_along_and_stay_when_they_are_removed(engine: Engine) -> None:
    config: Config = alembic_config()
    with_rows(engine)
    someone = with_person(engine)
    with open_session(engine) as session:
        session.add(authority(someone))
        session.add(authority(someone, label="Old", removed_by=someone, removed_at=NOW))
        session.commit()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0017")
        assert connection.execute(text("SELECT label FROM timestamp_authorities")).scalars().all() == [
            "Clock"
        ]
    migrate(engine)
    with open_session(engine) as session:
        row = session.scalars(select(TimestampAuthority)).one()
        assert (row.label, row.removed_at) == ("Clock", None)
        session.add(authority(someone))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        row = session.scalars(select(TimestampAuthority)).one()
        row.removed_by, row.removed_at = someone, NOW
        session.add(authority(someone))
        session.commit()
        row.removed_by = None
        with pytest.raises(IntegrityError):
            session.flush()


def test_revocation_lists_come_along_and_stay_when_newer_ones_come(engine: Engine) -> None:
    config: Config = alembic_config()
    with_rows(engine)
    someone = with_person(engine)
    anchor = root("Authority")
    pems = [anchor.revoke(), anchor.revoke((anchor.issue("Signer"), NOW, None))]
    with open_session(engine) as session:
        key = SigningKey(
            supplier_id="s" * 32,
            label="authority",
            purposes=["firmware"],
            pem=anchor.pem,
            kind="certificate",
            algorithm="ECDSA P-256",
            fingerprint=anchor.fingerprint,
            options={"root": True},
            registered_by=someone,
            registered_at=NOW,
        )
        session.add(key)
        session.flush()
        for number, pem in enumerate(pems, 1):
            row = RevocationList(supplier_id="s" * 32, key_id=key.id, number=number, sha256="", pem=pem)
            row.this_update = row.next_update = row.brought_at = NOW
            row.revoked, row.brought_by = number - 1, someone
            session.add(row)
        session.commit()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0019")
        assert connection.execute(text("SELECT revoked FROM revocation_lists")).scalars().all() == [1]
    migrate(engine)
    with open_session(engine) as session:
        row = session.scalars(select(RevocationList)).one()
        assert (row.number, row.pem) == (1, pems[1])
        assert row.sha256 == sha256(der(row)).hexdigest()


@pytest.mark.parametrize("statement", ["UPDATE ledger_entries SET kind = 'x'", "DELETE FROM ledger_entries"])
def test_the_database_refuses_to_change_the_ledger(engine: Engine, statement: str) -> None:
    with_rows(engine)
    with engine.connect() as connection, pytest.raises(DatabaseError, match="append-only"):
        connection.execute(text(statement))
    with open_session(engine) as session:
        assert session.scalars(select(Entry.kind)).all() == ["supplier.created"]


@pytest.mark.parametrize(
    "table",
    [
        "account_events",
        "answers",
        "assessments",
        "checks",
        "decisions",
        "evidence",
        "export_items",
        "exports",
        "hold_accesses",
        "hold_acts",
        "holds",
        "ledger_checkpoints",
        "ledger_cosignatures",
        "ledger_entries",
        "ledger_stamps",
        "policy_versions",
        "retention_rules",
        "revocation_lists",
        "tombstones",
    ],
)
def test_append_only_tables_carry_their_triggers(engine: Engine, table: str) -> None:
    question = (
        "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"
        if engine.dialect.name == "sqlite"
        else "SELECT count(*) FROM pg_trigger WHERE tgrelid = CAST(:table AS regclass) AND NOT tgisinternal"
    )
    with engine.connect() as connection:
        assert connection.execute(text(question), {"table": table}).scalar_one() == 2


def test_down_removes_every_table_even_with_rows(engine: Engine) -> None:
    with_rows(engine)
    config: Config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(engine).get_table_names()) & set(metadata.tables) == set()
    migrate(engine)
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())
