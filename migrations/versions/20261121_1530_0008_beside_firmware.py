"""what may come beside firmware: the signer's certificates and a time stamp

Revision: 0008, after 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BEFORE = ("image", "signature", "manifest", "units", "attestations", "document")
_AFTER = ("image", "signature", "certificates", "timestamp", *_BEFORE[2:])


def _roles(*roles: str) -> None:
    """The values of attachments.role, which the database states as a CHECK."""
    names = ", ".join(f"'{role}'" for role in roles)
    # SQLite makes the table anew, and Alembic leaves out the CHECK that it finds.
    with op.batch_alter_table("attachments", recreate="auto") as table:
        if op.get_bind().dialect.name != "sqlite":
            table.drop_constraint(op.f("ck_attachments_attachmentrole"), type_="check")
        table.create_check_constraint("attachmentrole", f"role IN ({names})")


def upgrade() -> None:
    _roles(*_AFTER)


def downgrade() -> None:
    op.execute("UPDATE attachments SET role = 'document' WHERE role IN ('certificates', 'timestamp')")
    _roles(*_BEFORE)
