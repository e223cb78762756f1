"""A case in front of a reviewer."""

from dataclasses import dataclass
from typing import Any

import pytest

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.review.assessing import open_case
from portal.review.models import Case, CaseCause, Decision, DecisionKind
from portal.review.service import assess, claim, decide
from portal.suppliers.models import Product
from tests.factories import Make
from tests.factories.offered import Offered


@dataclass
class Desk:
    """A reviewer's desk: assess, claim and decide in short words."""

    session: TenantSession
    clock: FixedClock
    make: Make
    offered: Offered

    def case(self, tier: int = 2, **answers: str) -> Case:
        """The case of a product whose supplier has everything, but for these answers."""
        product = self.make.product(tier=tier)
        self.offered.everything(product)
        if answers:
            self.offered.questionnaire(product, answers)
        return self.assessed(product)

    def assessed(self, product: Product, cause: CaseCause = CaseCause.SUBMISSION) -> Case:
        assess(self.session, self.clock, product.id, cause="test", case_cause=cause)
        case = open_case(self.session, product.id)
        assert case is not None
        return case

    def reviewer(self) -> Actor:
        return self.make.actor(RoleName.REVIEWER)

    def approver(self) -> Actor:
        return self.make.actor(RoleName.APPROVER)

    def decide(self, case: Case, kind: DecisionKind, actor: Actor | None = None, **values: Any) -> Decision:
        """Claim the case and decide it on what is in front of the actor."""
        actor = actor or self.reviewer()
        claim(self.session, actor, self.clock, case.id)
        values = {"assessment_id": case.assessment_id, "reason": "Looked at all of it."} | values
        decision = decide(self.session, actor, self.clock, case.id, kind=kind, **values)
        self.session.commit()
        return decision


@pytest.fixture
def desk(session: TenantSession, clock: FixedClock, make: Make, offered: Offered) -> Desk:
    return Desk(session, clock, make, offered)
