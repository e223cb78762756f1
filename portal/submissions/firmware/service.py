"""Firmware: submit an image, and check what it is, who signed it, and where it stands in its line."""

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock, rfc3339
from portal.errors import InvalidInput, Problem, StorageFailed, TooLarge
from portal.evidence.models import Evidence
from portal.evidence.ports import BlobStore
from portal.ledger import service as ledger
from portal.ledger.service import digest, digest_of
from portal.submissions.drafting import Progress, attach, attached, missing, start
from portal.submissions.findings import Limits
from portal.submissions.firmware.history import lineage, rollback, version_of
from portal.submissions.firmware.inside import Inside, look_inside
from portal.submissions.firmware.models import FirmwareRelease, OneTimeKey
from portal.submissions.firmware.one_time import remember, used_once, uses
from portal.submissions.firmware.versions import same_version
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.submissions.signers import explained
from portal.suppliers.keys import believed, signer_named
from portal.suppliers.models import Component
from portal.suppliers.rules import clean_text, owned
from portal.verification import Check, Digests, FileReport, Outcome, verify_file

ACCEPTED: Final = "firmware.accepted"
WITHDRAWN: Final = "firmware.withdrawn"
SIGNATURE_MAX = 131_072  # what the verifier reads
BESIDE: Final = {
    AttachmentRole.SIGNATURE: ("A signature has", SIGNATURE_MAX),
    AttachmentRole.CERTIFICATES: ("Certificates have", 262_144),
    AttachmentRole.TIMESTAMP: ("A time stamp has", 262_144),
}  # what may come beside an image, and its bytes


def start_firmware(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    component_id: str,
    version: str,
    image_id: str | None = None,
    signature_id: str | None = None,
    certificates_id: str | None = None,
    timestamp_id: str | None = None,
    declared_sha256: str | None = None,
    release_notes: str = "",
) -> Submission:
    """A draft that offers an image of one component; optionally with its detached signature, the certificates
    of its signer (PEM), a time stamp (RFC 3161) over image or signature, and its digest."""
    component = owned(session, actor, Component, component_id, "component")
    version = clean_text(version, "version", 64)
    declared = (declared_sha256 or "").strip().lower() or None
    if declared is not None and (len(declared) != 64 or not set(declared) <= set("0123456789abcdef")):
        raise InvalidInput(
            "the declared digest is wrong",
            (Problem("declared_sha256", "64 hexadecimal digits", f"{len(declared)} characters"),),
        )
    submission = start(
        session,
        actor,
        clock,
        kind=SubmissionKind.FIRMWARE,
        product_id=component.product_id,
        title=f"{component.name} {version}",
    )
    session.add(
        FirmwareRelease(
            supplier_id=submission.supplier_id,
            submission_id=submission.id,
            component_id=component.id,
            declared_version=version,
            declared_sha256=declared,
            release_notes=clean_text(release_notes, "release notes", 4000, needed=False),
            submission=submission,
            component=component,
        )
    )
    if image_id:
        attach(session, actor, clock, submission.id, image_id, AttachmentRole.IMAGE)
    for role, evidence_id in (
        (AttachmentRole.SIGNATURE, signature_id),
        (AttachmentRole.CERTIFICATES, certificates_id),
        (AttachmentRole.TIMESTAMP, timestamp_id),
    ):
        if evidence_id:
            what, most = BESIDE[role]
            if attach(session, actor, clock, submission.id, evidence_id, role).evidence.size > most:
                raise TooLarge(f"{what} at most {most} bytes; this file has more.")
    session.flush()
    return submission


def release_of(session: Session, submission_id: str) -> FirmwareRelease:
    return session.scalars(
        select(FirmwareRelease).where(FirmwareRelease.submission_id == submission_id)
    ).one()


def problems(_session: Session, submission: Submission) -> tuple[Problem, ...]:
    return missing(submission, AttachmentRole.IMAGE, "the firmware image")


def declared(session: Session, submission: Submission) -> dict[str, object]:
    release = release_of(session, submission.id)
    return {
        "release": release.id,
        "component": release.component_id,
        "declared_version": release.declared_version,
        "declared_sha256": release.declared_sha256,
        "release_notes": digest(release.release_notes),
    }


def kept(session: Session, submission: Submission) -> dict[str, object]:
    """What the newest run found in the image, and the one-time keys that were first seen with it."""
    release = release_of(session, submission.id)
    keys = session.scalars(
        select(OneTimeKey).where(OneTimeKey.submission_id == submission.id).order_by(OneTimeKey.id)
    )
    used = [[row.fingerprint, row.identifier, row.leaf, row.signed, rfc3339(row.seen_at)] for row in keys]
    return {
        "image": release.sha256,
        "format": release.format,
        "image_version": release.image_version,
        "security_counter": release.security_counter,
        "signing_key": release.signing_key_id,
        "report": release.report and digest(release.report),
        "one_time_keys": digest_of(used) if used else None,
    }


def withdraw(session: Session, clock: Clock, submission: Submission) -> None:
    """What was accepted once must not run any more."""
    take_back(session, clock, release_of(session, submission.id))


def accept(session: Session, clock: Clock, release: FirmwareRelease) -> None:
    """From now on it may run in the field. An entry in the ledger, once."""
    if release.accepted_at is None:
        release.accepted_at = clock.now()
        _enter(session, clock, ACCEPTED, release)


def take_back(session: Session, clock: Clock, release: FirmwareRelease) -> None:
    """What was accepted must not run any more, for good. An entry in the ledger, once."""
    if release.accepted_at is not None and release.withdrawn_at is None:
        release.withdrawn_at = clock.now()
        _enter(session, clock, WITHDRAWN, release)


