"""the verifier's whole report on an image, in place of its claims alone

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("firmware_releases", sa.Column("report", sa.String(), nullable=True))
    # What was kept of images verified before is the report's member of that name.
    op.execute(
        """UPDATE firmware_releases SET report = '{"version": 1, "claims": ' || claims || '}'
        WHERE claims <> '{}'"""
    )
    op.drop_column("firmware_releases", "claims")


def downgrade() -> None:
    op.add_column("firmware_releases", sa.Column("claims", sa.String(), nullable=False, server_default="{}"))
    op.drop_column("firmware_releases", "report")
