"""Component lists inside an image: uSWID, coSWID in PE sections, CycloneDX, SPDX; and those refused."""

import json
import lzma
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from uswid import uSwidComponent, uSwidContainer, uSwidEntity, uSwidHash, uSwidPayload
from uswid.entity import uSwidEntityRole
from uswid.enums import uSwidPayloadCompression as Compression
from uswid.enums import uSwidPayloadFormat as Payload
from uswid.format_coswid import uSwidFormatCoswid
from uswid.format_uswid import uSwidFormatUswid
from uswid.hash import uSwidHashAlg

from portal.verification import ContentReport, ContentRules, examine_content
from tests.unit.verification.conftest import AT, run

MAGIC = bytes.fromhex("53424f4dd6ba2eaca3e67a52aaee3baf")
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def container() -> uSwidContainer:
    components = []
    for name, version in (("charger", "1.2.3"), ("mbedtls", "3.6.0")):
        component = uSwidComponent(
            tag_id=f"nordhaven-{name}", software_name=name, software_version=version, tag_version=1
        )
        component.product = name
        component.add_entity(
            uSwidEntity(
                name="Nordhaven Cells",
                regid="nordhaven.example",
                roles=[uSwidEntityRole.TAG_CREATOR, uSwidEntityRole.SOFTWARE_CREATOR],
            )
        )
        payload = uSwidPayload(name=f"{name}.bin", size=7)
        payload.add_hash(uSwidHash(alg_id=uSwidHashAlg.SHA256, value=DIGEST))
        component.add_payload(payload)
        components.append(component)
    return uSwidContainer(components)


def examine(tmp_path: Path, data: bytes) -> ContentReport:
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    return examine_content(path, ContentRules(), at=AT)


def sbom(report: ContentReport) -> tuple[str, str]:
    check = next(check for check in report.checks if check.id == "content.sbom")
    return check.outcome.value, check.reason


def names(report: ContentReport) -> list[tuple[str, str]]:
    [document] = report.document["sbom"]
    return [(component["name"], component["version"]) for component in document["components"]]


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.ZLIB, Compression.LZMA])
@pytest.mark.parametrize("form", [Payload.COSWID, Payload.CYCLONEDX, Payload.SPDX])
def test_uswid_of_every_kind_is_listed(tmp_path: Path, compression: Compression, form: Payload) -> None:
    made = uSwidFormatUswid(compression=compression, fmt=form).save(container())
    report = examine(tmp_path, bytes(4096) + made + b"\xff" * 999)
    assert sbom(report)[0] == "pass", sbom(report)
    assert {("charger", "1.2.3"), ("mbedtls", "3.6.0")} <= set(names(report))
    [document] = report.document["sbom"]
    assert document["offset"] == 4096
    assert document["length"] == len(made)
    if form is Payload.COSWID:
        assert document["components"][0] == {
            "name": "charger",
            "version": "1.2.3",
            "supplier": "Nordhaven Cells",
            "identifier": "nordhaven-charger",
            "hashes": [{"algorithm": "SHA-256", "digest": DIGEST}],
        }


def test_the_first_header_version_is_read(tmp_path: Path) -> None:
    payload = uSwidFormatCoswid().save(container())
    data = struct.pack("<16sBHI", MAGIC, 1, 23, len(payload)) + payload
    assert names(examine(tmp_path, data)) == [("charger", "1.2.3"), ("mbedtls", "3.6.0")]


def uswid(
    payload: bytes, *, version: int = 3, size: int = 25, length: int | None = None, packing: int = 0
) -> bytes:
    count = len(payload) if length is None else length
    return struct.pack("<16sBHIBB", MAGIC, version, size, count, 1 if packing else 0, packing) + payload


BOMB = 64 << 20


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (uswid(zlib.compress(bytes(BOMB)), packing=1), "unpacks to more than 16777216 bytes"),
        (uswid(lzma.compress(bytes(BOMB)), packing=2), "unpacks to more than 16777216 bytes"),
        (uswid(b"nothing packed", packing=1), "cannot be unpacked"),
        (uswid(b"x" * 20, packing=7), "expected compression 0, 1 or 2, found 7"),
        (uswid(b"x" * 20, length=1 << 30), "expected 1073741824 bytes after the header"),
        (uswid(b"x" * 20, size=5), "expected a header of 25 to 256 bytes, found 5"),
        (uswid(b"x" * 20, version=9), "found version 9"),
        (uswid(b"\x81" * 4000 + b"\x00"), "no coSWID in CBOR"),
        (uswid(b"\xbb" + b"\xff" * 8), "no coSWID in CBOR"),
        (uswid(b"\x01" * 20), "expected a coSWID map"),
        (uswid(bytes(20)), "it is empty"),
    ],
)
def test_a_list_that_cannot_be_read_is_a_warning(tmp_path: Path, data: bytes, words: str) -> None:
    outcome, reason = sbom(examine(tmp_path, bytes(100) + data))
    assert outcome == "warn"
    assert words in reason