def _enter(session: Session, clock: Clock, kind: str, release: FirmwareRelease) -> None:
    session.flush()
    ledger.append(session, clock, kind, release.id, says(release), supplier_id=release.supplier_id)


def says(release: FirmwareRelease) -> dict[str, object]:
    """What the ledger says of a release that may run in the field, or may not any more."""
    return {
        "submission": release.submission_id,
        "component": release.component_id,
        "version": release.declared_version,
        "image": release.sha256,
    }


@dataclass(frozen=True, slots=True)
class FirmwareFindings:
    """`checks`: of the image by itself. `signing_key_id`: the row of the key that made a valid signature."""

    checks: tuple[Check, ...]
    inside: Inside
    report: FileReport
    signing_key_id: str | None
    trust_before: int

    def settle(self, session: Session, submission: Submission) -> tuple[Check, ...]:
        """With the place of the image among the releases of its component."""
        release = release_of(session, submission.id)
        claims = self.report.claims
        mine = claims.get("version") or release.declared_version
        return (
            *self.checks,
            rollback(session, release, mine, claims.get("security_counter")),
            lineage(session, release, mine, self.report.sha256),
            *used_once(session, submission, uses(self.report.document)),
            *self.inside.checks,
        )

    def record(self, session: Session, clock: Clock, submission: Submission) -> None:
        """Keep what the image says of itself, and accept the release if every check passed."""
        release = release_of(session, submission.id)
        claims = self.report.claims
        release.sha256 = self.report.sha256
        release.format = self.report.format
        release.report = json.dumps({**self.report.document, "content": self.inside.document})
        release.image_version = claims.get("version")
        release.security_counter = claims.get("security_counter")
        release.signing_key_id = self.signing_key_id
        remember(session, clock, submission, uses(self.report.document))
        if submission.outcome is Outcome.PASS:
            accept(session, clock, release)


def examine(
    session: Session, store: BlobStore, submission: Submission, progress: Progress, limits: Limits
) -> FirmwareFindings:
    """All checks of an image by itself. The time that counts for keys is when it was submitted."""
    release = release_of(session, submission.id)
    image = attached(submission, AttachmentRole.IMAGE)
    if image is None or submission.submitted_at is None:
        raise InvalidInput("the submission has no image")
    signature, certificates, timestamp = (_beside(store, submission, role) for role in BESIDE)
    believing = believed(session, submission.supplier_id)
    with store.get_local_path(image.sha256) as path:
        report = verify_file(
            path,
            believing.trust,
            at=submission.submitted_at.timestamp(),
            signature=signature,
            certificates=certificates,
            timestamp=timestamp,
            declared_sha256=release.declared_sha256,
            # A later run reads every byte again, so that damage in the store comes to light.
            received=Digests(image.size, image.sha256, image.blake3) if submission.run == 0 else None,
            progress=lambda done: progress(done, image.size, "reading the image"),
        )
        must_be_delivered(report.sha256, image)
        checks = explained(
            session, submission.supplier_id, path, report, signature, certificates=certificates
        )
        # By itself and after the verdict on the signatures, which does not depend on it.
        inside = look_inside(
            path,
            limits.rules_folder,
            at=submission.submitted_at.timestamp(),
            progress=lambda done: progress(done, image.size, "looking inside the image"),
        )
    signer = signer_named(session, submission.supplier_id, report.key_id)
    version = _version(release, report.claims)
    return FirmwareFindings(
        (*checks, version), inside, report, signer.id if signer else None, believing.before
    )


def must_be_delivered(sha256: str, evidence: Evidence) -> None:
    """Raises StorageFailed when the store gave other bytes than were delivered: damage is no evidence."""
    if sha256 != evidence.sha256:
        raise StorageFailed(
            f"The store holds other bytes than were delivered: expected SHA-256 {evidence.sha256}, found "
            f"{sha256}. Run `lotgate fsck`."
        )


def _beside(store: BlobStore, submission: Submission, role: AttachmentRole) -> bytes | None:
    evidence = attached(submission, role)
    if evidence is None:
        return None
    with store.open(evidence.sha256) as file:
        return file.read(BESIDE[role][1] + 1)


def _version(release: FirmwareRelease, claims: dict[str, Any]) -> Check:
    carried, name = claims.get("version"), "firmware.version"
    if not isinstance(carried, str):
        text = "The format carries no version to compare with the declared one."
        return Check(name, Outcome.NOT_APPLICABLE, text)
    if same_version(release.declared_version, carried):
        return Check(name, Outcome.PASS, f"The image says version {carried}, as declared.")
    return Check(
        name,
        Outcome.FAIL,
        f"Declared is version {release.declared_version}, but the image says {carried}. "
        "Declare the version that the image carries, or submit the right image.",
    )


def accepted_versions(session: Session, product_id: str) -> dict[str, set[str]]:
    """Accepted, not withdrawn versions of each component of a product: {component name: {version, …}}.

    Both the declared and the image's own way of writing a version count.
    """
    found: dict[str, set[str]] = {}
    rows = session.execute(
        select(Component.name, FirmwareRelease)
        .join(FirmwareRelease, FirmwareRelease.component_id == Component.id)
        .where(
            Component.product_id == product_id,
            FirmwareRelease.accepted_at.is_not(None),
            FirmwareRelease.withdrawn_at.is_(None),
        )
    )
    for name, release in rows:
        found.setdefault(name, set()).update({release.declared_version, version_of(release)})
    return found
