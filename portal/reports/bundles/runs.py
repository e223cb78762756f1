"""Runs of verification in a bundle: which entries tell of one, and what was believed when it began."""

from collections.abc import Sequence
from typing import Final

from portal.errors import LedgerError
from portal.reports.bundles.opened import Entries, Told

CHANGES_TRUST: Final = (
    "key.approved",
    "key.distrusted",
    "revocation_list.kept",
    "timestamp_authority.added",
    "timestamp_authority.removed",
)  # after entries of these kinds others are believed


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


def check_trust(entries: Entries, changes: Sequence[Told], kind: str, submission: str, run: int) -> None:
    """A run is recorded by what counts then: none of `changes` (entries of CHANGES_TRUST) came in between.

    Raises LedgerError where one did, or where the number cannot be. A lot takes the check of its signature
    over into the runs that attestations make: those name what counted for the run that made it.
    """
    before = trust_before(entries, submission, run)
    if before is None:
        return
    if kind == "lot" and any(
        one.facts.get("run", run) < run and one.facts.get("trust_before") == before
        for one in entries.about("verification.ended", submission)
    ):
        return
    first = first_entry(entries, submission, run)
    for one in changes:
        if before <= one.seq < first:
            raise LedgerError(
                f"run {run} of submission {submission} was recorded by what was told before entry {before}, "
                f"though entry {one.seq} ({one.kind}) had changed whom to believe"
            )
