"""What pages show of people, invitations and tokens."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, selectinload

from portal.accounts.guard import is_locked
from portal.accounts.models import (
    AccountEvent,
    ApiToken,
    Invitation,
    Organisation,
    OrganisationKind,
    Role,
    RoleName,
    SignIn,
    User,
)
from portal.accounts.sign_ins import device_words, open_sign_ins
from portal.clock import Clock

PAGE = 50
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Member:
    """A person; `state` is active, locked or disabled."""

    id: str
    name: str
    email: str
    role: RoleName
    organisation_id: str
    organisation: str
    kind: OrganisationKind
    state: str
    has_second_factor: bool
    has_authenticator_app: bool
    passkeys: int
    recovery_codes_left: int
    last_sign_in_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation not yet taken up; `state` is invited or expired."""

    id: str
    email: str
    role: RoleName
    organisation: str
    inviter: str
    state: str
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token; `state` is active, expired or revoked."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    maker: str
    state: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignInRow:
    """Where a person is signed in; `device` in words, as the browser says."""

    id: str
    device: str
    address: str
    begun_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class EventRow:
    at: datetime
    kind: str
    by: str | None
    address: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class SupplierAccount:
    """A supplier as an organisation: its people, not what it sells."""

    id: str
    name: str
    people: int
    invited: int
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Rows `first` to `last` (from 1) of `total`; page numbers begin at 1."""

    rows: list[Row]
    number: int
    total: int

    @property
    def text(self) -> str:
        if not self.total:
            return ""
        first = (self.number - 1) * PAGE + 1
        return f"{first}–{first + len(self.rows) - 1} of {self.total}"

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.number * PAGE < self.total else None


def administrators(session: Session) -> list[str]:
    """E-mail addresses of those who are to be told of trouble."""
    wanted = select(User.email).where(User.active, User.roles.any(Role.name == RoleName.ADMINISTRATOR))
    return list(session.scalars(wanted.order_by(User.email)))


def find_member(session: Session, clock: Clock, user_id: str) -> Member | None:
    user = session.get(User, user_id)
    return _member(clock, user) if user else None


def team(session: Session, clock: Clock, organisation_id: str) -> list[Member]:
    """Everyone of one organisation, by name."""
    rows = session.scalars(
        select(User)
        .options(selectinload(User.webauthn))
        .where(User.organisation_id == organisation_id)
        .order_by(User.name)
    )
    return [_member(clock, user) for user in rows]


def people(
    session: Session, clock: Clock, *, text: str = "", role: RoleName | None = None, number: int = 1
) -> Page[Member]:
    """Everyone, by name; `text` is looked for in name, address and organisation."""
    query = select(User).options(selectinload(User.webauthn)).join(User.organisation)
    if text:
        query = query.where(
            or_(
                User.name.icontains(text, autoescape=True),
                User.email.icontains(text, autoescape=True),
                Organisation.name.icontains(text, autoescape=True),
            )
        )
    if role:
        query = query.where(User.roles.any(Role.name == role))
    total = _count(session, query)
    rows = session.scalars(_slice(query.order_by(User.name, User.id), number))
    return Page([_member(clock, user) for user in rows], number, total)


def invitations(
    session: Session, clock: Clock, organisation_id: str | None = None, limit: int = 200
) -> list[InvitationRow]:
    """Those not taken up, newest first; of one organisation, or of all."""
    query = (
        select(Invitation, Organisation.name, User.name)
        .join(Organisation, Organisation.id == Invitation.organisation_id)
        .outerjoin(User, User.id == Invitation.invited_by)
        .where(Invitation.accepted_at.is_(None), Invitation.revoked_at.is_(None))
        .order_by(Invitation.created_at.desc())
        .limit(limit)
    )
    if organisation_id is not None:
        query = query.where(Invitation.organisation_id == organisation_id)
    now = clock.now()
    return [
        InvitationRow(
            id=row.id,
            email=row.email,
            role=row.role,
            organisation=organisation,
            inviter=inviter or "Lotgate",
            state="invited" if now < row.expires_at else "expired",
            created_at=row.created_at,
            expires_at=row.expires_at,
        )
        for row, organisation, inviter in session.execute(query)
    ]


def tokens(session: Session, clock: Clock, organisation_id: str) -> list[TokenRow]:
    """Those of one organisation, newest first."""
    now = clock.now()
    query = (
        select(ApiToken, User.name)
        .join(User, User.id == ApiToken.created_by)
        .where(ApiToken.organisation_id == organisation_id)
        .order_by(ApiToken.created_at.desc())
    )
    return [
        TokenRow(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            scopes=tuple(row.scopes),
            maker=maker,
            state="revoked" if row.revoked_at else "active" if now < row.expires_at else "expired",
            created_at=row.created_at,
            expires_at=row.expires_at,
            last_used_at=row.last_used_at,
        )
        for row, maker in session.execute(query)
    ]


def sign_ins(
    session: Session, clock: Clock, user_id: str, *, idle_minutes: int, hours: int
) -> list[SignInRow]:
    """Where one person is signed in now, the latest seen first."""
    query = open_sign_ins(clock, user_id, idle_minutes=idle_minutes, hours=hours)
    return [
        SignInRow(row.id, device_words(row.user_agent), row.address, row.begun_at, row.seen_at)
        for row in session.scalars(query.order_by(SignIn.seen_at.desc(), SignIn.begun_at.desc()))
    ]


def events(session: Session, user_id: str, limit: int = 50) -> list[EventRow]:
    """What happened to one account, newest first."""
    query = (
        select(AccountEvent, User.name)
        .outerjoin(User, User.id == AccountEvent.actor_id)
        .where(AccountEvent.user_id == user_id)
        .order_by(AccountEvent.id.desc())
        .limit(limit)
    )
    return [EventRow(row.at, row.kind, by, row.address, row.detail) for row, by in session.execute(query)]


def supplier_accounts(
    session: Session, clock: Clock, *, text: str = "", number: int = 1
) -> Page[SupplierAccount]:
    """All suppliers, by name, with how many people have an account or an open invitation."""
    members = (
        select(func.count()).where(User.organisation_id == Organisation.id).correlate(Organisation)
    ).scalar_subquery()
    invited = (
        select(func.count())
        .where(
            Invitation.organisation_id == Organisation.id,
            Invitation.accepted_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > clock.now(),
        )
        .correlate(Organisation)
    ).scalar_subquery()
    query = select(Organisation, members, invited).where(Organisation.kind == OrganisationKind.SUPPLIER)
    if text:
        query = query.where(Organisation.name.icontains(text, autoescape=True))
    total = _count(session, query)
    rows = session.execute(_slice(query.order_by(Organisation.name), number))
    return Page(
        [
            SupplierAccount(row.id, row.name, people, waiting, row.created_at, row.disabled_at)
            for row, people, waiting in rows
        ],
        number,
        total,
    )


def _member(clock: Clock, user: User) -> Member:
    state = "disabled" if not user.active else "locked" if is_locked(clock, user) else "active"
    return Member(
        id=user.id,
        name=user.name,
        email=user.email,
        role=user.role,
        organisation_id=user.organisation_id,
        organisation=user.organisation.name,
        kind=user.organisation.kind,
        state=state,
        has_second_factor=user.has_second_factor,
        has_authenticator_app=user.has_authenticator_app,
        passkeys=len(user.webauthn),
        recovery_codes_left=user.recovery_codes_left,
        last_sign_in_at=user.last_sign_in_at,
        created_at=user.created_at,
    )


def _count(session: Session, query: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(query.order_by(None).subquery())) or 0


def _slice(query: Select[Any], number: int) -> Select[Any]:
    return query.limit(PAGE).offset((number - 1) * PAGE)
