"""Another supplier's ids in every route: each answers exactly as it answers ids that do not exist.

A new route that takes an id must be listed here by the name of its argument, or the first test fails.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.routing import Rule as Route
from werkzeug.test import TestResponse

from portal.accounts.actors import actor_of
from portal.accounts.models import RoleName, User
from portal.accounts.permissions import GRANTS, Permission
from portal.accounts.service import create_token, invite
from portal.accounts.sign_ins import begin_sign_in
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.models import Upload
from portal.evidence.service import receive_bytes
from portal.http.access import ACCESS, SIGNED_IN
from portal.models import metadata
from portal.reassessment.models import ChangeKind
from portal.reassessment.service import file_notice
from portal.review.assessing import open_case
from portal.review.models import CaseCause, ChangeRequest, Decision, DecisionKind
from portal.review.service import assess, claim, decide
from portal.submissions.questionnaires.service import attach_file, start_questionnaire
from portal.suppliers.models import EntityRole, Supplier
from portal.suppliers.service import add_entity
from tests.factories import Make, RecordingQueue
from tests.factories.offered import Offered
from tests.factories.tokens import bearer

SignInAs = Callable[[User], FlaskClient]
NOWHERE = "0" * 32
TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
# What a route must be sent to get as far as asking whose the thing is.
BODIES: dict[str, Any] = {
    "account.update_member": {"act": "role", "role": "supplier_admin"},
    "api.add_component": {"name": "Gateway"},
    "api.attach_answer_file": {"evidence_id": NOWHERE},
    "api.change_product": {"name": "Renamed"},
    "api.save_answers": {"answers": {"fw_signing": "yes"}},
    "files.append": b"bytes",
    "supplier.add_component": {"name": "Controller"},
    "supplier.answer_request": {"answer": "Done."},
    "supplier.edit_product": {"name": "Renamed", "chemistry": "LFP"},
    "supplier.save_section": {"answer.sup_maker_country": "NO"},
}
# Routes whose second id lies inside a thing of the first: what is no one's secret.
FIXED = {"question_id": "sup_maker_name", "section_id": "SUP"}


@dataclass
class Party:
    """Somebody who asks: as a person with a session, as a machine with a token."""

    browser: FlaskClient
    machine: FlaskClient
    token: dict[str, str]

    def ask(self, route: Route, method: str, ids: dict[str, str]) -> TestResponse:
        path = re.sub(
            r"<(?:[^:<>]+:)?([^<>]+)>",
            lambda found: ids.get(f"{route.endpoint} {found[1]}", ids[found[1]]),
            route.rule,
        )
        body = BODIES.get(route.endpoint)
        if route.rule.startswith("/files/"):
            return self.machine.open(path, method=method, headers=self.token | TUS, data=body)
        if route.rule.startswith("/api/"):
            if isinstance(body, dict) and "evidence_id" in body:
                body = {"evidence_id": ids["evidence_id"]}
            return self.machine.open(path, method=method, headers=self.token, json=body)
        return self.browser.open(path, method=method, data=body)


def routes(app: Flask) -> Iterator[tuple[Route, str]]:
    """Every route with an id that somebody of a supplier may ask for; those that end things come last."""
    rights = {right for role in RoleName if role.value.startswith("supplier") for right in GRANTS[role]}
    found = [
        (route, method)
        for route in app.url_map.iter_rules()
        for method in (route.methods or set()) - {"HEAD", "OPTIONS"}
        if route.arguments - {"token"}  # a secret, not an id
        and (rule := ACCESS[route.endpoint][method])
        and (rule == SIGNED_IN or (isinstance(rule, Permission) and rule in rights))
    ]
    ends = re.compile("withdraw|end|detach|remove|revoke|submit_")
    found.sort(key=lambda one: (one[1] != "GET", bool(ends.search(one[0].endpoint)), one[0].endpoint))
    return iter(found)


@pytest.fixture
def owner(make: Make) -> User:
    return make.user(RoleName.SUPPLIER_ADMIN, make.supplier("Nordhaven Cells"))


@pytest.fixture
def theirs(
    owner: User,
    session: TenantSession,
    make: Make,
    clock: FixedClock,
    store: LocalBlobStore,
    spool: Path,
    jobs: RecordingQueue,
) -> dict[str, str]:
    """One thing of every kind that the owner has: {argument of a route: id}."""
    actor, offered = actor_of(owner), Offered(session, clock)
    supplier = session.get_one(Supplier, owner.organisation_id)
    product = make.product(supplier)
    evidence = receive_bytes(session, actor, clock, store, spool, b"%PDF", filename="secret.pdf", limit=99)
    draft = start_questionnaire(session, actor, clock, product_id=product.id)
    file = attach_file(session, actor, clock, draft.id, "sup_maker_name", evidence.id)
    image = offered.firmware(product)
    assess(session, clock, product.id, cause="test", case_cause=CaseCause.FIRST)
    case, reviewer = open_case(session, product.id), make.actor(RoleName.REVIEWER)
    assert case is not None
    claim(session, reviewer, clock, case.id)
    decide(
        *(session, reviewer, clock, case.id),
        kind=DecisionKind.REQUEST_CHANGES,
        assessment_id=case.assessment_id,
        reason="Something is missing.",
        items=("Send the test report.",),
    )
    notice = file_notice(
        *(session, actor, clock, jobs),
        kind=ChangeKind.BOM,
        title="Other cells",
        product_id=product.id,
    )
    carriers = [
        add_entity(session, actor, clock, role=EntityRole.CARRIER, name=name, country="NO").id
        for name in ("Polar Freight", "Baltic Freight")
    ]
    invitation, _ = invite(
        *(session, actor, clock),
        organisation_id=supplier.id,
        email="new@nordhaven.example",
        role=RoleName.SUPPLIER_CONTRIBUTOR,
        hours=24,
    )
    token, _ = create_token(
        session, actor, clock, name="machine", scopes=[Permission.SUPPLIER_SUBMISSION_READ], days=30
    )
    now = clock.now()
    upload = Upload(
        supplier_id=supplier.id,
        length=10,
        filename="secret.bin",
        created_by=owner.id,
        created_at=now,
        expires_at=now + timedelta(days=1),
    )
    session.add(upload)
    session.flush()
    ids = {
        "assessment_id": case.assessment_id,
        "decision_id": session.scalars(select(Decision.id)).one(),
        "entity_id": carriers[0],
        "api.remove_entity entity_id": carriers[1],
        "evidence_id": evidence.id,
        "file_id": file.id,
        "invitation_id": invitation.id,
        "key_id": offered.key(supplier.id, owner).id,
        "notice_id": notice.id,
        "product_id": product.id,
        "request_id": session.scalars(select(ChangeRequest.id)).one(),
        "sign_in_id": begin_sign_in(session, clock, owner, address=None, user_agent="Safari/").id,
        "submission_id": draft.id,
        "supplier.image_report submission_id": image.id,
        "token_id": token.id,
        "upload_id": upload.id,
        "user_id": make.user(RoleName.SUPPLIER_CONTRIBUTOR, supplier).id,
    }
    session.commit()
    return ids | FIXED


def party(app: Flask, sign_in: SignInAs, make: Make, user: User) -> Party:
    token = bearer(make, make.session.get_one(Supplier, user.organisation_id))
    make.session.commit()  # an open reader would hold the write lock
    return Party(sign_in(user), app.test_client(), token)


def rows(session: TenantSession) -> str:
    """Everything in the database but what every request notes of its session or token."""
    session.rollback()
    noted = {"sign_ins", "api_tokens"}
    tables = [table for table in metadata.sorted_tables if table.name not in noted]
    found = [
        (table.name, session.execute(select(table).order_by(*table.primary_key)).all()) for table in tables
    ]
    session.rollback()
    return repr(found)


def plain(answer: TestResponse, ids: dict[str, str]) -> str:
    """What is told, but for the ids that were asked for and the tokens of forms."""
    text = answer.text
    for value in ids.values():
        text = text.replace(value, NOWHERE)
    return re.sub(r'(name="csrf[^"]*" (?:value|content)=)"[^"]*"', r"\1", text)


def test_every_route_with_an_id_answers_strangers_as_if_it_were_not_there(
    app: Flask, make: Make, sign_in: SignInAs, session: TenantSession, theirs: dict[str, str]
) -> None:
    stranger = party(app, sign_in, make, make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    nothing = dict.fromkeys(theirs, NOWHERE) | FIXED
    before, asked = rows(session), 0
    for route, method in routes(app):
        where = f"{method} {route.rule}"
        assert set(route.arguments) <= set(theirs), f"{where}: give this test one of theirs"
        real, none = (stranger.ask(route, method, ids) for ids in (theirs, nothing))
        assert (real.status_code, none.status_code) == (404, 404), where
        assert plain(real, theirs) == plain(none, theirs), where
        asked += 1
    assert asked > 30
    assert rows(session) == before


def test_the_owner_is_answered_by_every_one_of_them(
    app: Flask, sign_in: SignInAs, make: Make, owner: User, theirs: dict[str, str]
) -> None:
    """Or the refusals above would prove nothing."""
    insider = party(app, sign_in, make, owner)
    for route, method in routes(app):
        answer = insider.ask(route, method, theirs)
        assert answer.status_code < 500, f"{method} {route.rule}"
        assert answer.status_code != 404, f"{method} {route.rule}"
