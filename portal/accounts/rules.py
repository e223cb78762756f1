"""Who may manage whom, and what an organisation always keeps."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.accounts.models import (
    BUYER_ROLES,
    SUPPLIER_ROLES,
    Invitation,
    Organisation,
    OrganisationKind,
    Role,
    RoleName,
    User,
)
from portal.accounts.permissions import Permission
from portal.errors import Conflict, InvalidInput, NotFound, Problem

ROLES_OF: dict[OrganisationKind, frozenset[RoleName]] = {
    OrganisationKind.BUYER: BUYER_ROLES,
    OrganisationKind.SUPPLIER: SUPPLIER_ROLES,
}
ADMIN_ROLES = frozenset({RoleName.SUPPLIER_ADMIN, RoleName.ADMINISTRATOR})


def managed_organisation(session: Session, actor: Actor, organisation_id: str) -> Organisation:
    """An organisation whose people the actor manages: any for the administrator, else only their own."""
    if actor.supplier_id is None:
        actor.must(Permission.ADMIN_USER_MANAGE)
    else:
        actor.must(Permission.SUPPLIER_TEAM_MANAGE)
    organisation = session.get(Organisation, organisation_id)
    if organisation is None or actor.supplier_id not in (None, organisation_id):
        raise NotFound("there is no such organisation")
    return organisation


def managed_user(session: Session, actor: Actor, user_id: str) -> User:
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("there is no such person")
    try:
        managed_organisation(session, actor, user.organisation_id)
    except NotFound:
        raise NotFound("there is no such person") from None
    return user


def managed_invitation(session: Session, actor: Actor, invitation_id: str) -> Invitation:
    invitation = session.get(Invitation, invitation_id)
    if invitation is None:
        raise NotFound("there is no such invitation")
    try:
        managed_organisation(session, actor, invitation.organisation_id)
    except NotFound:
        raise NotFound("there is no such invitation") from None
    return invitation


def keep_an_admin(session: Session, user: User) -> None:
    """Refuse to take away the last active administrator of an organisation."""
    if user.role not in ADMIN_ROLES or not user.active:
        return
    # The row is locked so that two administrators cannot remove each other at the same moment.
    session.scalar(select(Organisation.id).where(Organisation.id == user.organisation_id).with_for_update())
    others = session.scalar(
        select(User.id)
        .where(
            User.organisation_id == user.organisation_id,
            User.active,
            User.id != user.id,
            User.roles.any(Role.name == user.role),
        )
        .limit(1)
    )
    if others is None:
        raise Conflict(
            f"{user.name} is the last administrator of {user.organisation.name}: appoint another first"
        )


def check_role(organisation: Organisation, role: RoleName) -> None:
    if role not in ROLES_OF[organisation.kind]:
        allowed = ", ".join(sorted(ROLES_OF[organisation.kind]))
        raise InvalidInput(
            f"{role} is not a role at {organisation.name}", (Problem("role", f"one of {allowed}", role),)
        )


def check_free(session: Session, email: str) -> None:
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        raise Conflict(f"{email} has an account already")


def tidy_name(text: str, longest: int = 200) -> str:
    name = " ".join(text.split())
    if not name or len(name) > longest:
        raise InvalidInput(
            "a name is needed",
            (Problem("name", f"1 to {longest} characters", f"{len(name)} characters"),),
        )
    return name