def cyclonedx(count: int = 2) -> dict[str, Any]:
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": {"component": {"type": "firmware", "name": "BMS", "version": "4.1"}},
        "components": [
            {
                "type": "library",
                "name": f"part-{number}",
                "version": "1.0",
                "supplier": {"name": "Kestrel"},
                "purl": f"pkg:generic/part-{number}@1.0",
                "hashes": [{"alg": "SHA-256", "content": DIGEST}],
            }
            for number in range(count)
        ],
    }


@pytest.mark.parametrize("indent", [None, 2])
def test_cyclonedx_in_the_middle_of_an_image_is_listed(tmp_path: Path, indent: int | None) -> None:
    text = json.dumps({"$schema": "http://example.net/bom", **cyclonedx()}, indent=indent).encode()
    report = examine(tmp_path, b"{{{" + b"\xff" * 500 + text + b"\0more")
    assert names(report) == [("BMS", "4.1"), ("part-0", "1.0"), ("part-1", "1.0")]
    [document] = report.document["sbom"]
    assert (document["offset"], document["length"], document["format"]) == (503, len(text), "CycloneDX 1.6")
    assert document["components"][1]["identifier"] == "pkg:generic/part-0@1.0"
    assert document["components"][1]["supplier"] == "Kestrel"


def test_spdx_is_listed(tmp_path: Path) -> None:
    package = {
        "name": "zlib",
        "versionInfo": "1.3.1",
        "supplier": "Organization: Zlib",
        "checksums": [{"algorithm": "SHA256", "checksumValue": DIGEST}],
        "externalRefs": [{"referenceLocator": "pkg:generic/zlib@1.3.1"}],
    }
    report = examine(
        tmp_path, b"\0" + json.dumps({"spdxVersion": "SPDX-2.3", "packages": [package]}).encode()
    )
    assert report.document["sbom"][0]["format"] == "SPDX 2.3"
    assert report.document["sbom"][0]["components"] == [
        {
            "name": "zlib",
            "version": "1.3.1",
            "supplier": "Zlib",
            "identifier": "pkg:generic/zlib@1.3.1",
            "hashes": [{"algorithm": "SHA256", "digest": DIGEST}],
        }
    ]


def test_long_lists_are_counted_and_cut(tmp_path: Path) -> None:
    report = examine(tmp_path, json.dumps(cyclonedx(3000)).encode())
    [document] = report.document["sbom"]
    assert document["count"] == 3001
    assert len(document["components"]) == 2000


def test_a_cut_off_document_is_a_warning(tmp_path: Path) -> None:
    outcome, reason = sbom(examine(tmp_path, json.dumps(cyclonedx()).encode()[:-9]))
    assert outcome == "warn"
    assert "no whole JSON" in reason


def test_the_words_alone_are_no_document(tmp_path: Path) -> None:
    data = b'\0"bomFormat"\0"spdxVersion"\0{%s: "bomFormat"}\0' + MAGIC
    assert sbom(examine(tmp_path, data))[0] == "not_applicable"


def test_the_words_a_thousand_times_cost_little(tmp_path: Path) -> None:
    """What looks like the begin of a document is not read as far as one may be long."""
    began = time.perf_counter()
    assert sbom(examine(tmp_path, b'"bomFormat" ' * 19_000 + bytes(17_000_000)))[0] == "not_applicable"
    assert time.perf_counter() - began < 5


def test_what_only_looks_like_documents_has_a_budget(tmp_path: Path) -> None:
    """Each of these words stands in an object that goes on to the end of the file, and lacks its end."""
    data = b'{"a":' * 16 + b'["bomFormat"' + b',"bomFormat"' * 300 + b",0" * 8_000_000
    outcome, reason = sbom(examine(tmp_path, data))
    assert outcome == "warn"
    assert "look like component lists; the rest is not read" in reason


def test_the_section_of_an_efi_executable_is_read(tmp_path: Path) -> None:
    source, thing, app = tmp_path / "a.c", tmp_path / "a.o", tmp_path / "a.efi"
    source.write_text("int efi_main(void) { return 0; }\n")
    (tmp_path / "sbom").write_bytes(uSwidFormatCoswid().save(container()))
    run("gcc", "-c", source, "-o", thing)
    flags = ".sbom=contents,alloc,load,readonly,data"
    run("objcopy", "--add-section", f".sbom={tmp_path / 'sbom'}", "--set-section-flags", flags, thing)
    run("ld", "-m", "i386pep", "--subsystem", "10", "-e", "efi_main", thing, "-o", app)
    report = examine(tmp_path, b"\xff" * 4096 + app.read_bytes())
    assert report.document["sbom"][0]["format"] == "coSWID in a PE section"
    assert names(report) == [("charger", "1.2.3"), ("mbedtls", "3.6.0")]
