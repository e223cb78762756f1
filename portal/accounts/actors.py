"""Who acts: made by a door, handed to every verb."""

from dataclasses import dataclass

from portal.accounts.models import OrganisationKind, User
from portal.accounts.permissions import GRANTS, Permission
from portal.db import EVERYTHING, Scope
from portal.errors import NotAllowed


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, a machine with a person's token, or (`user_id` None) a job of the portal itself.

    `supplier_id` is None on the buyer's side. `method` is "web", "api", "cli" or "job".
    """

    user_id: str | None
    name: str
    supplier_id: str | None
    permissions: frozenset[Permission]
    method: str

    @property
    def scope(self) -> Scope:
        return EVERYTHING if self.supplier_id is None else Scope(self.supplier_id)

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def must(self, permission: Permission) -> None:
        """Raises NotAllowed that names what is missing."""
        if permission not in self.permissions:
            raise NotAllowed(f"this needs the permission {permission}")


MACHINE = Actor(
    user_id=None, name="Lotgate", supplier_id=None, permissions=frozenset(Permission), method="job"
)


def actor_of(user: User, method: str = "web", scopes: list[str] | None = None) -> Actor:
    """The actor for `user`; with `scopes` (of a token) only those that the role has as well."""
    granted = GRANTS[user.role]
    if scopes is not None:
        granted = granted & {Permission(scope) for scope in scopes}
    supplier = user.organisation.kind is OrganisationKind.SUPPLIER
    return Actor(
        user_id=user.id,
        name=user.name,
        supplier_id=user.organisation_id if supplier else None,
        permissions=granted,
        method=method,
    )
