import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner

from portal.cli.main import main
from portal.ledger.service import watch_key
from tests.factories import Make, RecordingQueue
from tests.unit.api.conftest import PREFIX, Machine

IMAGE = os.urandom(5000)


def firmware(machine: Machine, make: Make, **values: str) -> dict[str, str]:
    component = make.product(machine.supplier).components[0]
    make.session.commit()  # reading it has begun a transaction, which on SQLite keeps the server waiting
    return {
        "component_id": component.id,
        "version": "2.1.0",
        "image_id": machine.send(IMAGE),
    } | values


def test_a_file_is_sent_and_shown(machine: Machine) -> None:
    digest = hashlib.sha256(IMAGE).hexdigest()
    evidence_id = machine.send(IMAGE, "../bms.bin", sha256=digest)
    told = machine.get(f"/evidence/{evidence_id}").get_json()
    assert (told["filename"], told["size"], told["sha256"]) == ("bms.bin", len(IMAGE), digest)


def test_the_key_to_the_own_entries_is_told(machine: Machine, make: Make) -> None:
    assert machine.get("/watch-key").status_code == 404
    machine.send(IMAGE)
    key = machine.get("/watch-key").get_json()["key"]
    assert key == watch_key(make.session, make.clock, machine.supplier.id)


def test_another_file_than_declared_is_refused(machine: Machine) -> None:
    response = machine.raw(f"/evidence?filename=a&sha256={'0' * 64}", IMAGE, "application/octet-stream")
    assert response.status_code == 422
    assert response.get_json()["problems"][0]["found"] == hashlib.sha256(IMAGE).hexdigest()


def test_an_empty_file_is_refused(machine: Machine) -> None:
    assert machine.raw("/evidence?filename=a", b"", "application/octet-stream").status_code == 422


def test_a_large_file_is_sent_to_the_uploads(machine: Machine) -> None:
    response = machine.client.post(
        f"{PREFIX}/evidence?filename=a",
        headers=machine.token | {"Content-Length": str((64 << 20) + 1)},
        data=bytes((64 << 20) + 1),
    )
    assert response.status_code == 413


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_a_form_is_not_a_file(machine: Machine, kind: str) -> None:
    assert machine.raw("/evidence?filename=a", IMAGE, kind).status_code == 415


def test_firmware_is_submitted_verified_and_read(machine: Machine, make: Make, jobs: RecordingQueue) -> None:
    made = machine.post("/submissions/firmware", firmware(machine, make, declared_sha256="0" * 64))
    assert made.status_code == 201, made.text
    told = made.get_json()
    assert (told["kind"], told["state"], told["pending"]) == ("firmware", "submitted", True)
    assert (told["declared_version"], told["files"][0]["role"]) == ("2.1.0", "image")

    jobs.run_all()

    done = machine.get(f"/submissions/{told['id']}").get_json()
    assert (done["state"], done["outcome"], done["pending"]) == ("verified", "fail", False)
    checks = {check["id"]: check["outcome"] for check in done["checks"]}
    assert checks["firmware.digest"] == "fail"
    assert all(check["reason"] for check in done["checks"])
    assert machine.get("/submissions", outcome="fail").get_json()["items"][0]["id"] == told["id"]
    assert machine.get("/submissions", outcome="pass").get_json()["total"] == 0


def test_certificates_and_a_time_stamp_come_along(machine: Machine, make: Make, jobs: RecordingQueue) -> None:
    beside = {
        name: machine.send(name.encode()) for name in ("signature_id", "certificates_id", "timestamp_id")
    }
    told = machine.post("/submissions/firmware", firmware(machine, make, **beside)).get_json()
    assert {file["role"] for file in told["files"]} == {"image", "signature", "certificates", "timestamp"}
    jobs.run_all()
    checks = {check["id"]: check for check in machine.get(f"/submissions/{told['id']}").get_json()["checks"]}
    assert checks["firmware.certificates"]["outcome"] == "unreadable"
    assert checks["firmware.timestamp"]["outcome"] == "unreadable"
    foreign = firmware(machine, make, timestamp_id="0" * 32)
    assert machine.post("/submissions/firmware", foreign).status_code == 404


def test_the_report_is_the_one_of_the_command_line(
    machine: Machine, make: Make, jobs: RecordingQueue, tmp_path: Path
) -> None:
    made = machine.post("/submissions/firmware", firmware(machine, make, declared_sha256="0" * 64)).get_json()
    jobs.run_all()
    report = machine.get(f"/submissions/{made['id']}").get_json()["report"]
    schema = (files("portal.verification") / "report.schema.json").read_text()
    jsonschema_rs.validate(json.loads(schema), report)

    image, trust = tmp_path / "bms.bin", tmp_path / "trust.json"
    image.write_bytes(IMAGE)
    trust.write_text('{"version": 1, "keys": []}')
    options = ["--declared-sha256", "0" * 64, "--at", report["time"]["at"], "--content", "--json"]
    done = CliRunner().invoke(main, ["verify", str(image), "--trust", str(trust), *options])
    printed = json.loads(done.stdout)
    assert printed.pop("path") == str(image)
    assert printed == report


def test_firmware_without_its_file_is_refused_and_leaves_no_draft(machine: Machine, make: Make) -> None:
    body = firmware(machine, make, image_id="0" * 32)
    assert machine.post("/submissions/firmware", body).status_code == 404
    assert machine.get("/submissions").get_json()["total"] == 0


