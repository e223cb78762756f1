"""Every column of what suppliers are, offer and are verified by agrees with the ledger, but for EXEMPT."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.db import Base
from portal.evidence.models import Evidence
from portal.submissions import service as submissions
from portal.submissions.attestations.models import AttestationBatch, AttestationFailure, AttestationPasses
from portal.submissions.firmware.models import FirmwareRelease, OneTimeKey
from portal.submissions.lots.models import CustodyEvent, Lot, Sample, Unit
from portal.submissions.models import Attachment, CheckRecord, Submission, SubmissionState
from portal.submissions.questionnaires.models import Answer, AnswerEvidence, QuestionnaireResponse
from portal.suppliers import timestamping
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import (
    Component,
    Entity,
    EntityRole,
    Product,
    RevocationList,
    SamplingSeed,
    SigningKey,
    Supplier,
    TimestampAuthority,
)
from portal.suppliers.revocation import keep_list
from portal.suppliers.service import add_entity, remove_entity
from tests.unit.reports.bundles.conftest import made_in
from tests.unit.reports.recorded.tampering import Tampering, World
from tests.unit.submissions.conftest import Desk, a_unit
from tests.unit.verification.authority import root
from tests.unit.verification.hss import Signer

TABLES: tuple[type[Base], ...] = (
    Supplier,
    Entity,
    Product,
    Component,
    SamplingSeed,
    SigningKey,
    RevocationList,
    TimestampAuthority,
    Evidence,
    Submission,
    Attachment,
    CheckRecord,
    QuestionnaireResponse,
    Answer,
    AnswerEvidence,
    FirmwareRelease,
    OneTimeKey,
    Lot,
    Unit,
    CustodyEvent,
    Sample,
    AttestationBatch,
    AttestationFailure,
    AttestationPasses,
)
EXEMPT = {
    "attestation_batches.id": "nothing refers to it",
    "custody_events.id": "nothing refers to it",
    "one_time_keys.id": "nothing refers to it",
    "questionnaire_responses.id": "nothing refers to it",
    "revocation_lists.id": "nothing refers to it",
    "checks.position": "their order is in the digest of the run",
    "submissions.progress_done": "shown while it is verified",
    "submissions.progress_total": "shown while it is verified",
    "submissions.progress_note": "shown while it is verified",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made_in(tmp_path_factory.mktemp("offered")) as made:
        _more(made.desk)
        yield World(made.session, made.clock)


def _more(desk: Desk) -> None:
    """What the bundles' story has not: companies, authorities and their lists, one-time keys, a lot that was
    replaced, an offer that was taken back and one that failed."""
    session, clock, actor = desk.session, desk.clock, desk.actor
    administrator, reviewer = (desk.make.actor(r) for r in (RoleName.ADMINISTRATOR, RoleName.REVIEWER))
    clock.advance(timedelta(minutes=30))
    for name in ("Narvik Cells", "Polar Freight"):
        gone = add_entity(session, actor, clock, role=EntityRole.CARRIER, name=name, country="NO")
    remove_entity(session, actor, clock, gone.id)
    authority = root("Release", start=clock.now() - timedelta(900), end=clock.now() + timedelta(900))
    for label in ("clock", "other clock"):
        anchor = root(label, start=clock.now() - timedelta(900), end=clock.now() + timedelta(900))
        added = timestamping.add_authority(session, administrator, clock, label=label, pem=anchor.pem)
    timestamping.remove_authority(session, administrator, clock, added.id)
    signer = Signer.make(1, "lms_sha256_m24_h5", "lmots_sha256_n24_w4")
    for label, pem, options in (("release", authority.pem, {"root": True}), ("hash-based", signer.pem, {})):
        key = register_key(
            session, actor, clock, pem=pem, label=label, purposes=["firmware"], options=options
        )
        decide_key(
            *(session, reviewer, clock, key.id),
            approve=True,
            fingerprint_typed=key.fingerprint[-8:],
            note="by telephone",
        )
        if options:
            builder = x509.CertificateRevocationListBuilder(authority.certificate.subject)
            builder = builder.last_update(clock.now() - timedelta(1)).next_update(clock.now() + timedelta(9))
            content = builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)
            keep_list(session, actor, clock, key.id, content)
    desk.key("turned down", approve=False)
    desk.key("waiting", approve=None)
    desk.firmware(b"an image", "3.0", signer.sign(b"an image"))
    first = desk.lot(desk.manifest("SN-A", "SN-B", lot="L-2"), lot="L-2")
    desk.lot(desk.manifest("SN-C", lot="L-3"), lot="L-3", supersedes_id=first)
    desk.attest(first, desk.envelopes("maker", [a_unit("SN-A")]))
    back = desk.attest(first, desk.envelopes("maker", [a_unit("SN-B")]) + b"{}\n")
    submissions.withdraw(session, actor, clock, desk.jobs, back)
    session.commit()
    failed = desk.submit(desk.draft_firmware(b"another", "4.0"))
    submissions.mark_failed(session, clock, failed, "The machine gave up.")
    session.commit()


class TestOffered(Tampering):
    tables = TABLES
    exempt = EXEMPT


def test_nothing_is_at_fault_before(world: World) -> None:
    assert world.before == set()
    assert set(world.session.scalars(select(Submission.state))) >= {
        SubmissionState.ACCEPTED,
        SubmissionState.WITHDRAWN,
        SubmissionState.FAILED,
    }
