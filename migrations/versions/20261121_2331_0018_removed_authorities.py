"""time-stamp authorities stay when they are removed

Revision: 0018, after 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TABLE = "timestamp_authorities"
_REMAINS = sa.text("removed_at IS NULL")


def upgrade() -> None:
    with op.batch_alter_table(_TABLE) as table:
        table.add_column(sa.Column("removed_by", sa.String(length=32), nullable=True))
        table.add_column(sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True))
        table.create_foreign_key(op.f(f"fk_{_TABLE}_removed_by"), "users", ["removed_by"], ["id"])
        table.create_check_constraint("removed", "(removed_at IS NULL) = (removed_by IS NULL)")
        for column in ("label", "fingerprint"):
            table.drop_constraint(op.f(f"uq_{_TABLE}_{column}"), type_="unique")
    for column in ("label", "fingerprint"):
        op.create_index(
            op.f(f"ix_{_TABLE}_{column}_in_use"),
            _TABLE,
            [column],
            unique=True,
            sqlite_where=_REMAINS,
            postgresql_where=_REMAINS,
        )


def downgrade() -> None:
    op.execute("DELETE FROM timestamp_authorities WHERE removed_at IS NOT NULL")
    for column in ("label", "fingerprint"):
        op.drop_index(op.f(f"ix_{_TABLE}_{column}_in_use"), _TABLE)
    with op.batch_alter_table(_TABLE) as table:
        table.drop_constraint(op.f(f"ck_{_TABLE}_removed"), type_="check")
        table.drop_constraint(op.f(f"fk_{_TABLE}_removed_by"), type_="foreignkey")
        for column in ("removed_at", "removed_by"):
            table.drop_column(column)
        for column in ("label", "fingerprint"):
            table.create_unique_constraint(op.f(f"uq_{_TABLE}_{column}"), [column])
