"""seeds of samples, and the samples drawn

Revision: 0016, after 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sampling_seeds",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("product_id", sa.String(length=32), nullable=False),
        sa.Column("seed", sa.String(length=64), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_sampling_seeds_product_id")),
        sa.ForeignKeyConstraint(
            ["supplier_id"], ["suppliers.id"], name=op.f("fk_sampling_seeds_supplier_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sampling_seeds")),
    )
    op.create_index(op.f("ix_sampling_seeds_product_id"), "sampling_seeds", ["product_id"])
    op.create_index(op.f("ix_sampling_seeds_supplier_id"), "sampling_seeds", ["supplier_id"])
    op.create_table(
        "samples",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("lot_id", sa.String(length=32), nullable=False),
        sa.Column("seed_id", sa.String(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("serials", sa.Text(), nullable=False),
        sa.Column("drawn_by", sa.String(length=32), nullable=False),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.CheckConstraint("size > 0", name=op.f("ck_samples_size")),
        sa.ForeignKeyConstraint(["lot_id"], ["lots.id"], name=op.f("fk_samples_lot_id")),
        sa.ForeignKeyConstraint(["seed_id"], ["sampling_seeds.id"], name=op.f("fk_samples_seed_id")),
        sa.ForeignKeyConstraint(["drawn_by"], ["users.id"], name=op.f("fk_samples_drawn_by")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_samples_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
        sa.UniqueConstraint("lot_id", "size", name=op.f("uq_samples_lot_id_size")),
    )
    op.create_index(op.f("ix_samples_supplier_id"), "samples", ["supplier_id"])


def downgrade() -> None:
    op.drop_table("samples")
    op.drop_table("sampling_seeds")
