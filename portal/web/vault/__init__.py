"""Pages of the vault: its state, holds, retention, what was deleted, exports."""

from portal.web.vault import holds, retention, state
from portal.web.vault.blueprint import blueprint

__all__ = ["blueprint", "holds", "retention", "state"]
