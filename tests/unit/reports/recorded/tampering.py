"""Whatever is changed, taken out or put in past the triggers: does fsck name it?"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

import pytest
from sqlalchemy import JSON, Column, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from portal.clock import FixedClock
from portal.db import Base, TenantSession, UtcDateTime
from portal.reports.recorded import RULES

ROWS, VALUES = 2, 3  # rows of each table, and other values of each column, that are tried


@dataclass
class World:
    session: TenantSession
    clock: FixedClock

    @cached_property
    def before(self) -> set[str]:
        """Faults of what scenes made directly, without entries."""
        return self.faults()

    def faults(self) -> set[str]:
        self.session.expire_all()
        found = {f"{fault.where}: {fault.text}" for _, rule in RULES for fault in rule(self.session)}
        self.session.expunge_all()
        return found

    def named(self) -> bool:
        """Whether there is a fault that was not there before."""
        before = self.before
        self.session.expire_all()
        found = (f"{fault.where}: {fault.text}" for _, rule in RULES for fault in rule(self.session))
        new = next((fault for fault in found if fault not in before), None)
        self.session.expunge_all()
        return new is not None

    @contextmanager
    def past_the_triggers(self) -> Iterator[None]:
        """Nothing refuses what is done in here, and nothing of it stays."""
        assert self.before is not None  # known from now on
        self.session.commit()
        self.session.execute(text("PRAGMA defer_foreign_keys = ON"))  # until the end, which never comes
        self.session.execute(text("PRAGMA ignore_check_constraints = ON"))
        try:
            yield
        finally:
            self.session.rollback()
            self.session.execute(text("PRAGMA ignore_check_constraints = OFF"))
            self.session.rollback()

    def _others(self, column: Column[Any], value: Any) -> Iterator[Any]:
        """Values that the column could have instead."""
        if column.foreign_keys:
            (key,) = column.foreign_keys
            yield from self.session.scalars(select(key.column).where(key.column != (value or "")).limit(2))
            yield "f" * 32
        elif enum := getattr(column.type, "enum_class", None):
            yield from (one for one in enum if one is not value)
        elif isinstance(column.type, JSON):
            yield {"another": 1}
        elif column.type.python_type is bool:
            yield not value
        elif column.type.python_type is bytes:
            yield bytes(byte ^ 1 for byte in value)
        elif column.type.python_type in (int, float):
            yield (value or 0) + 1
        elif isinstance(column.type, UtcDateTime):
            yield (value or self.clock.now()) + timedelta(days=30)
            if column.nullable and value is not None:
                yield None
        elif column.type.python_type is date:
            yield (value or date(2027, 1, 1)) + timedelta(days=1)
        elif value and len(value) >= 32 and set(value) <= set("0123456789abcdef"):
            yield value[:-1] + ("0" if value[-1] != "0" else "1")
        else:
            yield f"{value or ''} "

    def silent_about_changes(self, model: type[Base], name: str) -> list[Any]:
        """Changes of a column that nothing is said about: key, value, the other value."""
        table: Any = model.__table__
        column = table.c[name]
        (key,) = table.primary_key.columns
        silent: list[Any] = []
        for row in self.session.execute(select(table).limit(ROWS)).all():
            for value in islice(self._others(column, getattr(row, name)), VALUES):
                with self.past_the_triggers():
                    try:
                        self.session.execute(
                            update(table).where(key == getattr(row, key.name)).values({name: value})
                        )
                    except IntegrityError:
                        continue
                    if not self.named():
                        silent.append((getattr(row, key.name), getattr(row, name), value))
        return silent

    def silent_about_removals(self, model: type[Base]) -> list[Any]:
        table: Any = model.__table__
        (key,) = table.primary_key.columns
        silent: list[Any] = []
        for name in self.session.scalars(select(key).limit(ROWS)).all():
            with self.past_the_triggers():
                self.session.execute(delete(table).where(key == name))
                if not self.named():
                    silent.append(name)
        return silent

    def silent_about_additions(self, model: type[Base]) -> list[Any]:
        """Copies under another id. Where the database has no room for two, nothing can be put in."""
        table: Any = model.__table__
        (key,) = table.primary_key.columns
        silent: list[Any] = []
        for row in self.session.execute(select(table).limit(ROWS)).mappings().all():
            with self.past_the_triggers():
                new = 10**9 if isinstance(row[key.name], int) else "f" * 32
                try:
                    self.session.execute(insert(table).values(dict(row) | {key.name: new}))
                except IntegrityError:
                    continue
                if not self.named():
                    silent.append(row[key.name])
        return silent


class Tampering:
    """The tests of a world's tables: every column but those in `exempt`, which says why not."""

    tables: ClassVar[tuple[type[Base], ...]]
    exempt: ClassVar[dict[str, str]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "name" in metafunc.fixturenames:
            wanted = [
                (table, column.name)
                for table in self.tables
                for column in table.__table__.columns
                if f"{table.__tablename__}.{column.name}" not in self.exempt
            ]
            metafunc.parametrize(("model", "name"), wanted)
        elif "model" in metafunc.fixturenames:
            metafunc.parametrize("model", self.tables)

    def test_it_is_clean(self, world: World) -> None:
        names = {table.__tablename__ for table in self.tables}
        assert [fault for fault in world.before if fault.split()[0] in names] == []

    def test_it_has_rows(self, world: World, model: type[Base]) -> None:
        assert world.session.execute(select(model.__table__)).first() is not None

    def test_a_changed_value_is_named(self, world: World, model: type[Base], name: str) -> None:
        assert world.silent_about_changes(model, name) == []

    def test_a_row_that_is_taken_out_is_named(self, world: World, model: type[Base]) -> None:
        assert world.silent_about_removals(model) == []

    def test_a_row_that_is_put_in_is_named(self, world: World, model: type[Base]) -> None:
        assert world.silent_about_additions(model) == []
