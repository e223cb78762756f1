"""attestations that passed, as columns: which line was signed by which keys

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attestation_passes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.String(length=32), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("first_line", sa.Integer(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.Column("signers", sa.LargeBinary(), nullable=False),
        sa.Column("keys", sa.LargeBinary(), nullable=False),
        sa.Column("key_names", sa.JSON(), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_attestation_passes_submission_id")
        ),
        sa.ForeignKeyConstraint(
            ["supplier_id"], ["suppliers.id"], name=op.f("fk_attestation_passes_supplier_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attestation_passes")),
        sa.UniqueConstraint(
            "submission_id",
            "run",
            "first_line",
            name=op.f("uq_attestation_passes_submission_id_run_first_line"),
        ),
    )
    op.create_index(op.f("ix_attestation_passes_supplier_id"), "attestation_passes", ["supplier_id"])


def downgrade() -> None:
    op.drop_table("attestation_passes")
