"""Signatures of a bundle verified once more, with the keys that counted when they were verified first.

Which keys those were is read from the ledger: approved, and distrusted, by entries before the one that the
run itself names (portal/reports/bundles/runs.py).
Checks that compare with other submissions (rollback, lineage, serials delivered before) and those that look
inside an image are not made again: there the recorded ones stand.
"""

import base64
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_crl

from portal.errors import LedgerError, LotgateError
from portal.reports.bundles import form, runs
from portal.reports.bundles.lots import APART, sha256_of, units_of
from portal.reports.bundles.opened import Bundle, Entries, Told
from portal.verification import (
    Chunk,
    Outcome,
    Root,
    TimestampAuthority,
    Trust,
    TrustKey,
    inspect_key,
    verify_attestations,
    verify_file,
    worst,
)
from portal.verification.enrolled import built, trust_of

BESIDE_MAX: Final = 262_144  # bytes of a signature, of certificates, of a time stamp
KEPT_FAILURES: Final = 10_000  # failures of one batch that are recorded one by one


@dataclass
class Repeated:
    """How much was verified again."""

    files: int = 0
    attestations: int = 0
    skipped: list[str] = field(default_factory=list)


class _CannotRepeatError(Exception):
    """What counted then is not in the bundle any more; the text says what."""


def repeat(
    bundle: Bundle,
    entries: Entries,
    submissions: dict[str, dict[str, Any]],
    files: dict[str, dict[str, Any]],
    warn: Callable[[str], None],
) -> Repeated:
    """Raises LedgerError where a verdict is another one now than was recorded."""
    done = Repeated()
    if bundle.manifest["evidence"] != "included":
        return done
    keys = [bundle.json(name) for name in bundle.folder("keys")]
    authorities = [bundle.json(name) for name in bundle.folder("authorities")]
    trusting = _Trusting(bundle, entries, keys, authorities)
    for row in submissions.values():
        one = _One(bundle, entries, row, files, submissions, trusting)
        for run in row["runs"]:
            try:
                one.again(int(run), done)
            except _CannotRepeatError as why:
                warn(f"{row['title']}: not verified again: {why}. The recorded checks stand.")
            except LedgerError as error:
                raise LedgerError(f"{row['title']}, run {run}: {error.message}") from None
            except (OSError, LotgateError) as error:
                raise LedgerError(f"{row['title']}, run {run}: cannot be verified again: {error}") from None
    return done


@dataclass(frozen=True, slots=True)
class _Trusting:
    bundle: Bundle
    entries: Entries
    keys: list[dict[str, Any]]
    authorities: list[dict[str, Any]]

    def before(self, seq: int) -> Trust:
        """What counted by what entries before `seq` tell."""
        counted: list[TrustKey | Root] = []
        crls: list[str] = []
        for row in self.keys:
            if not self._until("key.approved", row["id"], seq):
                continue
            distrusted = self._until("key.distrusted", row["id"], seq)
            since = datetime.fromisoformat(distrusted[-1].facts["since"]) if distrusted else None
            info = inspect_key(row["pem"])
            dates = {
                "not_before": _moment(info.not_before),
                "not_after": _moment(info.not_after),
                "distrusted_from": since,
            }
            name = f"{row['name']} ({row['id']})"
            counted.append(built(name, row["pem"], row["options"], tuple(row["purposes"]), **dates))
            crls += self._list_of(row, seq)
        added = [
            TimestampAuthority(row["label"], row["pem"])
            for row in self.authorities
            if self._until("timestamp_authority.added", row["id"], seq)
            and not self._until("timestamp_authority.removed", row["id"], seq)
        ]
        return trust_of(counted, crls=crls, timestamp_authorities=added)

    def _list_of(self, row: dict[str, Any], seq: int) -> Iterator[str]:
        kept = self._until("revocation_list.kept", row["id"], seq)
        if not kept:
            return
        name = form.revocation_list(kept[-1].facts["sha256"])
        if name in self.bundle.zip.members:
            yield load_der_x509_crl(self.bundle.read(name)).public_bytes(Encoding.PEM).decode()
        elif "number" in kept[-1].facts:
            raise LedgerError(f"{name} is missing: this list counted then")
        else:  # of the first form: a newer list took the place of the row
            raise _CannotRepeatError("the revocation list that counted was not kept")

    def _until(self, kind: str, subject: str, seq: int) -> list[Told]:
        return [one for one in self.entries.about(kind, subject) if one.seq < seq]


