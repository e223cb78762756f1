"""The ground under every table: base class, column types, engine, and the tenant scope of a session.

Tenants are kept apart here and nowhere else: every table of a supplier derives from `SupplierOwned`, every
session carries a `Scope`, and a session without one can neither read nor write such a table.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, ClassVar, TypeVar

from sqlalchemy import DateTime as SaDateTime
from sqlalchemy import (
    Dialect,
    Engine,
    Enum,
    ForeignKey,
    MetaData,
    String,
    TypeDecorator,
    create_engine,
    event,
    orm,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, ORMExecuteState, Session, declared_attr, mapped_column
from sqlalchemy.sql.base import ExecutableOption

T = TypeVar("T")


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. Refuses a naive datetime: a time without zone is not evidence."""

    impl = SaDateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table of Lotgate."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime}


def new_id() -> str:
    """A fresh row id: 128 random bits in hex. Not a secret, but not guessable either."""
    return secrets.token_hex(16)


Id = Annotated[str, mapped_column(String(32), primary_key=True, default=new_id)]
Ref = Annotated[str, mapped_column(String(32))]
Digest = Annotated[str, mapped_column(String(64))]


def enum_column(kind: type[StrEnum]) -> Enum:
    """A column that holds one of the values of `kind`, stated to the database as a CHECK."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        length=32,
        validate_strings=True,
        name=kind.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


class SupplierOwned:
    """Mixin: a row that belongs to one supplier and is invisible to all others."""

    @declared_attr
    def supplier_id(cls) -> Mapped[str]:
        return mapped_column(String(32), ForeignKey("suppliers.id"), index=True)


# --- Tenant scope ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scope:
    """What a session may see: one supplier's rows, or (`supplier_id` None) those of all suppliers."""

    supplier_id: str | None


EVERYTHING = Scope(supplier_id=None)


class ScopeError(RuntimeError):
    """A programming fault: rows of a supplier touched without, or outside, the session's scope."""


def set_scope(session: Session | orm.scoped_session[Session], scope: Scope) -> None:
    """Bind `session` to `scope`. A door does this once, before anything else."""
    session.info["scope"] = scope


def get_scope(session: Session) -> Scope:
    scope = session.info.get("scope")
    if not isinstance(scope, Scope):
        raise ScopeError("this session has no tenant scope: the door must call set_scope first")
    return scope


class TenantSession(Session):
    """The only session class in use; its events apply the scope to every statement and every flush."""


@event.listens_for(TenantSession, "do_orm_execute")
def _scope_statements(state: ORMExecuteState) -> None:
    if state.is_column_load or state.is_relationship_load:
        return
    if not any(issubclass(mapper.class_, SupplierOwned) for mapper in state.all_mappers):
        scope = state.session.info.get("scope")
    else:
        scope = get_scope(state.session)
    if scope is None or scope.supplier_id is None:
        return
    state.statement = state.statement.options(_rows_of(scope.supplier_id))


@lru_cache(maxsize=1024)
def _rows_of(owner: str) -> ExecutableOption:
    """The condition that every statement of a supplier's session gets; made once, because making costs."""
    return orm.with_loader_criteria(
        SupplierOwned,
        lambda cls: cls.supplier_id == owner,
        include_aliases=True,
        propagate_to_loaders=True,
    )


@event.listens_for(TenantSession, "before_flush")
def _scope_writes(session: Session, _context: Any, _instances: Any) -> None:
    rows = [row for row in (*session.new, *session.dirty, *session.deleted) if isinstance(row, SupplierOwned)]
    if not rows:
        return
    scope = get_scope(session)
    for row in rows:
        if scope.supplier_id is not None and row.supplier_id != scope.supplier_id:
            raise ScopeError(f"{type(row).__name__} of another supplier in this session")


# --- Engine ---------------------------------------------------------------------------------------

_reading: ContextVar[bool] = ContextVar("reading", default=False)


def begin_reading() -> Token[bool]:
    """From here on, SQLite transactions begin without the write lock: readers never wait for writers."""
    return _reading.set(True)


def begin_writing() -> Token[bool]:
    """The other way, until `end_reading`: for what has to be recorded of a request that reads."""
    return _reading.set(False)


def end_reading(token: Token[bool]) -> None:
    _reading.reset(token)


def prepare_engine(engine: Engine) -> Engine:
    """Give `engine` the durability and locking this project promises; returns the same engine.

    SQLite: WAL, synchronous=FULL, foreign keys on, and BEGIN IMMEDIATE, so that a writer waits for the
    lock at the start instead of failing at the end.
    """
    if engine.dialect.name != "sqlite":
        return engine

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=30000",
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if _reading.get() else "BEGIN IMMEDIATE")

    return engine


def open_engine(url: str) -> Engine:
    """An engine for `url` with the promises of `prepare_engine`; connections are checked before use."""
    return prepare_engine(create_engine(url, pool_pre_ping=not url.startswith("sqlite")))


def chunks(values: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """In pieces that fit one IN list: SQLite's oldest limit is 999 values."""
    rest = iter(values)
    while piece := list(islice(rest, size)):
        yield piece


@contextmanager
def connected(url: str) -> Iterator[Engine]:
    """The engine of one command, its connections closed at the end."""
    engine = open_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def open_session(engine: Engine, scope: Scope = EVERYTHING) -> TenantSession:
    """A session for jobs and commands; the caller commits once."""
    session = TenantSession(engine, expire_on_commit=False)
    set_scope(session, scope)
    return session


@contextmanager
def writing(engine: Engine) -> Iterator[TenantSession]:
    """One transaction over all suppliers, committed at the end, rolled back on any error."""
    with open_session(engine) as session:
        yield session
        session.commit()


@contextmanager
def reading(engine: Engine) -> Iterator[TenantSession]:
    """A snapshot of all suppliers to read from for as long as it takes; writers go on meanwhile."""
    token = begin_reading()
    try:
        with open_session(engine) as session:
            yield session
    finally:
        end_reading(token)
