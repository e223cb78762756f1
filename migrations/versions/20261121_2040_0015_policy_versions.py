"""the texts of the policies that were applied

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
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
        "policy_versions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("policy_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policy_versions")),
    )
    forbid_changes("policy_versions")


def downgrade() -> None:
    op.drop_table("policy_versions")
