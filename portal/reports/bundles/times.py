"""Time stamps (RFC 3161) in a bundle: when the entries were there at the latest, by somebody else's word."""

import hashlib
from typing import Final

from portal.clock import Clock
from portal.errors import LedgerError
from portal.ledger.notes import Note, decoded, opened
from portal.ledger.policies import TrustPolicy
from portal.ledger.proofs import MAX_PROOF_FILE
from portal.ledger.tree import MAX_PROOF, check_consistency
from portal.reports.bundles.opened import Bundle, Entries, Roots, differences
from portal.verification import Outcome, TimestampAuthority, Trust, inspect_key, verify_timestamp

TOKEN_MAX: Final = 256 * 1024


def check_times(bundle: Bundle, trust: TrustPolicy, roots: Roots, entries: Entries, clock: Clock) -> str:
    """Every stamp is over a checkpoint of the same log, by an authority that the ledger tells of. What they
    prove, as a sentence. Raises LedgerError."""
    believed = _believed(bundle, entries)
    told = []
    for name in bundle.zip.members:
        if name.startswith("ledger/") and name.endswith(".tsr"):
            try:
                told.append(_check(bundle, trust, roots, name, believed, clock))
            except LedgerError as error:
                raise LedgerError(f"{name}: {error.message}") from None
    return "; ".join(told) if told else "No time stamp is in the bundle: times are claimed by the portal."


def _believed(bundle: Bundle, entries: Entries) -> list[TimestampAuthority]:
    """Those that were not removed. That the others were added as they stand here is checked too: they may
    have counted for evidence (again.py)."""
    found = []
    for name in bundle.folder("authorities"):
        row = bundle.json(name)
        entry = entries.one("timestamp_authority.added", row["id"], name)
        if inspect_key(row["pem"]).fingerprint != entry.facts["fingerprint"]:
            raise LedgerError(f"{name}: its certificate is not the one that was added")
        said = {"label": row["label"], "fingerprint": row["fingerprint"]}
        if "key" in entry.facts:  # entries of the first form do not name the text
            said["key"] = f"sha256:{hashlib.sha256(row['pem'].encode()).hexdigest()}"
        differences(name, entry, said)
        if not entries.about("timestamp_authority.removed", row["id"]):
            found.append(TimestampAuthority(row["label"], row["pem"]))
    return found


def _check(
    bundle: Bundle,
    trust: TrustPolicy,
    roots: Roots,
    name: str,
    believed: list[TimestampAuthority],
    clock: Clock,
) -> str:
    base, log = name.removesuffix(".tsr"), name.split("/")[1]
    root = roots.opened.get(log)
    if root is None:
        raise LedgerError(f"the bundle has no checkpoint of log {log}")
    note = bundle.read(f"{base}.checkpoint", MAX_PROOF_FILE)
    try:
        stamped = opened(Note.parse(note.decode()), trust.logs).checkpoint
    except UnicodeDecodeError:
        raise LedgerError("the checkpoint that it is over is no text") from None
    lines = bundle.text(f"{base}.consistency", 10_000).splitlines()
    if len(lines) > MAX_PROOF:
        raise LedgerError(f"a proof has at most {MAX_PROOF} hashes; found {len(lines)}")
    path = [decoded(line, "a hash of the proof") for line in lines]
    old, new = sorted((stamped, root.checkpoint), key=lambda point: point.size)
    if old.origin != new.origin:
        raise LedgerError(f"it is over a checkpoint of {stamped.origin!r}")
    check_consistency(old.size, new.size, old.root, new.root, path)
    found = verify_timestamp(
        bundle.read(name, TOKEN_MAX),
        note,
        Trust.build([], timestamp_authorities=believed),
        at=clock.now().timestamp(),
    )
    if found.outcome is not Outcome.PASS or found.at is None:
        raise LedgerError(f"the time stamp does not count: {found.why}")
    return (
        f"The first {stamped.size:,} entries of {stamped.origin} were there by "
        f"{found.at:%Y-%m-%d %H:%M:%S} UTC, as {found.authority} stamped"
    )
