"""A vault with old files in it, and the people who may say what becomes of them."""

from pathlib import Path

import pytest

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from tests.factories import Make
from tests.factories.kept import Kept


@pytest.fixture
def kept(session: TenantSession, clock: FixedClock, make: Make, store: LocalBlobStore, spool: Path) -> Kept:
    make.entered = True
    return Kept(session, clock, make, store, spool)


@pytest.fixture
def administrator(make: Make) -> Actor:
    return make.actor(RoleName.ADMINISTRATOR)


@pytest.fixture
def approver(make: Make) -> Actor:
    return make.actor(RoleName.APPROVER)
