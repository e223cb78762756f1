"""One rich scene, laid out once for all tests that read the PDF back: layout takes seconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

import pytest
from flask import Flask
from pypdf import PdfReader

from portal.clock import FixedClock
from portal.db import TenantSession, open_engine, open_session
from portal.models import metadata
from portal.reports.pdf import render
from portal.reports.read import assessment_report
from portal.reports.view import ReportView
from portal.review.models import Assessment
from tests.factories import Make
from tests.unit.reports.scene import Scene, rich


@dataclass(frozen=True)
class Printed:
    """A report and its PDF read back; `text` is that of all pages, its lines joined."""

    view: ReportView
    pdf: bytes
    pages: list[str]
    reader: PdfReader

    @property
    def text(self) -> str:
        return flat(" ".join(self.pages))


def flat(text: str) -> str:
    return " ".join(text.split())


def printed(view: ReportView) -> Printed:
    pdf = render(view)
    reader = PdfReader(BytesIO(pdf))
    return Printed(view, pdf, [page.extract_text() for page in reader.pages], reader)


@dataclass(frozen=True)
class Told:
    session: TenantSession
    scene: Scene
    assessment: Assessment
    buyer: Printed
    supplier: Printed


@pytest.fixture(scope="package")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('reports') / 'rich.db'}")
    metadata.create_all(engine)
    session = open_session(engine)
    clock = FixedClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    scene = Scene(Make(session, clock, Flask("reports")), session, clock)
    assessment = rich(scene)
    views = [assessment_report(session, assessment.id, audience=name) for name in ("buyer", "supplier")]
    yield Told(session, scene, assessment, printed(views[0]), printed(views[1]))
    session.close()
    engine.dispose()


@pytest.fixture
def scene(make: Make, session: TenantSession, clock: FixedClock) -> Scene:
    return Scene(make, session, clock)
