"""The PDF read back: every section is there, nothing internal leaks, nothing is run, fetched or cut off."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pypdf.generic import DictionaryObject
from weasyprint.urls import FatalURLFetchingError

from portal.db import TenantSession
from portal.formats import iso
from portal.policy.result import Result
from portal.reports import pdf
from portal.reports.charts import area_scores
from portal.reports.read import assessment_report
from portal.reports.view import Part, ReportView
from tests.unit.reports.conftest import Told, flat, printed
from tests.unit.reports.scene import Scene

SECTIONS = (
    "Summary",
    "Decision",
    "Score per area",
    "Knock-outs",
    "Gaps and what would close them",
    "Changes since the last decision",
    "Product and supply chain",
    "Checks",
    "Firmware",
    "Lots and units",
    "Questionnaire",
    "All controls",
    "Evidence",
    "Comments",
    "How to check this report",
    "Units",
)
MARGIN_POINTS = 20 / 25.4 * 72
HOSTILE = (
    "<script>alert(1)</script> <img src=https://evil.example/x.png> {{7*7}} {% raw %} &amp; "
    "\u202egnp.exe שלום مرحبا \x00\x1b[31m \ud800 " + "W" * 120 + " https://evil.example/" + "a" * 90
)


# --- Form -----------------------------------------------------------------------------------------
def structure(node: Any, depth: int = 0) -> Iterator[Any]:
    """The elements of a tagged document, in reading order."""
    assert depth < 100
    children = node.get("/K", [])
    for child in children if isinstance(children, list) else [children]:
        element = child.get_object()
        if isinstance(element, DictionaryObject) and "/S" in element:
            yield element
            yield from structure(element, depth + 1)


def test_the_document_says_which_standards_it_follows(told: Told) -> None:
    for report in (told.buyer, told.supplier):
        text = report.reader.trailer["/Root"]["/Metadata"].get_data().decode()
        root = ET.fromstring(text)
        stated = {name: value for node in root.iter() for name, value in node.attrib.items()}
        assert stated["{http://www.aiim.org/pdfa/ns/id/}part"] == "3"
        assert stated["{http://www.aiim.org/pdfa/ns/id/}conformance"] == "A"
        assert stated["{http://www.aiim.org/pdfua/ns/id/}part"] == "1"
        assert text.count("</rdf:RDF>") == 1


def test_it_can_be_read_aloud(told: Told) -> None:
    """Headings never skip a level and figures have words (ISO 14289-1, 7.3 and 7.4.2)."""
    level, figures = 0, []
    for element in structure(told.buyer.reader.trailer["/Root"]["/StructTreeRoot"]):
        kind = element["/S"]
        if re.fullmatch(r"/H[1-6]", kind):
            assert int(kind[2]) <= level + 1, kind
            level = int(kind[2])
        elif kind == "/Figure":
            figures.append(str(element.get("/Alt", "")).strip())
    assert level > 0
    assert [text.split(":")[0] for text in figures] == ["Lotgate’s sign", "Bar chart of the score per area"]


@pytest.mark.parametrize("flavour", ["3a", "ua1"])
def test_a_validator_agrees(told: Told, tmp_path: Path, flavour: str) -> None:
    validator = shutil.which("verapdf")
    if validator is None:
        pytest.skip("veraPDF is not installed")
    path = tmp_path / "report.pdf"
    path.write_bytes(told.buyer.pdf)
    done = subprocess.run(
        [validator, "--flavour", flavour, "--format", "text", "-v", path], capture_output=True, text=True
    )
    assert done.stdout.startswith("PASS"), done.stdout


def test_every_section_is_there_and_the_contents_lead_to_it(told: Told) -> None:
    contents = flat(told.buyer.pages[1])
    numbers = []
    for number, title in enumerate(SECTIONS, 1):
        found = re.search(rf"\b{number} {re.escape(title)} (\d+)", contents)
        assert found, title
        page = int(found[1])
        numbers.append(page)
        assert f"{number} {title}" in flat(told.buyer.pages[page - 1]), title
    assert numbers == sorted(numbers)


def test_pages_are_numbered_and_headed(told: Told) -> None:
    total = len(told.buyer.pages)
    assert 15 <= total <= 40
    for number, text in enumerate(told.buyer.pages, 1):
        assert f"Page {number} of {total}" in flat(text)
    for text in told.buyer.pages[1:]:
        assert "Rack battery 48 V 100 Ah (NH-48-100)" in flat(text)
        assert "Assessment 3 · Case 57" in flat(text)


def test_the_cover_says_what_a_board_needs(told: Told) -> None:
    cover, view = flat(told.buyer.pages[0]), told.buyer.view
    for text in (
        "Nordhaven Cells (NO)",
        "Rack battery 48 V 100 Ah",
        "High risk" if view.result.rating == "high_risk" else "Reject",
        "In quarantine on 22 Dec 2026",
        "Tier 1",
        "Number 3, case 57",
        "version 1.0.0",
        view.result.policy_digest,
    ):
        assert text in cover, text


def test_reasons_and_digests_are_in_full(told: Told) -> None:
    view, text = told.buyer.view, told.buyer.text
    for group in view.checks.rows:
        for check in group.checks:
            assert check.id in text
            assert flat(check.reason) in text, check
    joined = text.replace(" ", "")
    for row in view.evidence.rows:
        assert row.sha256 in text
        assert row.blake3 in text
    for digest in (view.facts_digest, view.result_digest):
        assert digest in text
    for entry in view.ledger:
        assert f"Entry {entry.seq}: {entry.title}" in text
        assert entry.hash in joined
    for gap in view.result.gaps:
        assert flat(gap.closes) in text, gap.control_id


def test_long_lists_say_how_much_is_left_out(told: Told) -> None:
    text = told.buyer.text
    assert "First 200 of 2,000 units; the full list is in the manifest, SHA-256" in text
    assert told.buyer.view.lots.rows[0].manifest_sha256 in text
    assert "First 50 of 61 statements that did not pass." in text
    assert "First 50 of 62 units without a valid attestation." in text


def test_decisions_name_people_reasons_and_what_was_asked(told: Told) -> None:
    text = told.buyer.text
    assert "Jon Vik, Approver, 22 Dec 2026" in text
    assert "No answer in time." in text
    assert "Withdraw or sign firmware 2.2.0-rc1." in text
    assert "Compared with assessment 2 of 21 Nov 2026" in text
    assert "Mikkel Dahl" in text


def test_the_suppliers_version_has_nothing_internal(told: Told) -> None:
    assert "Internal remark: compare with the Tamar incident" in told.buyer.text
    for secret in ("Tamar", "Internal remark", "cause: lot", "read out by telephone"):
        assert secret not in told.supplier.text, secret
    assert "supplier’s version" in flat(told.supplier.pages[0])
    assert "We have asked for a new batch of statements." in told.supplier.text
    assert b"Tamar" not in told.supplier.pdf


def test_equal_views_give_equal_bytes(told: Told) -> None:
    again = assessment_report(told.session, told.assessment.id, audience="supplier")
    assert again == told.supplier.view
    assert pdf.render(again) == told.supplier.pdf
    assert told.supplier.pdf != told.buyer.pdf


def test_the_document_says_what_it_is(told: Told) -> None:
    reader, view = told.buyer.reader, told.buyer.view
    assert reader.metadata is not None
    assert reader.metadata.title == "Assessment 3: Rack battery 48 V 100 Ah (NH-48-100), Nordhaven Cells"
    assert reader.metadata.author == "Meridian Data Centres"
    assert reader.metadata.creation_date is not None
    assert iso(reader.metadata.creation_date) == iso(view.latest_at)
    catalogue = reader.trailer["/Root"]
    assert catalogue["/Lang"] == "en"
    assert catalogue["/MarkInfo"]["/Marked"]
    titles = [item.title for item in reader.outline if not isinstance(item, list)]
    assert [re.sub(r"^\d+", "", title).strip() for title in titles] == list(SECTIONS)
    for page in reader.pages:
        assert [round(float(size)) for size in page.mediabox[2:]] == [595, 842]


# --- Nothing there --------------------------------------------------------------------------------
def test_empty_sections_say_so(scene: Scene, session: TenantSession) -> None:
    text = flat(re.sub("<[^>]+>", " ", pdf.html(assessment_report(session, scene.assess().id))))
    for words in (
        "Not decided.",
        "No decision was recorded.",
        "No gap was accepted.",
        "There is no earlier decision on this product to compare with.",
        "Nothing was submitted that could be checked.",
        "No firmware was submitted.",
        "No lot was submitted.",
        "No attestation was submitted.",
        "No questionnaire was submitted.",
        "No file was submitted.",
        "No comment was made.",
    ):
        assert words in text, words


# --- Hostile texts --------------------------------------------------------------------------------
def poisoned(value: Any, path: str = "") -> Any:
    """The same view with every free text hostile; ids, digests and enums stay what they are."""
    if is_dataclass(value) and not isinstance(value, type):
        kept = {"control_id", "id", "area", "kind", "sha256", "blake3", "hash", "previous", "outcome"}
        changed = {
            field.name: poisoned(getattr(value, field.name), field.name)
            for field in fields(value)
            if field.name not in kept and "digest" not in field.name and field.name != "assessment_id"
        }
        return replace(value, **changed)
    if isinstance(value, tuple):
        return tuple(poisoned(item, path) for item in value)
    return HOSTILE if type(value) is str and path != "contacts" and value else value


@pytest.fixture
def hostile(scene: Scene, session: TenantSession) -> ReportView:
    scene.answer_all()
    scene.firmware("2.1.0", signed_with=scene.key())
    scene.lot(3, unattested=1, failures=2)
    view = assessment_report(session, scene.assess().id)
    few = replace(view.result, controls=view.result.controls[:6])  # enough of each table, not all of it
    evidence = Part.first(view.evidence.rows, 4)
    return poisoned(replace(view, answers=view.answers[:2], evidence=evidence, result=few))


def test_hostile_text_stays_text_and_inside_the_margins(hostile: ReportView, tmp_path: Path) -> None:
    text = pdf.html(hostile)
    assert "<script" not in text
    assert text.count("<img") == 2
    report = printed(hostile)  # would raise if anything but a bundled file were asked for
    squeezed = report.text.replace(" ", "")
    for literal in ("<script>alert(1)</script>", "{{7*7}}", "‹U+202E›", "‹U+0000›", "‹U+001B›", "‹U+D800›"):
        assert literal in squeezed, literal
    assert "{{49}}" not in squeezed
    assert "\u202e" not in report.text
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext (poppler-utils) measures where the words are")
    (tmp_path / "hostile.pdf").write_bytes(report.pdf)
    boxes = subprocess.run(
        ["pdftotext", "-bbox", tmp_path / "hostile.pdf", "-"], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r'<word xMin="([\d.-]+)" yMin="[\d.-]+" xMax="([\d.-]+)"', boxes)
    assert len(found) > 1000
    assert min(float(left) for left, _ in found) >= MARGIN_POINTS - 1
    assert max(float(right) for _, right in found) <= 595.3 - MARGIN_POINTS + 1


def test_nothing_is_fetched_but_what_comes_with_the_portal() -> None:
    fetcher = pdf.Bundled({"areas.svg": b"<svg/>"})
    assert fetcher.fetch("bundled:areas.svg").read() == b"<svg/>"
    assert b"@page" in fetcher.fetch("bundled:report.css").read()
    for url in (
        "https://evil.example/x.png",
        "file:///etc/passwd",
        "data:text/css,*{}",
        "bundled:../base.html",
        "bundled:assessment.html",
        "bundled:..%2f..%2fpyproject.toml",
        "bundled:../../portal/static/lotgate.css",
        "bundled:",
    ):
        with pytest.raises(FatalURLFetchingError):
            fetcher.fetch(url)


@pytest.mark.parametrize(
    ("text", "printed_as"),
    [
        ("plain äöü 中 \n line", "plain äöü 中 \n line"),
        ("a\u202eb", "a‹U+202E›b"),
        ("a\u2066b\u2069", "a‹U+2066›b‹U+2069›"),
        ("zero\u200bwidth", "zero‹U+200B›width"),
        ("bell\x07", "bell‹U+0007›"),
        ("family \U0001f468\u200d\U0001f469", "family \U0001f468\u200d\U0001f469"),
        ("tag \U000e0041", "tag ‹U+E0041›"),
    ],
)
def test_what_cannot_be_seen_is_shown(text: str, printed_as: str) -> None:
    assert pdf.shown(text) == printed_as


def test_long_texts_are_cut_with_a_count() -> None:
    assert pdf.clip("x" * 1500) == "x" * 1500
    assert pdf.clip("x" * 3600).endswith("… (2,100 more characters)")


@pytest.mark.parametrize(
    ("supplier", "model", "name"),
    [
        ("Nordhaven Cells", "NH-48", "Nordhaven-Cells_NH-48_assessment-3.pdf"),
        ("Öst/../rava\n", "a b\"c';", "Ost-..-rava_a-b-c_assessment-3.pdf"),
        ("中文", "..", "assessment-3.pdf"),
    ],
)
def test_file_names_are_plain(told: Told, supplier: str, model: str, name: str) -> None:
    assert pdf.file_name(replace(told.buyer.view, supplier=supplier, model=model)) == name


# --- Charts ---------------------------------------------------------------------------------------
def test_charts_have_stable_bytes_and_name_missing_data(told: Told) -> None:
    areas = Result.from_json(told.assessment.result).areas
    drawn = area_scores(areas)
    assert drawn == area_scores(areas)
    assert drawn != area_scores(areas[:-1])
    assert b"<!-- no data -->" in area_scores([replace(areas[0], score=None)])
    assert b"<!-- no data -->" not in area_scores([replace(areas[0], score=0)])
    assert b"$x^2$" in area_scores([replace(areas[0], title="$x^2$")])
