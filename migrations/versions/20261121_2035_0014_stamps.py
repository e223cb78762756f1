"""time stamps over checkpoints, and why a log has no newer one

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
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


def upgrade() -> None:
    op.create_table(
        "ledger_stamps",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("authority", sa.String(length=100), nullable=False),
        sa.Column("fingerprint", sa.String(length=80), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["log", "size"],
            ["ledger_checkpoints.log", "ledger_checkpoints.size"],
            name=op.f("fk_ledger_stamps_log_size"),
        ),
        sa.PrimaryKeyConstraint("log", "size", name=op.f("pk_ledger_stamps")),
    )
    forbid_changes("ledger_stamps")
    op.create_table(
        "ledger_stamp_troubles",
        sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("again_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["log"], ["ledger_logs.number"], name=op.f("fk_ledger_stamp_troubles_log")),
        sa.PrimaryKeyConstraint("log", name=op.f("pk_ledger_stamp_troubles")),
    )


def downgrade() -> None:
    op.drop_table("ledger_stamp_troubles")
    op.drop_table("ledger_stamps")