def test_an_unreadable_manifest_is_a_check_and_not_an_error(
    machine: Machine, make: Make, jobs: RecordingQueue
) -> None:
    product = make.product(machine.supplier)
    body = {
        "product_id": product.id,
        "lot_number": "NH-2026-117",
        "manifest_id": machine.send(b'{"lot": NaN}', "lot.json"),
    }
    made = machine.post("/submissions/lots", body)
    assert made.status_code == 201, made.text
    jobs.run_all()
    done = machine.get(f"/submissions/{made.get_json()['id']}").get_json()
    assert (done["outcome"], done["lot_id"]) == ("unreadable", None)
    assert done["checks"][0]["id"] == "lot.manifest"
    assert "NaN" in done["checks"][0]["reason"]


def test_attestations_need_a_lot_of_ones_own(machine: Machine) -> None:
    body = {"lot_id": "0" * 32, "attestations_id": machine.send(b"{}\n")}
    assert machine.post("/submissions/attestations", body).status_code == 404


def test_a_submission_is_withdrawn_once(machine: Machine, make: Make) -> None:
    made = machine.post("/submissions/firmware", firmware(machine, make)).get_json()
    assert machine.post(f"/submissions/{made['id']}/withdraw").get_json()["state"] == "withdrawn"
    assert machine.post(f"/submissions/{made['id']}/withdraw").status_code == 409


def test_a_questionnaire_is_answered_and_submitted_only_when_complete(machine: Machine, make: Make) -> None:
    product = make.product(machine.supplier)
    asked = machine.get("/questionnaire").get_json()
    first = next(question for question in asked["questions"] if question["choices"])

    begun = machine.post("/submissions/questionnaires", {"product_id": product.id})
    assert begun.status_code == 201
    path = f"/submissions/{begun.get_json()['submission']['id']}"
    again = machine.post("/submissions/questionnaires", {"product_id": product.id})
    assert again.get_json()["submission"]["id"] == begun.get_json()["submission"]["id"]

    value = first["choices"][0]["value"]
    saved = machine.patch(f"{path}/answers", {"answers": {first["id"]: value}})
    assert saved.status_code == 200, saved.text
    answers = {answer["question"]: answer["value"] for answer in saved.get_json()["answers"]}
    assert answers[first["id"]] == value

    refused = machine.post(f"{path}/submit")
    assert refused.status_code == 422
    missing = {part["question"] for part in saved.get_json()["missing"]}
    assert {part["where"] for part in refused.get_json()["problems"]} == missing
    assert machine.get(path).get_json()["state"] == "draft"


def test_an_answer_that_does_not_fit_keeps_none(machine: Machine, make: Make) -> None:
    product = make.product(machine.supplier)
    asked = machine.get("/questionnaire").get_json()["questions"]
    first = next(question for question in asked if question["choices"])
    begun = machine.post("/submissions/questionnaires", {"product_id": product.id}).get_json()
    path = f"/submissions/{begun['submission']['id']}/answers"
    body = {"answers": {first["id"]: first["choices"][0]["value"], "nonsense": "x"}}
    assert machine.patch(path, body).status_code in {404, 422}
    assert all(answer["value"] == "" for answer in machine.get(path).get_json()["answers"])


def test_a_file_beside_an_answer(machine: Machine, make: Make) -> None:
    product = make.product(machine.supplier)
    asked = machine.get("/questionnaire").get_json()["questions"]
    question = next(question for question in asked if question["evidence"] != "none")
    begun = machine.post("/submissions/questionnaires", {"product_id": product.id}).get_json()
    path = f"/submissions/{begun['submission']['id']}"
    body = {"evidence_id": machine.send(b"%PDF"), "valid_until": "2027-01-31"}
    made = machine.post(f"{path}/answers/{question['id']}/files", body)
    assert made.status_code == 201, made.text
    assert made.get_json()["valid_until"] == "2027-01-31"
    assert machine.delete(f"{path}/answer-files/{made.get_json()['id']}").status_code == 204
    assert machine.delete(f"{path}/answer-files/{made.get_json()['id']}").status_code == 404


def test_a_change_is_told(machine: Machine, make: Make, jobs: RecordingQueue) -> None:
    product = make.product(machine.supplier)
    body = {"kind": "bom", "title": "Other cell", "product_id": product.id, "effective_on": "2026-12-01"}
    made = machine.post("/changes", body)
    assert made.status_code == 201, made.text
    assert ("reassess", (made.get_json()["id"],)) in jobs.waiting
    assert machine.get("/changes").get_json()["items"] == [made.get_json()]
    assert machine.post("/changes", body | {"kind": "key"}).status_code == 422


def test_another_suppliers_things_look_like_none(machine: Machine, stranger: Machine, make: Make) -> None:
    body = firmware(machine, make)
    made = machine.post("/submissions/firmware", body).get_json()
    begun = machine.post(
        "/submissions/questionnaires", {"product_id": make.product(machine.supplier).id}
    ).get_json()["submission"]["id"]
    nothing = "0" * 32
    for path in ("/submissions/{}", "/submissions/{}/answers"):
        theirs, none = (stranger.get(path.format(target)) for target in (begun, nothing))
        assert (theirs.status_code, theirs.data) == (404, none.data)
    theirs, none = (stranger.get(f"/evidence/{target}") for target in (body["image_id"], nothing))
    assert (theirs.status_code, theirs.data) == (404, none.data)
    assert stranger.post(f"/submissions/{made['id']}/withdraw").status_code == 404
    assert stranger.post(f"/submissions/{begun}/submit").status_code == 404
    assert stranger.post("/submissions/firmware", body).status_code == 404
    own = firmware(stranger, make, image_id=body["image_id"])
    assert stranger.post("/submissions/firmware", own).status_code == 404
    assert (
        stranger.post("/changes", {"kind": "bom", "title": "x", "product_id": made["product_id"]}).status_code
        == 404
    )
    for path in ("/submissions", "/products", "/changes"):
        assert stranger.get(path).get_json()["total"] == (1 if path == "/products" else 0)
