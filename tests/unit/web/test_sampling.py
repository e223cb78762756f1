"""The sample of a lot on its page: drawn by a button, told with its proof, taken home as a list."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import RoleName, User
from portal.db import TenantSession
from portal.submissions.models import Submission
from portal.suppliers import sampling as seeds
from tests.factories import Make
from tests.factories.offered import Offered

SERIALS = ["=1+1", "SN-2", "SN-3", "SN-4", "SN-5"]


@pytest.fixture
def lot(make: Make, session: TenantSession) -> Submission:
    product = make.product(make.supplier(), name="NH rack")
    seeds.commit(session, make.clock, product)
    return Offered(session, make.clock).lot(product, serials=SERIALS)


@pytest.fixture
def client(make: Make, session: TenantSession, sign_in: Callable[[User], FlaskClient]) -> FlaskClient:
    client = sign_in(make.user(RoleName.REVIEWER))
    session.commit()
    return client


def flat(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_a_sample_is_drawn_and_extended(client: FlaskClient, lot: Submission) -> None:
    address = f"/r/submissions/{lot.id}"
    before = client.get(address).text
    assert "No units were chosen for testing yet" in before
    assert 'value="2"' in before  # what the plan asks of five units
    assert client.get(f"{address}/sample.csv").status_code == 404

    drawn = client.post(f"{address}/sample", data={"size": "3"}, follow_redirects=True)
    assert drawn.status_code == 200
    assert "3 units were drawn." in flat(drawn.text)
    assert "Chosen by nobody" in drawn.text
    assert "before the lot was submitted" in flat(drawn.text)
    listed = client.get(f"{address}/sample.csv")
    assert listed.headers["Content-Disposition"].startswith("attachment; filename=sample-")
    first = listed.text.splitlines()
    assert (first[0], len(first)) == ("serial", 4)

    client.post(f"{address}/sample", data={"size": "5"})
    every = client.get(f"{address}/sample.csv").text.splitlines()
    assert every[:4] == first
    assert set(every[1:]) == {"'=1+1", *SERIALS[1:]}  # no spreadsheet reckons
    assert "Draw more" not in client.get(address).text


@pytest.mark.parametrize(
    ("given", "said"), [("0", "from 1 to 5"), ("6", "from 1 to 5"), ("x", "Not a valid"), ("", "How many")]
)
def test_a_size_that_cannot_be_is_told_beside_the_field(
    client: FlaskClient, lot: Submission, given: str, said: str
) -> None:
    answer = client.post(f"/r/submissions/{lot.id}/sample", data={"size": given})
    assert (answer.status_code, said in flat(answer.text)) == (422, True)
    assert client.get(f"/r/submissions/{lot.id}/sample.csv").status_code == 404


def test_a_submission_without_a_lot_has_no_sample(
    client: FlaskClient, make: Make, session: TenantSession
) -> None:
    firmware = Offered(session, make.clock).firmware(make.product(make.supplier()))
    assert client.post(f"/r/submissions/{firmware.id}/sample", data={"size": "1"}).status_code == 404
