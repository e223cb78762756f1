"""The trust file in docs/formats.md is read, what it approves counts, and it shows all of the table."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from portal.errors import TrustError
from portal.verification import Outcome, Trust, verify_file
from tests.unit.verification.authority import Identity, root
from tests.unit.verification.conftest import AT, Keys, run
from tests.unit.verification.sigstore import Sigstore
from tests.unit.verification.syntax import Signer, signed_data

PART = (
    (Path(__file__).parents[3] / "docs" / "formats.md").read_text().partition("## Trust file, version 1")[2]
)
EXAMPLE: dict[str, Any] = json.loads(PART.partition("```json")[2].partition("```")[0])
PLACE = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\\n([A-Z]+)\\n-----END \1-----\\n")


@pytest.fixture(scope="module")
def anchor() -> Identity:
    return root()


@pytest.fixture
def trust(keys: Keys, anchor: Identity) -> Trust:
    made = {
        "RSA": keys.public("rsa-3072"),
        "ECDSA": keys.certificate("p256"),
        "BETWEEN": anchor.issue("Between", authority=True).pem,
        "CLOCK": root("Clock").pem,
    }

    def pem(place: re.Match[str]) -> str:
        kind, name = place.groups()
        if name == "ROOT":
            return json.dumps(anchor.revoke() if kind == "X509 CRL" else anchor.pem)[1:-1]
        return json.dumps(made.pop(name))[1:-1]

    text = PLACE.sub(pem, json.dumps(EXAMPLE))
    assert not made
    document = json.loads(text)
    document["sigstore"][0]["trusted_root"] = Sigstore.make().trusted_root()
    return Trust.parse(json.dumps(document))


def test_a_key_of_the_example_counts_in_the_way_of_its_options(
    tmp_path: Path, keys: Keys, trust: Trust
) -> None:
    path = tmp_path / "firmware.bin"
    path.write_bytes(b"\x01firmware" * 500)
    padding = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")
    signature = run("openssl", "dgst", "-sha384", "-sign", keys.private("rsa-3072"), *padding, path)
    report = verify_file(path, trust, at=AT, signature=signature)
    assert {check.id: check.outcome for check in report.checks}["firmware.key"] is Outcome.PASS
    assert report.key_id == "nordhaven-fw-2026"


@pytest.mark.parametrize(("common", "outcome"), [("Release signing", "pass"), ("Somebody else", "fail")])
def test_a_root_of_the_example_counts_for_the_subject_that_it_names(
    tmp_path: Path, trust: Trust, anchor: Identity, common: str, outcome: str
) -> None:
    path = tmp_path / "firmware.bin"
    path.write_bytes(b"\x01firmware" * 500)
    signature = signed_data(path.read_bytes(), Signer(anchor.issue(common)))
    report = verify_file(path, trust, at=AT, signature=signature)
    assert {check.id: check.outcome for check in report.checks}["firmware.key"] == outcome, report.checks


def test_the_example_has_every_member_of_the_table_and_no_other() -> None:
    listed = set()
    for line in PART.partition("| member |")[2].partition("\n\n")[0].splitlines():
        if line.startswith("| `"):
            listed |= {name.rpartition(".")[2] for name in re.findall(r"`([a-z_0-9.]+)`", line.split("|")[1])}
    entries = [EXAMPLE, *EXAMPLE["keys"], *(key.get("options", {}) for key in EXAMPLE["keys"])]
    assert set().union(*entries) - {"version", "keys", "options"} == listed


def test_another_member_anywhere_is_refused(keys: Keys) -> None:
    key = {"id": "key", "public_key": keys.public("p256")}
    Trust.parse(json.dumps({"version": 1, "keys": [key]}))
    for document in (
        {"version": 1, "keys": [key], "more": 1},
        {"version": 1, "keys": [key | {"more": 1}]},
        {"version": 1, "keys": [key | {"options": {"more": 1}}]},
    ):
        with pytest.raises(TrustError, match="unknown field `more`"):
            Trust.parse(json.dumps(document))
