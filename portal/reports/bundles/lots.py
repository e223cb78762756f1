"""Lots in a bundle: their units as the manifest lists them, and the samples that were drawn of them."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from portal.errors import InvalidInput, LedgerError
from portal.formats import count
from portal.reports.bundles import form
from portal.reports.bundles.opened import Bundle, Entries, Told, differences
from portal.submissions.lots.manifest import UnitRecord, read_manifest
from portal.submissions.lots.plan import PLAN, plan_size
from portal.suppliers.seeds import commitment, order

APART: Final = timedelta(minutes=5)  # an entry and the moment that it tells of
MANIFEST_MAX: Final = 64 << 20
MANIFEST_UNITS: Final = 1_000_000
Row = Mapping[str, Any]


def sha256_of(lot: Row, role: str, files: Mapping[str, Row]) -> str | None:
    """Digest of the file that a submission has in a role."""
    return next((files[one["evidence"]]["sha256"] for one in lot["files"] if one["role"] == role), None)


def units_of(bundle: Bundle, lot: Row, files: Mapping[str, Row]) -> Sequence[UnitRecord] | None:
    """The units of a lot; None where the bundle has no bytes of its manifest. Raises LedgerError."""
    names = [
        form.blob(sha256)
        for role in ("manifest", "units")
        if (sha256 := sha256_of(lot, role, files)) is not None
    ]
    if sha256_of(lot, "manifest", files) is None or any(name not in bundle.zip.members for name in names):
        return None
    read = [bundle.read(name, MANIFEST_MAX) for name in names]
    try:
        return read_manifest(read[0], read[1] if len(read) > 1 else None, max_units=MANIFEST_UNITS).units
    except InvalidInput as error:
        raise LedgerError(f"the manifest of its lot: {error.message}") from None


def check_samples(
    bundle: Bundle,
    entries: Entries,
    samples: Mapping[str, Row],
    submissions: Mapping[str, Row],
    files: Mapping[str, Row],
) -> str:
    """Each sample is the one that its seed draws, and the seed is the one that was committed last before the
    lot was submitted. What that shows, as a sentence. Raises LedgerError."""
    again, chosen = 0, []
    for row in samples.values():
        lot = submissions.get(row["lot"])
        if lot is None or lot["kind"] != "lot":
            raise LedgerError(f"sample {row['id']} is of {row['lot']}, which is no lot of this bundle")
        what = f"the sample of {row['size']} units of {lot['title']}"
        again += _is_what_its_seed_draws(bundle, entries, what, row, lot, files)
        if not _committed_before(entries, what, row, lot):
            chosen.append(lot["title"])
    if not samples:
        return "No sample of its lots was drawn before it was decided on."
    words = f"As they were drawn: {count(len(samples), 'sample')} of lots, {again:,} of them drawn again"
    if chosen:
        return (
            f"{words}. No seed had been committed before {', '.join(chosen)}: whoever drew could have chosen."
        )
    return f"{words}; each seed had been committed before its lot was submitted."


def _is_what_its_seed_draws(
    bundle: Bundle, entries: Entries, what: str, row: Row, lot: Row, files: Mapping[str, Row]
) -> bool:
    """Whether there was a manifest to draw it again from."""
    drawn = entries.one("sampling.drawn", row["id"], what)
    manifest = sha256_of(lot, "manifest", files)
    said = {name: row[name] for name in ("lot", "manifest", "size", "seed", "committed", "by")}
    serials = "\n".join(row["serials"])
    said["serials"] = f"sha256:{hashlib.sha256(serials.encode()).hexdigest()}"
    differences(what, drawn, said)
    if row["manifest"] != f"sha256:{manifest}":
        raise LedgerError(f"{what} was drawn from another manifest than the lot's")
    if abs(datetime.fromisoformat(row["at"]) - datetime.fromisoformat(drawn.facts["at"])) > APART:
        raise LedgerError(f"{what}: drawn at {row['at']}, entry {drawn.seq} is of {drawn.facts['at']}")
    units = units_of(bundle, lot, files)
    count = row["plan"]["units"] if units is None else len(units)
    if row["plan"] != {"name": PLAN, "units": count, "size": plan_size(count)}:
        raise LedgerError(
            f"{what}: the plan asks for {plan_size(count)} of {count} units, the bundle says otherwise"
        )
    if units is None:
        return False
    if order(row["seed"], str(manifest), [unit.serial for unit in units])[: row["size"]] != row["serials"]:
        raise LedgerError(f"{what}: its seed draws other units from the manifest")
    return True


def _committed_before(entries: Entries, what: str, row: Row, lot: Row) -> bool:
    """Whether the seed was fixed before the units were."""
    committed = entries.one("sampling.committed", row["committed"], what)
    said = {"product": lot["product"], "commitment": commitment(row["seed"])}
    differences(what, committed, said)
    if row["commitment"] != said["commitment"]:
        raise LedgerError(f"{what}: its seed does not open the commitment {row['commitment']}")
    submitted = entries.one("submission.made", lot["id"], what)
    before: list[Told] = [
        one
        for one in entries.told
        if one.kind == "sampling.committed"
        and one.facts.get("product") == lot["product"]
        and one.seq < submitted.seq
    ]
    if before and before[-1].subject != row["committed"]:
        raise LedgerError(f"{what}: another seed was the last one committed before the lot was submitted")
    return bool(before)
