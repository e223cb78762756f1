"""Verbs of people: organisations, users, roles, invitations, API tokens.

Mail is not sent here: an invitation's link is handed back to the door, which queues it.
"""

from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from portal.accounts.actors import Actor
from portal.accounts.credentials import (
    TOKEN_PREFIX,
    hash_password,
    hash_token,
    new_password,
    new_token,
    new_totp_secret,
    normal_email,
    password_problems,
)
from portal.accounts.guard import record
from portal.accounts.models import (
    ApiToken,
    Invitation,
    Organisation,
    OrganisationKind,
    Role,
    RoleName,
    User,
)
from portal.accounts.permissions import GRANTS, TOKEN_SCOPES, Permission
from portal.accounts.rules import (
    check_free,
    check_role,
    keep_an_admin,
    managed_invitation,
    managed_organisation,
    managed_user,
    tidy_name,
)
from portal.accounts.sign_ins import end_sign_ins
from portal.clock import Clock
from portal.db import new_id
from portal.errors import Conflict, Gone, InvalidInput, NotAllowed, NotFound, Problem

MAX_TOKEN_DAYS = 365


# --- Organisations and users -----------------------------------------------------------------------


def find_buyer(session: Session) -> Organisation | None:
    return session.scalar(select(Organisation).where(Organisation.kind == OrganisationKind.BUYER))


def create_buyer(session: Session, clock: Clock, name: str) -> Organisation:
    """The one buying organisation. Raises Conflict where there is one already."""
    found = find_buyer(session)
    if found is not None:
        raise Conflict(f"there is a buying organisation already: {found.name}")
    buyer = Organisation(kind=OrganisationKind.BUYER, name=tidy_name(name), created_at=clock.now())
    session.add(buyer)
    session.flush()
    return buyer


def create_user(
    session: Session,
    clock: Clock,
    *,
    organisation_id: str,
    email: str,
    name: str,
    role: RoleName,
    password: str | None = None,
) -> tuple[User, str]:
    """A person who can sign in; returns them with their password (made here unless given).

    Raises NotFound (organisation), Conflict (address taken), InvalidInput (address, name, role or password).
    """
    organisation = session.get(Organisation, organisation_id)
    if organisation is None:
        raise NotFound("there is no such organisation")
    check_role(organisation, role)
    email = normal_email(email)
    check_free(session, email)
    if password is None:
        password = new_password()
    elif found := password_problems(password, email=email, name=name):
        raise InvalidInput(
            found[0], (Problem("password", "one that is hard to guess", "one that is not", found[0]),)
        )
    user = User(
        organisation_id=organisation_id,
        name=tidy_name(name),
        email=email,
        password=hash_password(password),
        active=True,
        fs_uniquifier=new_id(),
        confirmed_at=clock.now(),
        created_at=clock.now(),
        roles=[role_row(session, role)],
    )
    session.add(user)
    session.flush()
    record(session, clock, "account.created", user_id=user.id, detail=role)
    return user, password


def renew_password(session: Session, clock: Clock, user: User) -> str:
    """A freshly made password in place of the old one; every session of theirs ends. Returns it."""
    password = new_password()
    user.password = hash_password(password)
    user.failed_sign_ins, user.locked_until = 0, None
    end_sign_ins(session, clock, user)
    session.flush()
    return password


def enrol_totp(session: Session, user: User) -> str:
    """Give `user` a second factor without their help (the demo does); returns the secret in base32."""
    user.tf_totp_secret, secret = new_totp_secret()
    user.tf_primary_method = "authenticator"
    user.tf_last_counter = None
    session.flush()
    return secret


def role_row(session: Session, role: RoleName) -> Role:
    """The row of `role`, made where it is missing."""
    row = session.scalar(select(Role).where(Role.name == role))
    if row is None:
        row = Role(name=role.value)
        session.add(row)
        session.flush()
    return row


def change_role(session: Session, actor: Actor, clock: Clock, user_id: str, role: RoleName) -> User:
    """Give a person another role; every session of theirs ends.

    Raises NotAllowed (own role), Conflict (last administrator), InvalidInput (not a role there).
    """
    user = managed_user(session, actor, user_id)
    if user.id == actor.user_id:
        raise NotAllowed("nobody changes their own role: ask another administrator")
    check_role(user.organisation, role)
    if user.role == role:
        return user
    keep_an_admin(session, user)
    before = user.role
    user.roles = [role_row(session, role)]
    end_sign_ins(session, clock, user)
    record(
        session, clock, "account.role", user_id=user.id, actor_id=actor.user_id, detail=f"{before} to {role}"
    )
    session.flush()
    return user


