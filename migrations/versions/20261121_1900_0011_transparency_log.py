"""the transparency log: salts and tags of entries, logs, tiles, checkpoints

Revision: 0011, after 0010
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def forbid_changes(table: str) -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for act, event in (("update", "UPDATE"), ("delete", "DELETE")):
        refuse = (
            "FOR EACH STATEMENT EXECUTE FUNCTION lotgate_append_only()"
            if postgresql
            else f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
        op.execute(f"CREATE TRIGGER {table}_no_{act} BEFORE {event} ON {table} {refuse}")


def allow_changes(table: str) -> None:
    on = f" ON {table}" if op.get_bind().dialect.name == "postgresql" else ""
    for act in ("update", "delete"):
        op.execute(f"DROP TRIGGER {table}_no_{act}{on}")


def fill() -> None:
    """Entries that were made before there was a log get their salts and tags now: none was published yet."""
    connection = op.get_bind()
    entries = sa.table(
        "ledger_entries", sa.column("seq"), sa.column("supplier_id"), sa.column("salt"), sa.column("tag")
    )
    keys = sa.table(
        "ledger_watch_keys",
        sa.column("supplier_id"),
        sa.column("key"),
        sa.column("created_at", sa.DateTime(timezone=True)),
    )
    made: dict[str, str] = {}
    rows = connection.execute(sa.select(entries.c.seq, entries.c.supplier_id)).all()
    for seq, supplier_id in rows:
        tag = None
        if supplier_id:
            if supplier_id not in made:
                made[supplier_id] = secrets.token_hex(32)
            key = bytes.fromhex(made[supplier_id])
            tag = hmac.new(key, f"lotgate entry {seq}".encode(), hashlib.sha256).hexdigest()[:32]
        connection.execute(
            sa.update(entries).where(entries.c.seq == seq).values(salt=secrets.token_hex(32), tag=tag)
        )
    for supplier_id, watch in made.items():
        connection.execute(
            sa.insert(keys).values(supplier_id=supplier_id, key=watch, created_at=datetime.now(UTC))
        )


def upgrade() -> None:
    op.create_table(
        "ledger_watch_keys",
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("supplier_id", name=op.f("pk_ledger_watch_keys")),
    )
    op.create_table(
        "ledger_logs",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.String(length=200), nullable=False),
        sa.Column("first_seq", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.Text(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("head >= 0", name=op.f("ck_ledger_logs_head")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ledger_logs")),
        sa.UniqueConstraint("open", name=op.f("uq_ledger_logs_open")),
        sa.UniqueConstraint("origin", name=op.f("uq_ledger_logs_origin")),
    )
    op.create_table(
        "ledger_tiles",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["log"], ["ledger_logs.number"], name=op.f("fk_ledger_tiles_log")),
        sa.PrimaryKeyConstraint("log", "level", "number", name=op.f("pk_ledger_tiles")),
    )
    op.create_table(
        "ledger_checkpoints",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["log"], ["ledger_logs.number"], name=op.f("fk_ledger_checkpoints_log")),
        sa.PrimaryKeyConstraint("log", "size", name=op.f("pk_ledger_checkpoints")),
    )
    forbid_changes("ledger_checkpoints")
    allow_changes("ledger_entries")
    with op.batch_alter_table("ledger_entries") as batch:
        batch.add_column(sa.Column("salt", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("tag", sa.String(length=32), nullable=True))
    fill()
    with op.batch_alter_table("ledger_entries") as batch:
        batch.alter_column("salt", existing_type=sa.String(length=64), nullable=False)
    forbid_changes("ledger_entries")


def downgrade() -> None:
    allow_changes("ledger_entries")
    with op.batch_alter_table("ledger_entries") as batch:
        batch.drop_column("tag")
        batch.drop_column("salt")
    forbid_changes("ledger_entries")
    op.drop_table("ledger_checkpoints")
    op.drop_table("ledger_tiles")
    op.drop_table("ledger_logs")
    op.drop_table("ledger_watch_keys")
