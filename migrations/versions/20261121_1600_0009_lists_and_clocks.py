"""revocation lists of certificate authorities; time-stamp authorities

Revision: 0009, after 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revocation_lists",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("this_update", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_update", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked", sa.Integer(), nullable=False),
        sa.Column("brought_by", sa.String(length=32), nullable=False),
        sa.Column("brought_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["brought_by"], ["users.id"], name=op.f("fk_revocation_lists_brought_by")),
        sa.ForeignKeyConstraint(["key_id"], ["signing_keys.id"], name=op.f("fk_revocation_lists_key_id")),
        sa.ForeignKeyConstraint(
            ["supplier_id"], ["suppliers.id"], name=op.f("fk_revocation_lists_supplier_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation_lists")),
        sa.UniqueConstraint("key_id", name=op.f("uq_revocation_lists_key_id")),
    )
    op.create_index(op.f("ix_revocation_lists_supplier_id"), "revocation_lists", ["supplier_id"])
    op.create_table(
        "timestamp_authorities",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column("fingerprint", sa.String(length=80), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("added_by", sa.String(length=32), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["added_by"], ["users.id"], name=op.f("fk_timestamp_authorities_added_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timestamp_authorities")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_timestamp_authorities_fingerprint")),
        sa.UniqueConstraint("label", name=op.f("uq_timestamp_authorities_label")),
    )


def downgrade() -> None:
    op.drop_table("timestamp_authorities")
    op.drop_table("revocation_lists")
