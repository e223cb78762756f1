"""A supplier with keys and tools, who offers files through the real verbs, store and jobs."""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from imgtool.main import imgtool
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

from portal.accounts.actors import Actor
from portal.accounts.models import RoleName
from portal.adapters.blobs import LocalBlobStore
from portal.clock import FixedClock
from portal.db import TenantSession
from portal.evidence.service import receive_bytes
from portal.submissions import service as submissions
from portal.submissions.attestations.service import start_attestations
from portal.submissions.firmware.service import start_firmware
from portal.submissions.lots.manifest import SCHEMA, unit_digest
from portal.submissions.lots.service import lot_of, start_lot
from portal.submissions.models import AttachmentRole, Submission
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import Component, Product, SigningKey, Supplier
from portal.verification import Check
from tests.factories import Make, RecordingQueue

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://lotgate.dev/attestation/unit-test/v1"
PURPOSES = ("firmware", "attestation", "manifest")


class Keys:
    """Ed25519 key pairs by openssl, made when first asked for and kept for the session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def private(self, name: str) -> Path:
        path = self.folder / f"{name}.pem"
        if not path.exists():
            subprocess.run(("openssl", "genpkey", "-algorithm", "ED25519", "-out", path), check=True)
        return path

    def public(self, name: str) -> str:
        command = ("openssl", "pkey", "-in", self.private(name), "-pubout")
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def sign(self, name: str, data: bytes) -> bytes:
        """A detached signature, by openssl."""
        file = self.folder / "to-sign"
        file.write_bytes(data)
        command = ("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.private(name), "-in", file)
        return subprocess.run(command, check=True, capture_output=True).stdout

    def image(self, name: str | None, version: str, *options: str, fill: int = 7, size: int = 5000) -> bytes:
        """A MCUboot image, by imgtool; unsigned without a key."""
        payload, out = self.folder / "application.bin", self.folder / "image.bin"
        payload.write_bytes(bytes(n * fill % 256 for n in range(size)))
        signing = [] if name is None else ["-k", str(self.private(name))]
        arguments = [
            *("sign", *signing, "--header-size", "32", "--pad-header", "--version", version),
            *("--slot-size", "0x40000", "--align", "4", *options, str(payload), str(out)),
        ]
        done = CliRunner().invoke(imgtool, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return out.read_bytes()

    def envelope(self, name: str, statement: object, payload_type: str = PAYLOAD_TYPE) -> dict[str, Any]:
        """A DSSE envelope, by securesystemslib."""
        payload = statement if isinstance(statement, bytes) else rfc8785.dumps(statement)  # type: ignore[arg-type]
        envelope = Envelope(payload, payload_type, {})
        envelope.sign(CryptoSigner(load_pem_private_key(self.private(name).read_bytes(), None)))
        made: dict[str, Any] = envelope.to_dict()
        return made


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def a_unit(serial: str, **values: Any) -> dict[str, Any]:
    measured = {"firmware": {}, "capacity_ah": 102.4, "resistance_mohm": 0.62, "ocv_v": 3.295}
    return {"serial": serial, **measured, **values}


def a_manifest(
    product: str, units: Iterable[dict[str, Any]], lot: str = "L-1", **values: Any
) -> dict[str, Any]:
    """A manifest without a fault, with `values` in place of its members."""
    listed = list(units)
    custody = [
        ("shipped", "Nordhaven Cells AS", "Polar Freight", "Narvik", "2026-10-03T08:00:00Z"),
        (
            "received",
            "Polar  FREIGHT",
            "Meridian Data Centres",
            "Frankfurt dock 2",
            "2026-10-06T15:30:00+02:00",
        ),
    ]
    return {
        "schema": SCHEMA,
        "lot": lot,
        "product": product,
        "maker": "Nordhaven Cells AS",
        "site": "Narvik",
        "manufactured_on": "2026-10-01",
        "unit_count": len(listed),
        "units": listed,
        "custody": [
            dict(zip(("event", "from", "to", "location", "at"), row, strict=True)) for row in custody
        ],
    } | values


def statement(*units: dict[str, Any]) -> dict[str, Any]:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": unit["serial"], "digest": {"sha256": unit_digest(unit)}} for unit in units],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"result": "passed"},
    }


class Desk:
    """One supplier at work. Every file goes through the vault, every verdict through the job."""

    def __init__(
        self,
        session: TenantSession,
        make: Make,
        clock: FixedClock,
        store: LocalBlobStore,
        spool: Path,
        jobs: RecordingQueue,
        keys: Keys,
        components: tuple[str, ...] = ("BMS",),
    ) -> None:
        self.session, self.make, self.clock, self.store = session, make, clock, store
        self.spool, self.jobs, self.keys = spool, jobs, keys
        self.supplier: Supplier = make.supplier()
        self.actor: Actor = make.supplier_actor(self.supplier)
        self.product: Product = make.product(self.supplier, components=components)

    @property
    def component(self) -> Component:
        return self.product.components[0]

    def put(self, data: bytes, filename: str = "file.bin") -> str:
        row = receive_bytes(
            *(self.session, self.actor, self.clock, self.store, self.spool, data),
            filename=filename,
            limit=64 << 20,
        )
        self.session.commit()
        return row.id

    def key(
        self, name: str, purposes: tuple[str, ...] = PURPOSES, *, approve: bool | None = True
    ) -> SigningKey:
        """Register a key, and approve it, reject it (False) or let it wait (None)."""
        row = register_key(
            *(self.session, self.actor, self.clock), pem=self.keys.public(name), label=name, purposes=purposes
        )
        if approve is not None:
            decide_key(
                *(self.session, self.make.actor(RoleName.REVIEWER), self.clock, row.id),
                approve=approve,
                fingerprint_typed=row.fingerprint[-8:],
                note="read out on the telephone",
            )
        self.session.commit()
        return row

    def submit(self, submission: Submission) -> str:
        submissions.submit(self.session, self.actor, self.clock, self.jobs, submission.id)
        self.session.commit()
        return submission.id

    def verify(self, submission: Submission) -> str:
        self.submit(submission)
        self.jobs.run_all()
        self.session.expire_all()
        return submission.id

    def draft_firmware(
        self, data: bytes, version: str, signature: bytes | None = None, **values: Any
    ) -> Submission:
        return start_firmware(
            *(self.session, self.actor, self.clock),
            component_id=self.component.id,
            version=version,
            image_id=self.put(data, "image.bin"),
            signature_id=None if signature is None else self.put(signature, "image.sig"),
            **values,
        )

    def firmware(self, data: bytes, version: str, signature: bytes | None = None, **values: Any) -> str:
        return self.verify(self.draft_firmware(data, version, signature, **values))

    def draft_lot(
        self,
        manifest: dict[str, Any] | bytes,
        lot: str = "L-1",
        units: bytes | None = None,
        signature: bytes | None = None,
        **values: Any,
    ) -> Submission:
        data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        return start_lot(
            *(self.session, self.actor, self.clock),
            product_id=self.product.id,
            lot_number=lot,
            manifest_id=self.put(data, "manifest.json"),
            units_id=None if units is None else self.put(units, "units.csv"),
            signature_id=None if signature is None else self.put(signature, "manifest.sig"),
            **values,
        )

    def lot(self, manifest: dict[str, Any] | bytes, **values: Any) -> str:
        return self.verify(self.draft_lot(manifest, **values))

    def manifest(self, *serials: str, **values: Any) -> dict[str, Any]:
        return a_manifest(self.product.model, map(a_unit, serials or ("SN-1", "SN-2")), **values)

    def attest(self, lot_submission: str, lines: bytes) -> str:
        lot = lot_of(self.session, lot_submission)
        assert lot is not None
        return self.verify(
            start_attestations(
                *(self.session, self.actor, self.clock),
                lot_id=lot.id,
                attestations_id=self.put(lines, "units.jsonl"),
            )
        )

    def envelopes(self, key: str, units: Iterable[dict[str, Any]]) -> bytes:
        lines = (json.dumps(self.keys.envelope(key, statement(unit))) for unit in units)
        return "".join(line + "\n" for line in lines).encode()

    def row(self, submission_id: str) -> Submission:
        return self.session.get_one(Submission, submission_id)

    def checks(self, submission_id: str) -> dict[str, Check]:
        """The newest run, by the ids without their first word."""
        found = submissions.newest_checks(self.session, self.row(submission_id))
        return {row.check_id.partition(".")[2]: Check(row.check_id, row.outcome, row.reason) for row in found}

    def attach(self, submission: Submission, evidence_id: str, role: AttachmentRole) -> None:
        submissions.attach(self.session, self.actor, self.clock, submission.id, evidence_id, role)


NewDesk = Callable[..., Desk]


@pytest.fixture
def new_desk(
    session: TenantSession,
    make: Make,
    clock: FixedClock,
    store: LocalBlobStore,
    spool: Path,
    jobs: RecordingQueue,
    keys: Keys,
) -> NewDesk:
    return lambda **values: Desk(session, make, clock, store, spool, jobs, keys, **values)


@pytest.fixture
def desk(new_desk: NewDesk) -> Desk:
    return new_desk()
