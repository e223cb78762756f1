"""Reports through the door: the right file for the right people."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO

from flask.testing import FlaskClient

from portal.accounts.models import RoleName, User
from portal.adapters.keys import signer_in
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.ledger import logs
from portal.ledger.leaves import Opening
from portal.ledger.proofs import Proof
from portal.review.models import DecisionKind
from portal.settings import Settings
from portal.zips import ZipReader
from tests.factories import Make
from tests.unit.reports.scene import Scene

SignIn = Callable[[User], FlaskClient]


def test_the_buyers_people_download_a_case(scene: Scene, make: Make, sign_in: SignIn) -> None:
    assessment = scene.assess()
    case = scene.case(assessment, number=12)
    scene.comment(case, "Not for the supplier.", internal=True)
    client = sign_in(make.user(RoleName.AUDITOR))
    answer = client.get("/r/cases/12/report.pdf")
    assert answer.status_code == 200
    assert answer.mimetype == "application/pdf"
    assert answer.data.startswith(b"%PDF-1.7")
    assert (
        answer.headers["Content-Disposition"]
        == "attachment; filename=Nordhaven-Cells_NH-48-100_assessment-1.pdf"
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(f"/r/assessments/{assessment.id}/report.pdf").data == answer.data
    assert client.get("/r/cases/13/report.pdf").status_code == 404
    assert client.get(f"/s/assessments/{assessment.id}/report.pdf").status_code == 403


def test_a_supplier_downloads_its_own_version_and_nobody_elses(
    scene: Scene, make: Make, sign_in: SignIn
) -> None:
    assessment = scene.assess()
    scene.case(assessment, number=12)
    url = f"/s/assessments/{assessment.id}/report.pdf"
    answer = sign_in(scene.author).get(url)
    assert answer.status_code == 200
    assert answer.data.startswith(b"%PDF-1.7")
    stranger = make.user(RoleName.SUPPLIER_ADMIN, make.supplier())
    assert sign_in(stranger).get(url).status_code == 404
    assert sign_in(scene.author).get("/r/cases/12/report.pdf").status_code == 403
    assert sign_in(scene.author).get(f"/r/assessments/{assessment.id}/report.pdf").status_code == 403


def test_a_visitor_is_asked_to_sign_in(scene: Scene, client: FlaskClient) -> None:
    assert client.get(f"/s/assessments/{scene.assess().id}/report.pdf").status_code == 302


def publish(session: TenantSession, clock: FixedClock, settings: Settings) -> None:
    signer = signer_in(settings, 1, "portal.example/ledger/1")
    if logs.open_log(session) is None:
        logs.create(session, clock, signer)
    while logs.publish(session, clock, signer) is not None:
        session.commit()


def test_everybody_downloads_the_same_bundle_and_no_stranger_does(
    scene: Scene,
    make: Make,
    sign_in: SignIn,
    session: TenantSession,
    clock: FixedClock,
    settings: Settings,
) -> None:
    assessment = scene.assess()
    case = scene.case(assessment, number=12)
    decision = scene.decide(
        case, assessment, DecisionKind.REJECT, by="Ida Sørli", reason="No.", settled=assessment
    )
    auditor, supplier = sign_in(make.user(RoleName.AUDITOR)), sign_in(scene.author)
    stranger = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    early = auditor.get("/r/cases/12/bundle.zip")
    assert early.status_code == 409  # no log, no receipts
    assert "Content-Disposition" not in early.headers
    publish(session, clock, settings)
    answer = auditor.get("/r/cases/12/bundle.zip")
    assert answer.status_code == 200
    assert answer.mimetype == "application/zip"
    assert answer.headers["Content-Length"] == str(len(answer.data))
    members = ZipReader(BytesIO(answer.data)).members
    assert {f"decisions/{decision.id}.json", "report.pdf", "ledger/1/checkpoint"} <= members.keys()
    assert supplier.get(f"/s/assessments/{assessment.id}/bundle.zip").data == answer.data
    assert stranger.get(f"/s/assessments/{assessment.id}/bundle.zip").status_code == 404
    assert supplier.get("/r/cases/12/bundle.zip").status_code == 403
    assert auditor.get("/r/cases/13/bundle.zip").status_code == 404


def test_receipts_of_decisions_and_assessments(
    scene: Scene,
    make: Make,
    sign_in: SignIn,
    session: TenantSession,
    clock: FixedClock,
    settings: Settings,
) -> None:
    assessment = scene.assess()
    case = scene.case(assessment, number=12)
    first = scene.decide(
        case, assessment, DecisionKind.APPROVE, by="Ida Sørli", reason="Fine.", effective=False
    )
    reviewer, supplier = sign_in(make.user(RoleName.REVIEWER)), sign_in(scene.author)
    stranger = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    assert reviewer.get(f"/r/decisions/{first.id}/receipt").status_code == 409
    publish(session, clock, settings)
    told = reviewer.get(f"/r/decisions/{first.id}/receipt").get_data(as_text=True)
    assert Opening.load(Proof.parse(told).extra).facts["subject"] == first.id
    # One approval of two is no decision yet: its supplier does not see it.
    assert supplier.get(f"/s/decisions/{first.id}/receipt").status_code == 404
    scene.decide(case, assessment, DecisionKind.APPROVE, by="Jon Vik", reason="Agreed.", seconds=first)
    publish(session, clock, settings)
    reviewer, supplier = sign_in(make.user(RoleName.REVIEWER)), sign_in(scene.author)  # hours have passed
    stranger = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier()))
    assert supplier.get(f"/s/decisions/{first.id}/receipt").status_code == 200
    assert stranger.get(f"/s/decisions/{first.id}/receipt").status_code == 404
    for client, side in ((reviewer, "r"), (supplier, "s")):
        proof = client.get(f"/{side}/assessments/{assessment.id}/receipt").get_data(as_text=True)
        assert Opening.load(Proof.parse(proof).extra).facts["kind"] == "assessment.made"
    assert stranger.get(f"/s/assessments/{assessment.id}/receipt").status_code == 404


def test_pages_offer_receipts_and_bundles_only_where_a_log_is(
    scene: Scene,
    make: Make,
    sign_in: SignIn,
    session: TenantSession,
    clock: FixedClock,
    settings: Settings,
) -> None:
    assessment = scene.assess()
    case = scene.case(assessment, number=12)
    decision = scene.decide(
        case, assessment, DecisionKind.REJECT, by="Ida Sørli", reason="No.", settled=assessment
    )
    reviewer, supplier = sign_in(make.user(RoleName.REVIEWER)), sign_in(scene.author)
    bundles = ("bundle.zip", "bundle.zip?evidence=digests")
    offered = {
        "/r/cases/12": (
            reviewer,
            (*(f"/r/cases/12/{one}" for one in bundles), f"/r/decisions/{decision.id}/receipt"),
        ),
        f"/r/assessments/{assessment.id}": (
            reviewer,
            tuple(f"/r/assessments/{assessment.id}/{what}" for what in (*bundles, "receipt")),
        ),
        f"/s/products/{scene.product.id}": (
            supplier,
            tuple(f"/s/assessments/{assessment.id}/{what}" for what in (*bundles, "receipt")),
        ),
    }
    for page, (client, addresses) in offered.items():
        text = client.get(page).text
        assert "report.pdf" in text, page
        assert not [one for one in addresses if one in text], page
    publish(session, clock, settings)
    for page, (client, addresses) in offered.items():
        text = client.get(page).text
        for address in addresses:
            assert f'href="{address}"' in text, page
            answer = client.get(address)
            assert answer.status_code == 200, address
            if "bundle.zip" in address:
                manifest = json.loads(zipfile.ZipFile(BytesIO(answer.data)).read("manifest.json"))
                assert manifest["evidence"] == ("digests" if "digests" in address else "included")