def disable(session: Session, actor: Actor, clock: Clock, user_id: str) -> User:
    """Shut a person out at once: sessions end, and tokens they made are refused. Raises as change_role."""
    user = managed_user(session, actor, user_id)
    if user.id == actor.user_id:
        raise NotAllowed("nobody disables their own account: ask another administrator")
    if user.active:
        keep_an_admin(session, user)
        user.active = False
        end_sign_ins(session, clock, user)
        record(session, clock, "account.disabled", user_id=user.id, actor_id=actor.user_id)
        session.flush()
    return user


def enable(session: Session, actor: Actor, clock: Clock, user_id: str) -> User:
    user = managed_user(session, actor, user_id)
    if not user.active:
        user.active = True
        user.failed_sign_ins, user.locked_until = 0, None
        record(session, clock, "account.enabled", user_id=user.id, actor_id=actor.user_id)
        session.flush()
    return user


def reset_second_factor(session: Session, actor: Actor, clock: Clock, user_id: str) -> User:
    """For a person who lost phone and recovery codes: they set up a new factor at the next sign-in."""
    user = managed_user(session, actor, user_id)
    if user.id == actor.user_id:
        raise NotAllowed("change your own second factor on your profile page")
    user.tf_primary_method = user.tf_totp_secret = user.tf_last_counter = user.mf_recovery_codes = None
    user.webauthn.clear()
    end_sign_ins(session, clock, user)
    record(session, clock, "account.second_factor_reset", user_id=user.id, actor_id=actor.user_id)
    session.flush()
    return user


# --- Invitations -----------------------------------------------------------------------------------


