"""indexes for retention: files beside answers, and deleted files whose bytes are still there

Revision: 0021, after 0020
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_answer_evidence_evidence_id"), "answer_evidence", ["evidence_id"])
    waiting = sa.text("removed_at IS NULL")
    op.create_index(
        "ix_tombstones_waiting", "tombstones", ["id"], sqlite_where=waiting, postgresql_where=waiting
    )


def downgrade() -> None:
    op.drop_index("ix_tombstones_waiting", "tombstones")
    op.drop_index(op.f("ix_answer_evidence_evidence_id"), "answer_evidence")
