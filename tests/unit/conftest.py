"""Fixtures that the rooms' tests share."""

import pytest

from portal.clock import FixedClock
from portal.db import TenantSession
from tests.factories.offered import Offered


@pytest.fixture
def offered(session: TenantSession, clock: FixedClock) -> Offered:
    """Rows of what suppliers offered, verified with given outcomes."""
    return Offered(session, clock)