@dataclass(frozen=True, slots=True)
class _One:
    """One submission."""

    bundle: Bundle
    entries: Entries
    row: dict[str, Any]
    files: dict[str, dict[str, Any]]
    others: dict[str, dict[str, Any]]
    trusting: _Trusting

    def again(self, run: int, done: Repeated) -> None:
        kind = self.row["kind"]
        if kind not in ("firmware", "attestations", "lot"):
            return
        recorded = {one["check"]: one["outcome"] for one in self.row["runs"][str(run)]}
        if f"{kind}.verification" in recorded:
            return  # it could not be read: there is no verdict to repeat
        if kind == "attestations":
            done.attestations += self._attestations(run, self._trust(run))
        elif kind == "firmware":
            self._compare(recorded, self._firmware(self._trust(run)))
            done.files += 1
        elif "lot.signature" in recorded and self._blob("signature") is not None:
            self._compare(recorded, self._lot_of(run, recorded["lot.signature"]))
            done.files += 1

    def _lot_of(self, run: int, recorded: str) -> dict[str, Outcome]:
        """After new attestations a run takes this check over from the one before: then what counted there
        counts. An entry of the first form does not say what that was: any of those runs may have made it."""
        if runs.trust_before(self.entries, self.row["id"], run) is not None:
            return self._lot(self._trust(run))
        earlier = [
            one.seq
            for one in self.entries.about("verification.ended", self.row["id"])
            if one.facts.get("run", run) < run
        ]
        for seq in (runs.first_entry(self.entries, self.row["id"], run), *reversed(earlier)):
            made = self._lot(self.trusting.before(seq))
            if made["lot.signature"].value == recorded:
                break
        return made

    def _trust(self, run: int) -> Trust:
        """What counted when the run began. Where its entry does not say, it is taken for what was told before
        the run was recorded."""
        said = runs.trust_before(self.entries, self.row["id"], run)
        first = runs.first_entry(self.entries, self.row["id"], run)
        return self.trusting.before(first if said is None else said)

    def _at(self) -> float:
        """When it was submitted: the time that counts for keys, near that of its entry."""
        said = datetime.fromisoformat(self.row["submitted_at"])
        entry = self.entries.one("submission.made", self.row["id"], f"submission {self.row['id']}")
        if abs(said - datetime.fromisoformat(entry.facts["at"])) > APART:
            raise LedgerError(
                f"it was submitted at {self.row['submitted_at']}, entry {entry.seq} is of {entry.facts['at']}"
            )
        return said.timestamp()

    def _blob(self, role: str) -> str | None:
        sha256 = sha256_of(self.row, role, self.files)
        return None if sha256 is None else form.blob(sha256)

    def _bytes(self, role: str) -> bytes | None:
        name = self._blob(role)
        if name is not None and name not in self.bundle.zip.members:
            raise _CannotRepeatError(f"its {role} was deleted since, as the ledger says")
        return None if name is None else self.bundle.read(name, BESIDE_MAX)

    def _needed(self, role: str) -> str:
        name = self._blob(role)
        if name is None:
            raise LedgerError(f"its {role} is not in the bundle")
        if name not in self.bundle.zip.members:
            raise _CannotRepeatError(f"its {role} was deleted since, as the ledger says")
        return name

    def _compare(self, recorded: dict[str, str], made: dict[str, Outcome]) -> None:
        for check, outcome in made.items():
            if check in recorded and recorded[check] != outcome.value:
                raise LedgerError(
                    f"{check}: recorded is {recorded[check]}, verified again it is {outcome.value}"
                )

    def _firmware(self, trust: Trust) -> dict[str, Outcome]:
        with self.bundle.on_disk(self._needed("image")) as path:
            report = verify_file(
                path,
                trust,
                at=self._at(),
                signature=self._bytes("signature"),
                certificates=self._bytes("certificates"),
                timestamp=self._bytes("timestamp"),
                declared_sha256=self.row.get("declared_sha256"),
            )
        return {check.id: check.outcome for check in report.checks}

    def _lot(self, trust: Trust) -> dict[str, Outcome]:
        with self.bundle.on_disk(self._needed("manifest")) as path:
            report = verify_file(
                path, trust, at=self._at(), purpose="manifest", signature=self._bytes("signature")
            )
        wanted = ("signature", "key", "algorithm")
        outcome = worst(check.outcome for check in report.checks if check.id.split(".")[1] in wanted)
        return {"lot.signature": outcome}

    def _attestations(self, run: int, trust: Trust) -> int:
        verdicts = self.bundle.json(f"submissions/{self.row['id']}.verdicts-{run}.json")
        comparing = _Comparing(verdicts, trust, self._units())
        with self.bundle.on_disk(self._needed("attestations")) as path:
            report = verify_attestations(path, trust, at=self._at(), columns=comparing.take)
        comparing.end()
        return report.total

    def _units(self) -> set[bytes] | None:
        """Digests of the units of the lot that they are about; None where it is not in the bundle."""
        lot = self.others.get(self.row["lot"])
        units = units_of(self.bundle, lot, self.files) if lot else None
        return None if units is None else {bytes.fromhex(unit.digest) for unit in units}


