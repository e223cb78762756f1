"""by when a supplier is asked to answer

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("change_requests", sa.Column("due_on", sa.Date(), nullable=True))


def downgrade() -> None:
    op.drop_column("change_requests", "due_on")
