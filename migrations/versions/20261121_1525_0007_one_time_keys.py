"""one-time keys that signed firmware, and what each of them signed

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "one_time_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=80), nullable=False),
        sa.Column("identifier", sa.String(length=32), nullable=False),
        sa.Column("leaf", sa.Integer(), nullable=False),
        sa.Column("signed", sa.String(length=64), nullable=False),
        sa.Column("submission_id", sa.String(length=32), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_one_time_keys_submission_id")
        ),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_one_time_keys_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_keys")),
        sa.UniqueConstraint(
            "supplier_id",
            "fingerprint",
            "identifier",
            "leaf",
            name=op.f("uq_one_time_keys_supplier_id_fingerprint_identifier_leaf"),
        ),
    )
    op.create_index(op.f("ix_one_time_keys_submission_id"), "one_time_keys", ["submission_id"])
    op.create_index(op.f("ix_one_time_keys_supplier_id"), "one_time_keys", ["supplier_id"])


def downgrade() -> None:
    op.drop_table("one_time_keys")
