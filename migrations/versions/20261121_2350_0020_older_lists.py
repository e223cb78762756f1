"""revocation lists stay when newer ones come

Revision: 0020, after 0019
"""

import base64
import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TABLE = "revocation_lists"
_UNIQUE = f"uq_{_TABLE}_key_id"


def forbid_changes() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for act, event in (("update", "UPDATE"), ("delete", "DELETE")):
        refuse = (
            "FOR EACH STATEMENT EXECUTE FUNCTION lotgate_append_only()"
            if postgresql
            else f"BEGIN SELECT RAISE(ABORT, '{_TABLE} is append-only'); END"
        )
        op.execute(f"CREATE TRIGGER {_TABLE}_no_{act} BEFORE {event} ON {_TABLE} {refuse}")


def upgrade() -> None:
    with op.batch_alter_table(_TABLE) as table:
        table.add_column(sa.Column("number", sa.Integer(), nullable=False, server_default="1"))
        table.add_column(sa.Column("sha256", sa.String(length=64), nullable=False, server_default=""))
        table.drop_constraint(op.f(_UNIQUE), type_="unique")
        table.create_unique_constraint(op.f(f"{_UNIQUE}_number"), ["key_id", "number"])
    rows = sa.table(_TABLE, sa.column("id"), sa.column("pem"), sa.column("sha256"))
    for row_id, pem in op.get_bind().execute(sa.select(rows.c.id, rows.c.pem)).all():
        der = base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
        digest = hashlib.sha256(der).hexdigest()
        op.execute(rows.update().where(rows.c.id == row_id).values(sha256=digest))
    with op.batch_alter_table(_TABLE) as table:
        table.alter_column("number", server_default=None)
        table.alter_column("sha256", server_default=None)
    forbid_changes()


def downgrade() -> None:
    on = f" ON {_TABLE}" if op.get_bind().dialect.name == "postgresql" else ""
    for act in ("update", "delete"):
        op.execute(f"DROP TRIGGER {_TABLE}_no_{act}{on}")
    op.execute(
        "DELETE FROM revocation_lists WHERE EXISTS (SELECT 1 FROM revocation_lists AS newer "
        "WHERE newer.key_id = revocation_lists.key_id AND newer.number > revocation_lists.number)"
    )
    with op.batch_alter_table(_TABLE) as table:
        table.drop_constraint(op.f(f"{_UNIQUE}_number"), type_="unique")
        table.drop_column("sha256")
        table.drop_column("number")
        table.create_unique_constraint(op.f(_UNIQUE), ["key_id"])
