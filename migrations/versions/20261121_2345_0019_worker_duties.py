"""which worker does what for all of them

Revision: 0019, after 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_duties",
        sa.Column("duty", sa.String(length=20), nullable=False),
        sa.Column("executor_id", sa.String(length=100), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("duty", name=op.f("pk_worker_duties")),
    )


def downgrade() -> None:
    op.drop_table("worker_duties")
