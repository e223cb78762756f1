"""The report as a PDF: equal views, equal bytes; nothing is fetched that does not come with the portal."""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydyf import PDF, Stream
from weasyprint import HTML, Attachment
from weasyprint.css import ColorProfile
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from portal.errors import TooMany
from portal.files import PACKAGE, data_folder
from portal.formats import FILTERS, iso
from portal.reports.charts import area_scores
from portal.reports.view import ReportView

FOLDER: Final = data_folder("templates") / "report"
FONTS: Final = PACKAGE / "static" / "vendor"
CLIP_CHARS: Final = 1500
"""Characters of one text in a table; the rest is counted."""

WAIT_SECONDS: Final = 60.0
PDF_VARIANT: Final = "pdf/a-3a"  # tagged, with all fonts inside: still readable when the portal is long gone
"""ISO 19005-3. That the document is PDF/UA-1 as well is added by `_accessible`."""

COLOURS: Final = "--srgb"
_ONE_AT_A_TIME = Lock()  # layout takes seconds of one core and up to some 200 MB: never two of them together


class Bundled(URLFetcher):  # type: ignore[misc]  # weasyprint is untyped
    """Serves what comes with the portal under `bundled:`, and the charts of one report; refuses all else."""

    def __init__(self, charts: Mapping[str, bytes]) -> None:
        super().__init__(allowed_protocols=("bundled",))
        self._charts = charts

    def fetch(self, url: str, headers: dict[str, str] | None = None) -> URLFetcherResponse:  # noqa: ARG002
        scheme, _, name = url.partition(":")
        name = name.lstrip("/")
        if scheme != "bundled":
            raise FatalURLFetchingError(f"a report fetches nothing: {url[:200]!r}")
        if name in self._charts:
            return URLFetcherResponse(url, self._charts[name], {"Content-Type": "image/svg+xml"})
        kind, folder = _KINDS.get(Path(name).suffix, ("", FOLDER))
        path = folder / name
        if not kind or path.parent != folder or not path.is_file():
            raise FatalURLFetchingError(f"this does not come with the portal: {url[:200]!r}")
        return URLFetcherResponse(url, path.read_bytes(), {"Content-Type": kind})


_KINDS: Final = {
    ".css": ("text/css", FOLDER),
    ".svg": ("image/svg+xml", PACKAGE / "static"),
    ".woff2": ("font/woff2", FONTS),
}


def shown(value: object) -> object:
    """A text as it may be printed: invisible and direction-changing characters stand there by their number.

    Otherwise a supplier could write one thing and have another one read.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _HIDDEN.sub(lambda found: f"‹U+{ord(found[0]):04X}›", value)


_HIDDEN = re.compile(
    "["
    + "".join(
        re.escape(chr(code))
        for code in range(0x10000)
        # Joiners (200C, 200D) belong to ordinary writing in some scripts; newlines are laid out.
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and code not in (0x09, 0x0A, 0x0D, 0x200C, 0x200D)
    )
    + "\U000e0000-\U000e0fff]"
)


def clip(value: str, limit: int = CLIP_CHARS) -> str:
    """The start of a very long text, and how much more there is."""
    return (
        value
        if len(value) <= limit
        else f"{value[:limit].rstrip()} … ({len(value) - limit:,} more characters)"
    )


def measure(value: float | None) -> str:
    """A measured value without the noise of binary fractions: 100.60000000000001 is "100.6"."""
    return "–" if value is None else f"{value:,.6g}"


def capital(value: str) -> str:
    return value[:1].upper() + value[1:]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "capital": capital, "clip": clip, "measure": measure}
    return environment


_ENVIRONMENT = _environment()


def html(view: ReportView) -> str:
    """The report as the HTML that is laid out."""
    return page("assessment.html", view=view, made=iso(view.latest_at))


def page(template: str, **values: object) -> str:
    """A template of templates/report/ as the HTML that is laid out."""
    fonts = {name for name in ("inter-latin.woff2", "inter-latin-ext.woff2") if (FONTS / name).is_file()}
    return _ENVIRONMENT.get_template(template).render(fonts=fonts, **values)


def render(view: ReportView) -> bytes:
    """The report as a tagged PDF/A; takes a few seconds. Raises TooMany after waiting too long for others."""
    receipts = [
        Attachment(
            string=one.text,
            name=one.name,
            description=f"Receipt: {one.title}",
            created=view.latest_at,
            modified=view.latest_at,
            relationship="Supplement",
        )
        for one in view.receipts.values()
    ]
    return lay_out(html(view), identifier(view), {"areas.svg": area_scores(view.result.areas)}, receipts)


def lay_out(
    text: str,
    name: bytes,
    charts: Mapping[str, bytes] | None = None,
    attachments: Sequence[Attachment] = (),
) -> bytes:
    """HTML as a tagged PDF/A whose identifier is made from `name`. Raises TooMany as `render` does."""
    if not _ONE_AT_A_TIME.acquire(timeout=WAIT_SECONDS):
        raise TooMany("other reports are being made: try again in a minute")
    try:
        file = BytesIO()
        with _no_time_of_day():
            HTML(string=text, base_url="bundled:", url_fetcher=Bundled(charts or {})).write_pdf(
                file,
                color_profiles={COLOURS: _colours()},
                output_intent=COLOURS,
                pdf_variant=PDF_VARIANT,
                pdf_identifier=name,
                pdf_tags=True,
                attachments=attachments,
                finisher=_accessible,
            )
        return file.getvalue()
    finally:
        _ONE_AT_A_TIME.release()


def _accessible(_document: object, pdf: PDF) -> None:
    """State in the document's XMP that it is PDF/UA-1 too (ISO 14289-1, clause 5), and describe that schema,
    as PDF/A wants of each one that it does not know (ISO 19005-3, 6.6.2.3). WeasyPrint states one standard.
    """
    (metadata,) = (
        part for part in pdf.objects if isinstance(part, Stream) and part.extra.get("Type") == "/Metadata"
    )
    (text,) = metadata.stream
    before, end, after = text.rpartition(b"</rdf:RDF>")
    metadata.stream = [before + _UA + end + after]


_UA: Final = b"""
<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" pdfuaid:part="1"/>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA identification schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name>
<pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>Part of ISO 14289 that the document conforms to</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
"""


def _colours() -> ColorProfile:
    """sRGB, as PDF/A wants it stated. By itself, weasyprint opens the same file and never closes it."""
    profile = (files("weasyprint.pdf") / "sRGB2014.icc").read_bytes()
    return ColorProfile(BytesIO(profile), "sRGB2014.icc", "relative-colorimetric", (["r"], ["g"], ["b"]))


@contextmanager
def _no_time_of_day() -> Iterator[None]:
    """Fonts that are cut down for a document carry the time of it, unless told otherwise."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


def identifier(view: ReportView) -> bytes:
    """Names the document: the digest of what was assessed, for whom, and up to when it tells."""
    return f"{view.audience.value} {view.result_digest} {iso(view.latest_at)}".encode()


def file_name(view: ReportView) -> str:
    """An ASCII name that sorts: "Nordhaven-Cells_NH-48_assessment-3.pdf"."""
    parts = []
    for part in (view.supplier, view.model, f"assessment-{view.number}"):
        ascii_only = unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode()
        parts.append(re.sub("[^A-Za-z0-9.]+", "-", ascii_only).strip("-.")[:60])
    return "_".join(filter(None, parts)) + ".pdf"
