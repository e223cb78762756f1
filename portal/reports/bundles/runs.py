"""Runs of verification in a bundle: which entries tell of one, and what was believed when it began."""

from portal.errors import LedgerError
from portal.reports.bundles.opened import Entries, Told


def ended(entries: Entries, submission: str, run: int) -> list[Told]:
    """The entries that tell of the whole run: one, or none where it is of the first form."""
    return [one for one in entries.about("verification.ended", submission) if one.facts.get("run") == run]


def first_entry(entries: Entries, submission: str, run: int) -> int:
    """The number of the first one that tells of a run."""
    found = (*ended(entries, submission, run), *entries.of_run(submission, run).values())
    return min(one.seq for one in found)


def trust_before(entries: Entries, submission: str, run: int) -> int | None:
    """What counted in a run is what entries before this number tell; None where its entry does not say (it is
    of the first form, or nobody had to be believed).

    Raises LedgerError for a number that cannot be: a run believes what was told after its submission, and
    before its own entries.
    """
    said = [one for one in ended(entries, submission, run) if "trust_before" in one.facts]
    if not said:
        return None
    entry, found = said[-1], said[-1].facts["trust_before"]
    what = f"entry {entry.seq} of the ledger says that run {run} of submission {submission} believed"
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise LedgerError(f"{what} what was told before entry {found!r}: that is no number of an entry")
    if found > (first := first_entry(entries, submission, run)):
        raise LedgerError(
            f"{what} what was told before entry {found}, but the run was recorded by then: its first is "
            f"{first}"
        )
    made = entries.one("submission.made", submission, f"submission {submission}").seq
    if found <= made:
        raise LedgerError(
            f"{what} what was told before entry {found}, but it was submitted no earlier: by entry {made}"
        )
    return found
