"""downloads of files that are on hold

Revision: 0022, after 0021
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
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
        "hold_accesses",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("evidence_id", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column("by", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["evidence_id"], ["evidence.id"], name=op.f("fk_hold_accesses_evidence_id")),
        sa.ForeignKeyConstraint(["by"], ["users.id"], name=op.f("fk_hold_accesses_by")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_hold_accesses_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold_accesses")),
    )
    for column in ("evidence_id", "supplier_id"):
        op.create_index(op.f(f"ix_hold_accesses_{column}"), "hold_accesses", [column])
    forbid_changes("hold_accesses")


def downgrade() -> None:
    op.drop_table("hold_accesses")
