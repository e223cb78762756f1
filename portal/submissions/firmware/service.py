"""Firmware: submit an image, and check what it is, who signed it, and where it stands in its line."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.accounts.actors import Actor
from portal.clock import Clock
from portal.errors import InvalidInput, NotFound, Problem, TooLarge, TrustError
from portal.evidence.models import Evidence
from portal.evidence.ports import BlobStore
from portal.submissions.drafting import Progress, attach, attached, missing, start
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.versions import parse_version, same_version
from portal.submissions.models import AttachmentRole, Submission, SubmissionKind
from portal.suppliers.keys import trust_for
from portal.suppliers.models import Component, KeyState, SigningKey
from portal.suppliers.rules import clean_text
from portal.verification import Check, FileReport, Outcome, inspect_key, verify_file, worst

SIGNATURE_MAX = 65_536
_P, _F, _W, _NA = (
    Outcome.PASS,
    Outcome.FAIL,
    Outcome.WARN,
    Outcome.NOT_APPLICABLE,
)


def start_firmware(
    session: Session,
    actor: Actor,
    clock: Clock,
    *,
    component_id: str,
    version: str,
    image_id: str | None = None,
    signature_id: str | None = None,
    declared_sha256: str | None = None,
    release_notes: str = "",
) -> Submission:
    """A draft that offers an image of one component, with an optional detached signature and digest."""
    component = session.get(Component, component_id)
    if component is None:
        raise NotFound("There is no such component.")
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
    if signature_id:
        signature = attach(session, actor, clock, submission.id, signature_id, AttachmentRole.SIGNATURE)
        if signature.evidence.size > SIGNATURE_MAX:
            raise TooLarge(f"A signature has at most {SIGNATURE_MAX} bytes; this file has more.")
    session.flush()
    return submission


def release_of(session: Session, submission_id: str) -> FirmwareRelease:
    return session.scalars(
        select(FirmwareRelease).where(FirmwareRelease.submission_id == submission_id)
    ).one()


def problems(_session: Session, submission: Submission) -> tuple[Problem, ...]:
    return missing(submission, AttachmentRole.IMAGE, "the firmware image")


@dataclass(frozen=True, slots=True)
class FirmwareFindings:
    checks: tuple[Check, ...]
    report: FileReport
    signing_key_id: str | None  # the row of the key that made a valid signature

    def record(self, session: Session, clock: Clock, submission: Submission, run: int) -> None:
        """Keep what the image says of itself, and accept the release if every check passed."""
        release = release_of(session, submission.id)
        claims = self.report.claims
        release.sha256 = self.report.sha256
        release.format = self.report.format
        release.claims = self.report.claims_json
        release.image_version = claims.get("version")
        release.security_counter = claims.get("security_counter")
        release.signing_key_id = self.signing_key_id
        outcome = worst(check.outcome for check in self.checks)
        if outcome is _P and release.accepted_at is None:
            release.accepted_at = clock.now()


def examine(
    session: Session, store: BlobStore, submission: Submission, progress: Progress
) -> FirmwareFindings:
    """All checks of an image. The time that counts for keys is when it was submitted."""
    release = release_of(session, submission.id)
    image = attached(submission, AttachmentRole.IMAGE)
    if image is None or submission.submitted_at is None:
        raise InvalidInput("the submission has no image")
    signature = _signature(store, attached(submission, AttachmentRole.SIGNATURE))
    trust = trust_for(session, submission.supplier_id)
    with store.get_local_path(image.sha256) as path:
        report = verify_file(
            path,
            trust,
            at=submission.submitted_at.timestamp(),
            signature=signature,
            declared_sha256=release.declared_sha256,
            progress=lambda done: progress(done, image.size, "reading the image"),
        )
    claims = report.claims
    checks = [_explained(session, submission, check, claims) for check in report.checks]
    checks += [
        _version(release, claims),
        _rollback(session, release, claims),
        _lineage(session, release, report.sha256),
    ]
    signed_by = session.scalars(
        select(SigningKey.id).where(
            SigningKey.supplier_id == submission.supplier_id,
            SigningKey.fingerprint == (report.key_fingerprint or ""),
        )
    ).first()
    return FirmwareFindings(tuple(checks), report, signed_by)


def _signature(store: BlobStore, evidence: Evidence | None) -> bytes | None:
    if evidence is None:
        return None
    with store.open(evidence.sha256) as file:
        return file.read(SIGNATURE_MAX + 1)


def _explained(session: Session, submission: Submission, check: Check, claims: dict[str, Any]) -> Check:
    """`firmware.key` with what we know of a key that is registered but does not count."""
    named = claims.get("key_hash")
    if check.id != "firmware.key" or check.outcome is _P or not named:
        return check
    waiting = session.scalars(
        select(SigningKey).where(
            SigningKey.supplier_id == submission.supplier_id, SigningKey.state != KeyState.APPROVED
        )
    )
    for key in waiting:
        try:
            same = inspect_key(key.pem).mcuboot_key_hash == named
        except TrustError:
            continue
        if same:
            state = "waits for approval" if key.state is KeyState.PENDING else "was rejected"
            return Check(
                check.id,
                check.outcome,
                f"The image names the key “{key.label}” ({key.fingerprint[:23]}…), which {state} here.",
            )
    return check


def _version(release: FirmwareRelease, claims: dict[str, Any]) -> Check:
    carried = claims.get("version")
    if not isinstance(carried, str):
        return Check(
            "firmware.version", _NA, "The format carries no version to compare with the declared one."
        )
    if same_version(release.declared_version, carried):
        return Check("firmware.version", _P, f"The image says version {carried}, as declared.")
    return Check(
        "firmware.version",
        _F,
        f"Declared is version {release.declared_version}, but the image says {carried}. "
        "Declare the version that the image carries, or submit the right image.",
    )


def newest_accepted(
    session: Session, component_id: str, *, besides: str | None = None
) -> FirmwareRelease | None:
    """The accepted, not withdrawn release of a component with the highest version (then acceptance time)."""
    accepted = session.scalars(
        select(FirmwareRelease).where(
            FirmwareRelease.component_id == component_id,
            FirmwareRelease.accepted_at.is_not(None),
            FirmwareRelease.withdrawn_at.is_(None),
            FirmwareRelease.id != besides,
        )
    ).all()
    ordered = [row for row in accepted if parse_version(_version_text(row)) is not None]
    if ordered:
        return max(ordered, key=lambda row: (parse_version(_version_text(row)), row.accepted_at))
    return max(accepted, key=lambda row: row.accepted_at, default=None)  # type: ignore[arg-type,return-value]


def _version_text(release: FirmwareRelease) -> str:
    return release.image_version or release.declared_version


def _rollback(session: Session, release: FirmwareRelease, claims: dict[str, Any]) -> Check:
    before = newest_accepted(session, release.component_id, besides=release.id)
    if before is None:
        return Check(
            "firmware.rollback", _P, "This is the first release of the component that is accepted here."
        )
    mine = claims.get("version") or release.declared_version
    theirs = _version_text(before)
    new, old = parse_version(mine), parse_version(theirs)
    if new is None or old is None:
        return Check(
            "firmware.rollback", _W, f"Version {mine} cannot be compared with the accepted version {theirs}."
        )
    if new < old:
        return Check(
            "firmware.rollback",
            _F,
            f"Version {mine} is older than the accepted version {theirs}: a downgrade brings back what was "
            "repaired. Submit a version above it.",
        )
    counter = claims.get("security_counter")
    if before.security_counter is not None and (counter is None or counter < before.security_counter):
        return Check(
            "firmware.rollback",
            _F,
            f"The security counter is {'missing' if counter is None else counter}, but was "
            f"{before.security_counter} in the accepted version {theirs}: it must never go down.",
        )
    return Check("firmware.rollback", _P, f"Version {mine} follows the accepted version {theirs}.")


def _lineage(session: Session, release: FirmwareRelease, sha256: str) -> Check:
    mine = parse_version(release.declared_version)
    for other in session.scalars(
        select(FirmwareRelease).where(
            FirmwareRelease.component_id == release.component_id,
            FirmwareRelease.id != release.id,
            FirmwareRelease.sha256.is_not(None),
            FirmwareRelease.sha256 != sha256,
        )
    ):
        theirs = parse_version(other.declared_version)
        same = mine == theirs if mine and theirs else other.declared_version == release.declared_version
        if same:
            return Check(
                "firmware.lineage",
                _F,
                f"Version {release.declared_version} was submitted before with other bytes (SHA-256 "
                f"{(other.sha256 or '')[:16]}…, now {sha256[:16]}…). The same version must never have other "
                "bytes: raise the version.",
            )
    return Check("firmware.lineage", _P, f"No other bytes were ever submitted as {release.declared_version}.")


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
        found.setdefault(name, set()).update({release.declared_version, _version_text(release)})
    return found


def claims_of(release: FirmwareRelease) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(release.claims)
    return claims
