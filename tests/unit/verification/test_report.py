"""The report on one file: what docs/formats.md and the schema list occurs, and a page shows it."""

import json
import re
import shutil
from pathlib import Path

import jsonschema_rs
import pytest

from portal.submissions.firmware.shown import FOLDED_FROM, Image, Kind, Table, shown
from portal.verification import FileReport, Trust, verify_file
from tests.unit.verification import test_dfu, test_elf, test_esp32, test_hex, test_timestamps, test_uf2
from tests.unit.verification.authority import day
from tests.unit.verification.conftest import AT, Keys, MakeImage, run
from tests.unit.verification.reports import SCHEMA, hold, names, occurring
from tests.unit.verification.syntax import time_stamp
from tests.unit.verification.test_fit import PSS, Mkimage, mkimage
from tests.unit.verification.test_mender import Artifacts, artifacts
from tests.unit.verification.test_rauc import Bundles, authority, bundles, signer
from tests.unit.verification.test_swupdate import Packages, packages
from tests.unit.verification.test_timestamps import World, firmware, steady

__all__ = ["artifacts", "authority", "bundles", "firmware", "mkimage", "packages", "signer", "steady"]

NOBODY = Trust.build([])
PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
AT_RECEIPT = "21 Nov 2026, 12:00\N{NO-BREAK SPACE}UTC, when it was received"


def page(report: FileReport) -> Image:
    image = shown(report.document_json)
    assert image is not None
    return image


def facts(image: Image) -> dict[str, str]:
    return {words: value.text for group in image.groups for words, value in group.facts}


def table(image: Image, title: str) -> Table:
    (found,) = [table for group in image.groups for table in group.tables if table.title == title]
    return found


def rows(image: Image, title: str) -> list[dict[str, str]]:
    found = table(image, title)
    return [dict(zip(found.columns, (cell.text for cell in row), strict=True)) for row in found.rows]


# --- The contract -------------------------------------------------------------------------------------
def claims_table() -> dict[str, set[str]]:
    """The rows of "Claims" in docs/formats.md: a format, and the members that it names in code."""
    part = PAGE.read_text().partition("### Claims")[2].partition("\n### ")[0]
    lines = [line.split("|") for line in part.splitlines() if line.startswith("| `")]
    return {cells[1].strip(" `"): set(re.findall(r"`([a-z0-9_]+)`", cells[2])) for cells in lines}


def test_the_page_names_every_claim_of_the_schema_and_no_other() -> None:
    parts = SCHEMA["$defs"]
    listed = {
        name.removeprefix("claims-").replace("signature-file-", "signature: "): names(part)
        for name, part in parts.items()
        if name.startswith(("claims-", "signature-file-"))
    }
    assert claims_table() == listed
    forms = {name.removeprefix("signature: ") for name in listed if name.startswith("signature: ")}
    assert set(SCHEMA["properties"]["signature_file"]["properties"]["form"]["enum"]) == forms | {"raw"}
    formats = {name for name in listed if not name.startswith("signature: ")}
    assert set(SCHEMA["properties"]["format"]["enum"]) == formats | {"opaque", "empty", "unreadable"}


