"""`lotgate verify-bundle`: all that a bundle says, checked on a machine without the portal's database.

Each step needs the ones before it, and is told in one line when it holds:
1. files: the ZIP is in canonical form; its files are those of the manifest, with their digests;
2. checkpoints: signed by logs of the policy; 3. receipts: each opens an entry in the log; time stamps;
4. evidence; 5. submissions and their checks; 6. samples of lots, drawn again; 7. keys; 8. assessments, made
again from facts and policy; 9. decisions and accepted gaps: as their entries say;
10. signatures, verified again with the keys that the ledger says were approved then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from portal.clock import Clock
from portal.errors import LedgerError
from portal.formats import count
from portal.ledger.policies import TrustPolicy
from portal.reports.bundles import form
from portal.reports.bundles.again import Repeated, repeat
from portal.reports.bundles.checking import Checking
from portal.reports.bundles.opened import (
    Bundle,
    Entries,
    Roots,
    check_checkpoints,
    check_receipts,
)
from portal.reports.bundles.times import check_times

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What holds. `own_policy`: the keys of the logs came from the bundle itself."""

    bundle: Bundle
    roots: Roots
    entries: Entries
    own_policy: bool


def verify_bundle(
    file: BinaryIO, policy: TrustPolicy | None, clock: Clock, step: Step, warn: Step
) -> Verified:
    """Check a bundle. Raises LotgateError with the first thing that does not hold.

    `policy` says whom to believe; without one the bundle's own is used, and `warn` says what that means.
    """
    bundle = Bundle(file)
    bundle.check_files()
    members = count(len(bundle.zip.members), "file")
    step(f"The file is a bundle: {members}, each as its manifest says, and nothing else.")
    trust = policy or TrustPolicy.parse(bundle.text(form.POLICY))
    if policy is None:
        warn(
            "No --policy was given: the keys of the logs are those that the bundle brings itself. That is "
            "the portal's own word; take the policy over a way that you trust."
        )
    roots = check_checkpoints(bundle, trust)
    for point in roots.opened.values():
        by = ", ".join(one.key.kind.name.replace("_", "-") for one in point.by_log)
        names = list(dict.fromkeys(one.key.name for one in point.by_witnesses))
        more = f", cosigned by {', '.join(names)}" if names else ""
        step(
            f"The checkpoint of {point.checkpoint.origin} over {point.checkpoint.size:,} entries is signed "
            f"({by}){more}."
        )
    entries = check_receipts(bundle, roots)
    step(f"Each entry is in the log, as its receipt proves: {count(len(entries.told), 'entry', 'entries')}.")
    try:
        step(check_times(bundle, trust, roots, entries, clock))
        checking = Checking(bundle, entries)
        for told in (
            checking.subject,
            checking.evidence,
            checking.submissions,
            checking.samples,
            checking.keys,
            checking.assessments,
            checking.decisions,
            checking.nothing_else,
        ):
            step(told())
        again = repeat(bundle, entries, checking.documents("submissions"), checking.files, warn)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LedgerError(f"a document of the bundle does not have its form: {error!r}") from None
    step(_told(again, bundle.manifest))
    warn(f"{form.REPORT} and {form.README} are prints for people: nothing proves them.")
    return Verified(bundle, roots, entries, policy is None)


def _told(again: Repeated, manifest: dict[str, Any]) -> str:
    if manifest.get("evidence") != "included":
        return "The bundle has digests of the evidence, not its bytes: no signature can be verified again."
    files, attestations = count(again.files, "signed file"), count(again.attestations, "attestation")
    return f"Verified again: {files} and {attestations}; each verdict is the one that was recorded."