class _Comparing:
    """Verdicts line by line, as they were recorded and as they are now."""

    def __init__(self, verdicts: dict[str, Any], trust: Trust, units: set[bytes] | None) -> None:
        self.passes = dict(_recorded(verdicts))
        self.failures = {row["line"]: row["outcome"] for row in verdicts["failures"]}
        self.marks = dict(enumerate(key.fingerprint for key in trust.keys))
        self.units = units
        self.failed: set[int] = set()

    def take(self, chunk: Chunk) -> None:
        made = _signed(chunk.first, chunk.lines, chunk.signers, chunk.keys, self.marks)
        for line, signed in made:
            if (found := self.passes.pop(line, None)) != signed:
                raise LedgerError(f"line {line}: recorded are the signers {found}, it verifies with {signed}")
        for verdict in chunk.failures:
            self._fail(verdict.line, verdict.outcome.value)
        if self.units is not None:
            strangers = {line for line, _, digest in chunk.subject_rows() if digest not in self.units}
            for line in sorted(strangers):
                self._fail(line, Outcome.FAIL.value)

    def _fail(self, line: int, outcome: str) -> None:
        self.failed.add(line)
        found = self.failures.get(line)
        if found != outcome and (found is not None or len(self.failures) < KEPT_FAILURES):
            raise LedgerError(f"line {line}: recorded is {found or 'pass'}, verified again it is {outcome}")

    def end(self) -> None:
        if self.passes:
            raise LedgerError(f"line {min(self.passes)}: recorded is pass, verified again it is not")
        if self.units is not None and (more := self.failures.keys() - self.failed):
            raise LedgerError(f"line {min(more)}: recorded is {self.failures[min(more)]}, now it passes")


def _recorded(verdicts: dict[str, Any]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Line and fingerprints of its signers, of each that passed."""
    for row in verdicts["passes"]:
        names = {int(place): mark for place, (_, mark) in row["key_names"].items()}
        lines, keys = _numbers("I", row["lines"]), _numbers("H", row["keys"])
        yield from _signed(row["first_line"], lines, base64.b64decode(row["signers"]), keys, names)


def _signed(
    first: int, lines: Sequence[int], signers: Sequence[int], keys: Sequence[int], names: Mapping[int, str]
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Columns line by line. Lines with the same signers share one tuple: there are millions of lines."""
    shared: dict[tuple[int, ...], tuple[str, ...]] = {}
    at = 0
    for after, many in zip(lines, signers, strict=True):
        places = tuple(keys[at : at + many])
        at += many
        if (marks := shared.get(places)) is None:
            marks = shared[places] = tuple(names[place] for place in places)
        yield first + after, marks


def _numbers(kind: str, text: str) -> "array[int]":
    numbers: array[int] = array(kind, base64.b64decode(text))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
