"""Reports through the door: the right file for the right people."""

from collections.abc import Callable

from flask.testing import FlaskClient

from portal.accounts.models import RoleName, User
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
