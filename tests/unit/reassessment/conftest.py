"""The reviewer's desk, for products that were decided on before something changed."""

import pytest

from portal.clock import FixedClock
from portal.db import TenantSession
from portal.review.models import DecisionKind
from portal.suppliers.models import Product
from tests.factories import Make
from tests.factories.offered import Offered
from tests.unit.review.conftest import Desk


@pytest.fixture
def desk(session: TenantSession, clock: FixedClock, make: Make, offered: Offered) -> Desk:
    return Desk(session, clock, make, offered)


@pytest.fixture
def approved(desk: Desk) -> Product:
    """A product of tier 2 that a reviewer approved."""
    case = desk.case()
    desk.decide(case, DecisionKind.APPROVE)
    return case.product
