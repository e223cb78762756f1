"""how asking a witness goes, for each log by itself

Revision: 0017, after 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make(by_log=True)


def downgrade() -> None:
    _make(by_log=False)


def _make(*, by_log: bool) -> None:
    """Anew: its rows say no more than when to ask again, and why."""
    op.drop_table("ledger_witnesses")
    columns: list[sa.schema.SchemaItem] = [
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("alarm", sa.Boolean(), nullable=False),
    ]
    if by_log:
        columns += [
            sa.Column("log", sa.Integer(), autoincrement=False, nullable=False),
            sa.ForeignKeyConstraint(["log"], ["ledger_logs.number"], name=op.f("fk_ledger_witnesses_log")),
        ]
    key = ("url", "log") if by_log else ("url",)
    op.create_table(
        "ledger_witnesses", *columns, sa.PrimaryKeyConstraint(*key, name=op.f("pk_ledger_witnesses"))
    )
