"""An image beside the other releases of its component: never older than what is accepted, and never other
bytes under the same version."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.submissions.findings import last_check
from portal.submissions.firmware.models import FirmwareRelease
from portal.submissions.firmware.versions import parse_version
from portal.verification import Check, Outcome

_ROLLBACK, _LINEAGE = "firmware.rollback", "firmware.lineage"


def version_of(release: FirmwareRelease) -> str:
    """The version that counts: what the image says, else what was declared."""
    return release.image_version or release.declared_version


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
    ordered = [row for row in accepted if parse_version(version_of(row)) is not None]
    if ordered:
        return max(ordered, key=lambda row: (parse_version(version_of(row)), row.accepted_at))
    return max(accepted, key=lambda row: row.accepted_at, default=None)  # type: ignore[arg-type,return-value]


def rollback(session: Session, release: FirmwareRelease, mine: str, counter: int | None) -> Check:
    """Whether version and security counter are not below those of the newest accepted release."""
    if release.accepted_at is not None and (settled := last_check(session, release.submission, _ROLLBACK)):
        return settled  # what was accepted after it is no step back of this one
    before = newest_accepted(session, release.component_id, besides=release.id)
    if before is None:
        return Check(_ROLLBACK, Outcome.PASS, "No release of this component was accepted here before.")
    theirs = version_of(before)
    new, old = parse_version(mine), parse_version(theirs)
    if new is not None and old is not None and new < old:
        text = (
            f"Version {mine} is older than the accepted version {theirs}: a downgrade brings back what was "
            "repaired. Submit a version above it."
        )
        return Check(_ROLLBACK, Outcome.FAIL, text)
    if before.security_counter is not None and (counter is None or counter < before.security_counter):
        text = (
            f"The security counter is {'missing' if counter is None else counter}, but was "
            f"{before.security_counter} in the accepted version {theirs}: it must never go down."
        )
        return Check(_ROLLBACK, Outcome.FAIL, text)
    if new is None or old is None:
        text = f"Version {mine} cannot be compared with the accepted version {theirs}: a person must judge."
        return Check(_ROLLBACK, Outcome.WARN, text)
    return Check(_ROLLBACK, Outcome.PASS, f"Version {mine} is not below the accepted version {theirs}.")


def lineage(session: Session, release: FirmwareRelease, mine: str, sha256: str) -> Check:
    """Whether no other bytes were ever verified as this version, accepted or not."""
    if release.sha256 == sha256 and (settled := last_check(session, release.submission, _LINEAGE)):
        return settled  # it was compared when it came; those that came later are compared with it
    version = parse_version(mine)
    for other in session.scalars(
        select(FirmwareRelease).where(
            FirmwareRelease.component_id == release.component_id,
            FirmwareRelease.id != release.id,
            FirmwareRelease.sha256.is_not(None),
            FirmwareRelease.sha256 != sha256,
        )
    ):
        theirs = version_of(other)
        if theirs == mine or (version is not None and parse_version(theirs) == version):
            text = (
                f"Version {mine} was submitted before with other bytes (SHA-256 "
                f"{(other.sha256 or '')[:16]}…, now {sha256[:16]}…). The same version must never have other "
                "bytes: raise the version."
            )
            return Check(_LINEAGE, Outcome.FAIL, text)
    return Check(_LINEAGE, Outcome.PASS, f"No other bytes were ever submitted as version {mine}.")