def test_the_page_names_every_member_of_the_document() -> None:
    part = PAGE.read_text().partition("## The report on one file, version 1")[2].partition("\n## ")[0]
    top = set(SCHEMA["properties"]) - {"path", "content"}  # these two are the command's own
    described = {
        name
        for line in part.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_0-9]+)`", line.split("|")[1])
    }
    assert top <= described, top - described


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"more": 1},
        {"outcome": "ok"},
        {"format": "zip"},
        {"claims": {"versoin": "1"}},
        {"claims": {"tlvs": [{"type": "16"}]}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_no_report(image: MakeImage, change: dict[str, object]) -> None:
    document = verify_file(image(), NOBODY, at=AT).document | change
    with pytest.raises(jsonschema_rs.ValidationError):
        hold(json.dumps(document))


class Samples:
    """One good file of a format, with as much in it as there is to tell."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self.request, self.folder = request, folder
        self.image: MakeImage = request.getfixturevalue("image")

    def mcuboot(self) -> Path:
        return self.image("p256", "-d", "(1, 1.2.0+0)", "--security-counter", "3")

    def esp32(self) -> Path:
        keys: Keys = self.request.getfixturevalue("keys")
        return test_esp32.sign(test_esp32.image(self.folder), keys.private("p256"))

    def intel_hex(self) -> Path:
        return self.image("p256", "--hex-addr", "0x0800c000", name="image.hex")

    def srec(self) -> Path:
        return self.written(test_hex.srec_file())

    def uf2(self) -> Path:
        return self.written(test_uf2.blocks(self.image().read_bytes(), 0x1000_0000))

    def dfu(self) -> Path:
        return self.written(test_dfu.DFUSE)

    def fit(self) -> Path:
        made: Mkimage = self.request.getfixturevalue("mkimage")
        return made.signed(more=PSS)

    def swupdate(self) -> Path:
        made: Packages = self.request.getfixturevalue("packages")
        return made.generated()

    def rauc(self) -> Path:
        made: Bundles = self.request.getfixturevalue("bundles")
        return made.made()

    def mender(self) -> Path:
        made: Artifacts = self.request.getfixturevalue("artifacts")
        return made.made()

    def written(self, content: bytes | str) -> Path:
        path = self.folder / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


TOOLS = {"fit": "mkimage", "rauc": "rauc", "mender": "mender-artifact"}
# Only where the image is padded, and where it is encrypted.
SOMETIMES = {"esp32": {"padding_bytes", "content"}, "fit": {"cipher"}}


@pytest.mark.parametrize(
    "name", ["mcuboot", "esp32", "intel_hex", "srec", "uf2", "dfu", "fit", "swupdate", "rauc", "mender"]
)
def test_every_claim_that_is_listed_occurs(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if name in TOOLS and not shutil.which(TOOLS[name]):
        pytest.skip(f"{TOOLS[name]} is not installed")
    report = verify_file(getattr(Samples(request, tmp_path), name)(), NOBODY, at=AT)
    assert report.format == name.replace("_", "-")
    listed = names(SCHEMA["$defs"][f"claims-{report.format}"])
    if name in ("srec", "dfu"):  # nothing recognised inside
        listed -= {"content"}
    assert listed - SOMETIMES.get(name, set()) <= occurring(report.claims)


# --- How a page shows it ------------------------------------------------------------------------------
@pytest.mark.skipif(not shutil.which("mkimage"), reason="u-boot-tools is missing")
def test_a_fit_image_shows_images_configurations_and_who_signed(mkimage: Mkimage, keys: Keys) -> None:
    image = page(verify_file(mkimage.signed(), keys.trust("rsa-3072"), at=AT))
    assert image.format == "U-Boot FIT image"
    assert facts(image)["Default configuration"] == "conf-1"
    kernel = next(row for row in rows(image, "Images") if row["Name"] == "kernel-1")
    assert (kernel["Load address"], kernel["Entry point"]) == ("0x80080000", "0x80080010")
    assert (kernel["Architecture"], kernel["OS"], kernel["Size"]) == ("arm64", "linux", "5000")
    assert len(kernel["SHA-256"]) == 64
    (configuration,) = rows(image, "Configurations")
    assert configuration["Images"] == "fdt-1, kernel-1, ramdisk-1"
    assert configuration["Signed"] == "yes"
    (recorded,) = rows(image, "Signatures that the file records")
    assert (recorded["Signs"], recorded["Name of the key (a hint)"]) == ("conf-1", "rsa-3072")
    assert "Padding" not in recorded  # nothing to tell: no column
    (found,) = image.signatures
    assert 'configuration "conf-1"' in found.what
    assert (found.signer, found.algorithm, found.time) == ("rsa-3072", "RSA-3072", AT_RECEIPT)


def test_an_elf_file_shows_what_is_loaded_where_and_its_build_id(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }")
    run("gcc", "-Wl,--build-id=sha1", "-o", tmp_path / "main", tmp_path / "main.c")
    image = page(verify_file(tmp_path / "main", NOBODY, at=AT))
    assert image.format == "ELF file"
    told = facts(image)
    assert re.fullmatch(r"[0-9a-f]{40}", told["Build ID"])
    assert told["Entry point"].startswith("0x")
    loaded = rows(image, "Program headers: what is loaded where")
    assert {"r", "rx", "rw"} <= {row["Access"] for row in loaded}
    assert any(int(row["Bytes in memory"]) > int(row["Bytes in the file"]) for row in loaded)
    sections = table(image, "Sections")
    assert ".text" in {row[0].text for row in sections.rows}
    assert len(sections.rows) >= FOLDED_FROM
    assert sections.folded
    assert not table(image, "Segments: the address map").folded


def test_an_image_inside_an_elf_file_is_named_in_the_address_map(
    image: MakeImage, keys: Keys, tmp_path: Path
) -> None:
    path = tmp_path / "image.elf"
    path.write_bytes(test_elf.by_hand((test_elf.BASE, image("p256").read_bytes())))
    found = page(verify_file(path, keys.trust("p256"), at=AT))
    (row,) = rows(found, "Segments: the address map")
    assert (row["Address"], row["Recognised inside"]) == ("0x08000000", "MCUboot image")
    assert {row["Name"] for row in rows(found, "TLV entries")} == {"SHA256", "KEYHASH", "ECDSA_SIG"}


def test_a_dfuse_file_shows_targets_addresses_and_usb_ids(tmp_path: Path) -> None:
    image = page(test_dfu.read(tmp_path / "file.dfu", test_dfu.DFUSE))
    assert image.format == "USB DFU file"
    told = facts(image)
    assert (told["USB vendor ID"], told["USB product ID"]) == ("0x0483", "0xdf11")
    assert [row["Name"] for row in rows(image, "Targets")] == ["Internal Flash", "Option"]
    assert [row["Address"] for row in rows(image, "Segments: the address map")] == [
        "0x08000000",
        "0x08008000",
        "0x1fffc000",
    ]


def test_an_esp32_image_shows_segments_and_the_digests_of_its_keys(tmp_path: Path, keys: Keys) -> None:
    path = test_esp32.sign(test_esp32.image(tmp_path), keys.private("p256"), keys.private("p384"))
    image = page(verify_file(path, keys.trust("p256", "p384"), at=AT))
    told = facts(image)
    assert (told["Chip"], told["ESP-IDF version"], told["Security counter"]) == ("ESP32-C3", "v5.3.1", "7")
    assert "0x40380000" in {row["Address"] for row in rows(image, "Segments: the address map")}
    recorded = table(image, "Signatures that the file records")
    assert recorded.columns == ("Algorithm", "Key digest (eFuse)", "Image digest")
    assert {row[1].kind for row in recorded.rows} == {Kind.DIGEST}
    assert [found.what for found in image.signatures] == [
        "The ECDSA P-256 signature in block 0",
        "The ECDSA P-384 signature in block 1",
    ]


def test_an_update_package_shows_members_and_where_they_go(packages: Packages, keys: Keys) -> None:
    image = page(verify_file(packages.generated(), keys.trust("rsa-3072"), at=AT))
    assert image.format == "SWUpdate package"
    assert facts(image)["Compatible with"] == "1.0, 1.2"
    assert "sw-description.sig" in {row["Name"] for row in rows(image, "Files inside")}
    targets = {row["Section"]: row["Target"] for row in rows(image, "Entries of sw-description")}
    assert targets["files"] == "/opt/app.bin"


def test_a_chain_with_a_time_stamp_shows_each_certificate_and_whose_time_counts(
    firmware: Path, steady: World
) -> None:
    over = test_timestamps.bare_signature(firmware, steady)
    token = time_stamp(over, steady.authority, day(-20), accuracy=2)
    signed = test_timestamps.stamped(firmware, steady, token)
    image = page(test_timestamps.judged(firmware, steady.trust(), signed))
    (found,) = image.signatures
    assert found.time == "1 Nov 2026, 12:00\N{NO-BREAK SPACE}UTC, by the time stamp of clock"
    assert "proves that it existed" in found.time_stamp
    assert [item.subject.split(",")[0] for item in found.chain] == ["CN=Signer", "CN=Vendor"]
    assert image.groups[0].title == "The signature file says (CMS)"
    assert facts(image)["Content type"] == "data (1.2.840.113549.1.7.1)"
    (who,) = rows(image, "Signers")
    assert who["Time stamps inside"] == "1"
    (certificate,) = rows(image, "Certificates that came along")
    assert certificate["Public key"].startswith("sha256:")


def test_a_file_of_no_known_format_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"\x01vendor's own" * 100)
    image = page(verify_file(path, NOBODY, at=AT))
    assert (image.format, image.groups, image.signatures) == ("not known (opaque)", (), ())
