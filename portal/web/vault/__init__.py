"""Pages of the vault: its state, holds, retention, what was deleted, exports."""

from portal.web.vault import exports, holds, retention, state
from portal.web.vault.blueprint import blueprint

__all__ = ["blueprint", "exports", "holds", "retention", "state"]
