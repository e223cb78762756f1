"""uploads: when the stored bytes were read back

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("uploads", sa.Column("read_back_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("uploads", "read_back_at")
