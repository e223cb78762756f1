"""retention: rules, holds, tombstones, exports; damages and the state of the scrub

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
# None: no column may change. Of a tombstone, only that the bytes are gone is learnt afterwards.
APPEND_ONLY: dict[str, str | None] = {
    "retention_rules": None,
    "holds": None,
    "hold_acts": None,
    "tombstones": "id, supplier_id, rule, rules_version, rules_digest, kept_until, deleted_by, deleted_at",
    "exports": None,
    "export_items": None,
}


def forbid_changes() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table, columns in APPEND_ONLY.items():
        update = f"UPDATE OF {columns}" if columns else "UPDATE"
        for act, event in (("update", update), ("delete", "DELETE")):
            refuse = (
                "FOR EACH STATEMENT EXECUTE FUNCTION lotgate_append_only()"
                if postgresql
                else f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
            op.execute(f"CREATE TRIGGER {table}_no_{act} BEFORE {event} ON {table} {refuse}")


def upgrade() -> None:
    op.create_table(
        "damages",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=500), nullable=False),
        sa.Column("found_at", MOMENT, nullable=False),
        sa.Column("mended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_damages")),
    )
    op.create_index(op.f("ix_damages_sha256"), "damages", ["sha256"], unique=False)

    op.create_table(
        "scrubs",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cursor", sa.String(length=64), nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_begun_at", MOMENT, nullable=True),
        sa.Column("last_ended_at", MOMENT, nullable=True),
        sa.Column("last_files", sa.BigInteger(), nullable=False),
        sa.Column("last_size", sa.BigInteger(), nullable=False),
        sa.Column("last_damaged", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scrubs")),
    )
    op.create_table(
        "retention_rules",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("set_by", sa.String(length=32), nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["set_by"], ["users.id"], name=op.f("fk_retention_rules_set_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_rules")),
        sa.UniqueConstraint("version", name=op.f("uq_retention_rules_version")),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("product_id", sa.String(length=32), nullable=True),
        sa.Column("evidence_id", sa.String(length=32), nullable=True),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("placed_by", sa.String(length=32), nullable=False),
        sa.Column("placed_at", MOMENT, nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.CheckConstraint(
            "length(trim(reference)) > 0 AND length(trim(why)) > 0", name=op.f("ck_holds_why")
        ),
        sa.CheckConstraint("product_id IS NULL OR evidence_id IS NULL", name=op.f("ck_holds_about")),
        sa.ForeignKeyConstraint(["evidence_id"], ["evidence.id"], name=op.f("fk_holds_evidence_id")),
        sa.ForeignKeyConstraint(["placed_by"], ["users.id"], name=op.f("fk_holds_placed_by")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_holds_product_id")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_holds_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
    )
    op.create_index(op.f("ix_holds_evidence_id"), "holds", ["evidence_id"], unique=False)
    op.create_index(op.f("ix_holds_product_id"), "holds", ["product_id"], unique=False)
    op.create_index(op.f("ix_holds_supplier_id"), "holds", ["supplier_id"], unique=False)

    op.create_table(
        "tombstones",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("rule", sa.String(length=200), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.Column("rules_digest", sa.String(length=64), nullable=False),
        sa.Column("kept_until", sa.Date(), nullable=False),
        sa.Column("deleted_by", sa.String(length=32), nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=False),
        sa.Column("removed_at", MOMENT, nullable=True),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["deleted_by"], ["users.id"], name=op.f("fk_tombstones_deleted_by")),
        sa.ForeignKeyConstraint(["id"], ["evidence.id"], name=op.f("fk_tombstones_id")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_tombstones_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstones")),
    )
    op.create_index(op.f("ix_tombstones_deleted_at"), "tombstones", ["deleted_at"], unique=False)
    op.create_index(op.f("ix_tombstones_supplier_id"), "tombstones", ["supplier_id"], unique=False)

    op.create_table(
        "hold_acts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("hold_id", sa.String(length=32), nullable=False),
        sa.Column(
            "step",
            sa.Enum(
                "release_asked",
                "released",
                name="holdstep",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("by", sa.String(length=32), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["by"], ["users.id"], name=op.f("fk_hold_acts_by")),
        sa.ForeignKeyConstraint(["hold_id"], ["holds.id"], name=op.f("fk_hold_acts_hold_id")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_hold_acts_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold_acts")),
        sa.UniqueConstraint("hold_id", "step", name=op.f("uq_hold_acts_hold_id_step")),
    )
    op.create_index(op.f("ix_hold_acts_supplier_id"), "hold_acts", ["supplier_id"], unique=False)

    op.create_table(
        "exports",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=True),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column("purpose", sa.String(length=500), nullable=False),
        sa.Column("recipient", sa.String(length=200), nullable=False),
        sa.Column("exported_by", sa.String(length=32), nullable=False),
        sa.Column("exported_at", MOMENT, nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_exports_case_id")),
        sa.ForeignKeyConstraint(["exported_by"], ["users.id"], name=op.f("fk_exports_exported_by")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_exports_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
        sa.UniqueConstraint("number", name=op.f("uq_exports_number")),
    )
    op.create_index(op.f("ix_exports_case_id"), "exports", ["case_id"], unique=False)
    op.create_index(op.f("ix_exports_supplier_id"), "exports", ["supplier_id"], unique=False)

    op.create_table(
        "export_items",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("export_id", sa.String(length=32), nullable=False),
        sa.Column("evidence_id", sa.String(length=32), nullable=False),
        sa.Column("supplier_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["evidence_id"], ["evidence.id"], name=op.f("fk_export_items_evidence_id")),
        sa.ForeignKeyConstraint(["export_id"], ["exports.id"], name=op.f("fk_export_items_export_id")),
        sa.ForeignKeyConstraint(["supplier_id"], ["suppliers.id"], name=op.f("fk_export_items_supplier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_export_items")),
        sa.UniqueConstraint("export_id", "evidence_id", name=op.f("uq_export_items_export_id_evidence_id")),
    )
    op.create_index(op.f("ix_export_items_evidence_id"), "export_items", ["evidence_id"], unique=False)
    op.create_index(op.f("ix_export_items_export_id"), "export_items", ["export_id"], unique=False)
    op.create_index(op.f("ix_export_items_supplier_id"), "export_items", ["supplier_id"], unique=False)
    forbid_changes()


def downgrade() -> None:
    for table in (
        "export_items",
        "exports",
        "hold_acts",
        "tombstones",
        "holds",
        "retention_rules",
        "scrubs",
        "damages",
    ):
        op.drop_table(table)