def invite(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    organisation_id: str,
    email: str,
    role: RoleName,
    hours: int,
) -> tuple[Invitation, str]:
    """Ask an address to join; returns the invitation and the token for its link, which is not kept.

    An open invitation of the same address to the same organisation is replaced. Raises Conflict where the
    address has an account, NotFound for an organisation that is not the actor's to manage.
    """
    organisation = managed_organisation(session, actor, organisation_id)
    check_role(organisation, role)
    email = normal_email(email)
    check_free(session, email)
    now = clock.now()
    session.execute(
        update(Invitation)
        .where(
            Invitation.organisation_id == organisation_id,
            Invitation.email == email,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(revoked_at=now)
    )
    token = new_token()
    invitation = Invitation(
        organisation_id=organisation_id,
        email=email,
        role=role,
        token_sha256=hash_token(token),
        invited_by=actor.user_id,
        created_at=now,
        expires_at=now + timedelta(hours=hours),
    )
    session.add(invitation)
    session.flush()
    detail = f"{email} as {role} of {organisation.name}"
    record(session, clock, "invitation.made", actor_id=actor.user_id, detail=detail)
    return invitation, token


def resend_invitation(
    session: Session, actor: Actor, clock: Clock, invitation_id: str, *, hours: int
) -> tuple[Invitation, str]:
    """A fresh link for the same address and role; the old link stops working."""
    old = managed_invitation(session, actor, invitation_id)
    if old.accepted_at is not None:
        raise Conflict("this invitation has been accepted already")
    return invite(
        session,
        actor,
        clock,
        organisation_id=old.organisation_id,
        email=old.email,
        role=old.role,
        hours=hours,
    )


def revoke_invitation(session: Session, actor: Actor, clock: Clock, invitation_id: str) -> Invitation:
    invitation = managed_invitation(session, actor, invitation_id)
    if invitation.accepted_at is not None:
        raise Conflict("this invitation has been accepted already: disable the account instead")
    if invitation.revoked_at is None:
        invitation.revoked_at = clock.now()
        record(session, clock, "invitation.revoked", actor_id=actor.user_id, detail=invitation.email)
        session.flush()
    return invitation


def open_invitation(session: Session, clock: Clock, token: str) -> Invitation:
    """The invitation of a link that still works. Raises NotFound, or Gone with what to do."""
    invitation = session.scalar(select(Invitation).where(Invitation.token_sha256 == hash_token(token)))
    if invitation is None:
        raise NotFound("there is no such invitation: check that the whole link was copied")
    if invitation.accepted_at is not None:
        raise Gone("this invitation has been used: sign in with the password that was chosen then")
    if invitation.revoked_at is not None or clock.now() >= invitation.expires_at:
        raise Gone("this invitation has ended: ask the person who invited you for a new one")
    return invitation


def accept_invitation(session: Session, clock: Clock, token: str, *, name: str, password: str) -> User:
    """Make the account that an invitation promised; the link works this once.

    Raises as open_invitation; InvalidInput for name or password; Conflict where the address has an account.
    """
    invitation = open_invitation(session, clock, token)
    user, _ = create_user(
        session,
        clock,
        organisation_id=invitation.organisation_id,
        email=invitation.email,
        name=name,
        role=invitation.role,
        password=password,
    )
    won = session.execute(
        update(Invitation)
        .where(
            Invitation.id == invitation.id,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
        )
        .values(accepted_at=clock.now(), accepted_by=user.id)
        .returning(Invitation.id)
    ).first()
    if won is None:
        raise Gone("this invitation has been used or revoked in the meantime")
    return user


# --- API tokens ------------------------------------------------------------------------------------


def create_token(
    session: Session, actor: Actor, clock: Clock, *, name: str, scopes: list[Permission], days: int
) -> tuple[ApiToken, str]:
    """A bearer token for the machines of the actor's organisation; the token itself is shown once.

    Raises InvalidInput for no or foreign scopes, or a life outside 1 to 365 days.
    """
    actor.must(Permission.SUPPLIER_TOKEN_MANAGE)
    if actor.user_id is None or actor.supplier_id is None:
        raise NotAllowed("only a supplier's administrator makes tokens")
    problems = []
    offered = {scope for scope in TOKEN_SCOPES if actor.may(scope)}
    if not scopes or not offered.issuperset(scopes):
        problems.append(Problem("scopes", "one or more of those offered", ", ".join(scopes) or "none"))
    if not 1 <= days <= MAX_TOKEN_DAYS:
        problems.append(Problem("days", f"1 to {MAX_TOKEN_DAYS}", str(days)))
    if problems:
        raise InvalidInput("this token cannot be made", tuple(problems))
    token = new_token(TOKEN_PREFIX)
    row = ApiToken(
        organisation_id=actor.supplier_id,
        created_by=actor.user_id,
        name=tidy_name(name, 100),
        prefix=token[:12],
        token_sha256=hash_token(token),
        scopes=sorted({scope.value for scope in scopes}),
        created_at=clock.now(),
        expires_at=clock.now() + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    detail = f"{row.prefix} {', '.join(row.scopes)}"
    record(session, clock, "token.created", user_id=actor.user_id, actor_id=actor.user_id, detail=detail)
    return row, token


def revoke_token(session: Session, actor: Actor, clock: Clock, token_id: str) -> ApiToken:
    """End a token of the actor's organisation now. Raises NotFound for any other."""
    actor.must(Permission.SUPPLIER_TOKEN_MANAGE)
    row = session.get(ApiToken, token_id)
    if row is None or row.organisation_id != actor.supplier_id:
        raise NotFound("there is no such token")
    if row.revoked_at is None:
        row.revoked_at = clock.now()
        record(
            session, clock, "token.revoked", user_id=row.created_by, actor_id=actor.user_id, detail=row.prefix
        )
        session.flush()
    return row


def usable_token(session: Session, clock: Clock, token: str) -> tuple[ApiToken, User] | None:
    """The row of a bearer token that may be used now, and the person behind it; None says nothing about why.

    It ends with its date, its revocation, its maker's account, and its organisation.
    """
    found = session.execute(  # one statement: it comes before every request of a machine
        select(ApiToken, User)
        .join(User, User.id == ApiToken.created_by)
        .options(joinedload(User.roles))
        .where(ApiToken.token_sha256 == hash_token(token))
    )
    row, maker = found.unique().one_or_none() or (None, None)
    if row is None or row.revoked_at is not None or clock.now() >= row.expires_at:
        return None
    if maker is None or not is_admitted(maker) or maker.organisation_id != row.organisation_id:
        return None
    return row, maker


def is_admitted(user: User) -> bool:
    """Whether a person may act at all: account and organisation are both active."""
    return user.active and user.organisation.disabled_at is None


def token_scopes(role: RoleName) -> list[Permission]:
    """What a person of this role may give to a token."""
    return [scope for scope in TOKEN_SCOPES if scope in GRANTS[role]]
