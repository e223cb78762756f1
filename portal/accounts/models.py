"""Tables of people and organisations.

`flask_security` is named here and in credentials.py, and nowhere else below the doors: its user class must
be a mixin of ours.
"""

from datetime import datetime
from enum import StrEnum

from flask_security import AsaList, RoleMixin, UserMixin, WebAuthnMixin
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.ext.mutable import MutableList
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.db import Base, Digest, Id, enum_column


class OrganisationKind(StrEnum):
    BUYER = "buyer"
    SUPPLIER = "supplier"


class RoleName(StrEnum):
    """What a person is here. One role each; a person with two duties has two accounts."""

    SUPPLIER_ADMIN = "supplier_admin"
    SUPPLIER_CONTRIBUTOR = "supplier_contributor"
    REVIEWER = "reviewer"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


SUPPLIER_ROLES = frozenset({RoleName.SUPPLIER_ADMIN, RoleName.SUPPLIER_CONTRIBUTOR})
BUYER_ROLES = frozenset(RoleName) - SUPPLIER_ROLES


class Organisation(Base):
    """One buyer, many suppliers. A supplier's organisation and its vendor record share the id."""

    __tablename__ = "organisations"
    __table_args__ = (
        Index(
            "uq_organisations_one_buyer",
            "kind",
            unique=True,
            sqlite_where=text("kind = 'buyer'"),
            postgresql_where=text("kind = 'buyer'"),
        ),
    )
    id: Mapped[Id]
    kind: Mapped[OrganisationKind] = mapped_column(enum_column(OrganisationKind))
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("role_id", ForeignKey("roles.id"), primary_key=True),
)


class Role(Base, RoleMixin):
    """A row for each `RoleName`, as flask_security wants them."""

    __tablename__ = "roles"
    id: Mapped[Id]  # type: ignore[assignment]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    description: Mapped[str | None] = mapped_column(String(255))


class User(Base, UserMixin):
    """A person with a password (argon2id) and, on the buyer's side always, a second factor."""

    __tablename__ = "users"
    id: Mapped[Id]  # type: ignore[assignment]
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password: Mapped[str | None] = mapped_column(String(255))
    active: Mapped[bool]
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    fs_token_uniquifier: Mapped[str | None] = mapped_column(String(64), unique=True)  # type: ignore[assignment]
    confirmed_at: Mapped[datetime | None]
    tf_primary_method: Mapped[str | None] = mapped_column(String(64))
    tf_totp_secret: Mapped[str | None] = mapped_column(String(255))  # encrypted
    tf_last_counter: Mapped[int | None]  # time step of the last code that was taken: no code works twice
    mf_recovery_codes: Mapped[list[str] | None] = mapped_column(MutableList.as_mutable(AsaList()))
    failed_sign_ins: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]
    last_sign_in_at: Mapped[datetime | None]
    created_at: Mapped[datetime]

    organisation: Mapped[Organisation] = relationship(lazy="joined", innerjoin=True)
    webauthn: Mapped[list["Passkey"]] = relationship(  # type: ignore[assignment]
        cascade="all, delete-orphan", order_by="Passkey.name"
    )
    roles: Mapped[list[Role]] = relationship(secondary=user_roles, lazy="selectin")  # type: ignore[assignment]

    @property
    def role(self) -> RoleName:
        return RoleName(self.roles[0].name)

    @property
    def has_authenticator_app(self) -> bool:
        return bool(self.tf_primary_method and self.tf_totp_secret)

    @property
    def has_second_factor(self) -> bool:
        return self.has_authenticator_app or bool(self.webauthn)

    @property
    def fs_webauthn_user_handle(self) -> str:  # type: ignore[override]
        """Who a passkey is for, as flask_security asks; an id says nothing about a person."""
        return self.id

    @property
    def needs_second_factor(self) -> bool:
        """Everyone on the buyer's side; a supplier's people may have one."""
        return self.role in BUYER_ROLES

    @property
    def recovery_codes_left(self) -> int:
        return len(self.mf_recovery_codes or [])

    def check_tf_required(
        self, tf_setup_methods: list[tuple[str, str]], _fresh: bool
    ) -> tuple[bool, list[tuple[str, str]]]:
        """Asked by flask_security after the password was right. No device is ever excused from the code."""
        return self.needs_second_factor or bool(tf_setup_methods), tf_setup_methods

    def check_tf_required_setup(self) -> bool:
        """Asked by flask_security: whether switching the authenticator app off is out of the question."""
        return self.needs_second_factor and not self.webauthn


class Passkey(Base, WebAuthnMixin):
    """A WebAuthn credential; columns are named as flask_security wants them."""

    __tablename__ = "passkeys"
    __table_args__ = (UniqueConstraint("user_id", "name"),)
    id: Mapped[Id]  # type: ignore[assignment]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(64))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary(1024), unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    transports: Mapped[list[str] | None] = mapped_column(JSON)
    lastuse_datetime: Mapped[datetime]

    # Told by flask_security and not kept: a passkey is a second factor, whatever a form says.
    usage = "secondary"
    extensions = None
    backup_state = False
    device_type = ""


class SignIn(Base):
    """One session of a person in one browser, from the last factor shown until it is ended or runs out."""

    __tablename__ = "sign_ins"
    id: Mapped[Id]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    begun_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(200))
    ended_at: Mapped[datetime | None]


class Invitation(Base):
    """A single-use link: one address, one organisation, one role. Only the token's hash is kept."""

    __tablename__ = "invitations"
    id: Mapped[Id]
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"), index=True)
    email: Mapped[str] = mapped_column(String(255))
    role: Mapped[RoleName] = mapped_column(enum_column(RoleName))
    token_sha256: Mapped[Digest] = mapped_column(unique=True)
    invited_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    accepted_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    revoked_at: Mapped[datetime | None]


class ApiToken(Base):
    """A bearer token for a supplier's machines. Only its hash is kept; scopes are permissions."""

    __tablename__ = "api_tokens"
    id: Mapped[Id]
    organisation_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"), index=True)
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(12))
    token_sha256: Mapped[Digest] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AccountEvent(Base):
    """What happened to an account and who did it: sign-in, refusal, lock-out, role change. Append-only."""

    __tablename__ = "account_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    actor_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    address: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(String(500), default="")
