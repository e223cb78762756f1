"""A bundle that is read on any machine: files against its manifest, entries against their receipts."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO

from portal.errors import InvalidInput, LedgerError
from portal.ledger.leaves import Opening
from portal.ledger.notes import Note, Opened, opened
from portal.ledger.policies import NONE, TrustPolicy
from portal.ledger.proofs import MAX_PROOF_FILE, Proof
from portal.ledger.tree import check_inclusion, leaf_hash
from portal.reports.bundles import form
from portal.submissions import strictjson
from portal.zips import Member, ZipReader


@dataclass(frozen=True, slots=True)
class Told:
    """One entry of the ledger that a receipt proves. `facts` is all that it says."""

    seq: int
    kind: str
    subject: str
    facts: dict[str, Any]

    def known(self, said: dict[str, Any]) -> dict[str, Any]:
        """What of `said` it tells of: entries of the first form tell less."""
        return {name: value for name, value in said.items() if name in self.facts}


@dataclass
class Entries:
    """All entries of a bundle, in the order of the ledger."""

    told: list[Told] = field(default_factory=list)

    def about(self, kind: str, subject: str) -> list[Told]:
        return self._index().get((kind, subject), [])

    def of_kinds(self, kinds: Collection[str]) -> list[Told]:
        return [one for one in self.told if one.kind in kinds]

    def one(self, kind: str, subject: str, what: str) -> Told:
        """The newest entry of a kind about something. Raises LedgerError without one."""
        found = self.about(kind, subject)
        if not found:
            raise LedgerError(f"{what}: no receipt of an entry {kind} is in the bundle")
        return found[-1]

    def of_run(self, submission: str, run: int) -> dict[str, Told]:
        """The entry of each check of one run, by the check."""
        if not self._by_run:
            for one in self.told:
                if one.kind == "check.recorded":
                    place = (one.facts.get("submission"), one.facts.get("run"))
                    self._by_run.setdefault(place, {})[one.facts["check"]] = one
        return self._by_run.get((submission, run), {})

    def _index(self) -> dict[tuple[str, str], list[Told]]:
        if not self._by:
            for one in self.told:
                self._by.setdefault((one.kind, one.subject), []).append(one)
        return self._by

    _by: dict[tuple[str, str], list[Told]] = field(default_factory=dict)
    _by_run: dict[tuple[Any, Any], dict[str, Told]] = field(default_factory=dict)


class Bundle:
    """The files of a bundle. Raises ZipRefused, LedgerError."""

    def __init__(self, file: BinaryIO) -> None:
        self.zip = ZipReader(file)
        self.seen = {
            form.MANIFEST,
            form.README,
            form.REPORT,
            form.POLICY,
        }  # what was looked into, or is a print
        self.manifest = self._manifest()
        self.digests: dict[str, str] = {}

    def _manifest(self) -> dict[str, Any]:
        found = self.json(form.MANIFEST)
        if not isinstance(found, dict) or found.get("format") != form.FORMAT:
            raise LedgerError(f"{form.MANIFEST}: expected format {form.FORMAT!r}: this is no bundle")
        return found

    def check_files(self) -> None:
        """The files are those of the manifest, each with its size and digest; every byte is read."""
        listed: dict[str, dict[str, Any]] = {}
        for row in self.manifest.get("files", []):
            path = str(row["path"]) if isinstance(row, dict) and "path" in row else ""
            if not path or path in listed or path == form.MANIFEST:
                raise LedgerError(f"{form.MANIFEST}: the file {path!r} is listed twice, or without a name")
            listed[path] = row
        there = [name for name in self.zip.members if name != form.MANIFEST]
        if missing := sorted(listed.keys() - set(there)):
            raise LedgerError(f"{missing[0]} is missing: the manifest lists it")
        if more := sorted(set(there) - listed.keys()):
            raise LedgerError(f"{more[0]} is in the bundle, and the manifest does not list it")
        for name in there:
            self._check_file(self.zip.members[name], listed[name])

    def _check_file(self, member: Member, row: dict[str, Any]) -> None:
        sha256 = hashlib.sha256()
        for data in self.zip.chunks(member):
            sha256.update(data)
        if (row.get("size"), row.get("sha256")) != (member.size, sha256.hexdigest()):
            raise LedgerError(
                f"{member.name}: expected {row.get('size')} bytes with SHA-256 {row.get('sha256')}, found "
                f"{member.size} with {sha256.hexdigest()}: the file or the manifest was changed"
            )
        self.digests[member.name] = sha256.hexdigest()

    def read(self, name: str, limit: int = form.DOCUMENT_MAX) -> bytes:
        member = self.zip.members.get(name)
        if member is None:
            raise LedgerError(f"{name} is not in the bundle")
        self.seen.add(name)
        return self.zip.read(member, limit)

    def text(self, name: str, limit: int = form.DOCUMENT_MAX) -> str:
        try:
            return self.read(name, limit).decode()
        except UnicodeDecodeError:
            raise LedgerError(f"{name} is not text in UTF-8") from None

    def json(self, name: str) -> Any:
        try:
            return strictjson.parse(self.read(name), name, most=5_000_000)
        except InvalidInput as error:
            why = "; ".join(map(str, error.problems)) or error.message
            raise LedgerError(f"{name} cannot be read: {why}") from None

    def folder(self, name: str, suffix: str = ".json") -> list[str]:
        """The files directly below a folder."""
        return [
            path
            for path in self.zip.members
            if path.startswith(f"{name}/")
            and path.endswith(suffix)
            and path.count("/") == name.count("/") + 1
        ]

    def folder_names(self, name: str) -> list[str]:
        """The folders directly below a folder, in the order of the bundle."""
        return list(
            dict.fromkeys(
                "/".join(path.split("/")[:2])
                for path in self.zip.members
                if path.startswith(f"{name}/") and path.count("/") > 1
            )
        )

    @contextmanager
    def on_disk(self, name: str) -> Iterator[Path]:
        """A file of the bundle as a file of its own, as long as the block lasts."""
        with NamedTemporaryFile(prefix="lotgate-") as file:
            for data in self.zip.chunks(self.zip.members[name]):
                file.write(data)
            file.flush()
            yield Path(file.name)


@dataclass(frozen=True, slots=True)
class Roots:
    """The checkpoint of each log in the bundle, by the log's number there."""

    opened: dict[str, Opened]


def check_checkpoints(bundle: Bundle, trust: TrustPolicy) -> Roots:
    """Each is signed by a log of the policy, and cosigned as its quorum asks."""
    found: dict[str, Opened] = {}
    for name in bundle.zip.members:
        parts = name.split("/")
        if parts[0] == "ledger" and parts[-1] == "checkpoint" and len(parts) == 3:
            try:
                note = opened(
                    Note.parse(bundle.text(name, MAX_PROOF_FILE)), trust.logs, list(trust.witnesses.values())
                )
            except LedgerError as error:
                raise LedgerError(f"{name}: {error.message}") from None
            if trust.quorum != NONE and not trust.met([one.key for one in note.by_witnesses]):
                raise LedgerError(
                    f"{name}: {len(note.by_witnesses)} witnesses of the policy cosigned; its quorum asks for "
                    "others"
                )
            found[parts[1]] = note
    if not found:
        raise LedgerError("the bundle has no checkpoint")
    return Roots(found)


def check_receipts(bundle: Bundle, roots: Roots) -> Entries:
    """Each opens an entry that is in the log under the bundle's checkpoint of it."""
    entries = Entries()
    for name in bundle.zip.members:
        parts = name.split("/")
        if parts[0] != "ledger" or len(parts) != 4:
            continue
        try:
            entries.told.append(_receipt(bundle, roots, name, parts))
        except LedgerError as error:
            raise LedgerError(f"{name}: {error.message}") from None
    entries.told.sort(key=lambda one: one.seq)
    seqs = [one.seq for one in entries.told]
    if len(set(seqs)) != len(seqs):
        raise LedgerError("two receipts are for the same entry of the ledger")
    return entries


def _receipt(bundle: Bundle, roots: Roots, name: str, parts: Sequence[str]) -> Told:
    root = roots.opened.get(parts[1])
    if root is None:
        raise LedgerError(f"the bundle has no checkpoint of log {parts[1]}")
    proof = Proof.parse(bundle.text(name, MAX_PROOF_FILE))
    if str(proof.note) != str(root.note):
        raise LedgerError("it rests on another checkpoint than the bundle's: it belongs to another bundle")
    if form.receipt(int(parts[1]) if parts[1].isdigit() else -1, proof.index) != name:
        raise LedgerError(f"it is for entry {proof.index}: the file was renamed")
    opening = Opening.load(proof.extra)
    point = root.checkpoint
    check_inclusion(leaf_hash(opening.leaf()), proof.index, point.size, proof.hashes, point.root)
    facts = opening.facts
    try:
        return Told(int(facts["seq"]), str(facts["kind"]), str(facts["subject"]), facts)
    except (LookupError, ValueError, TypeError):
        raise LedgerError("its entry is none of Lotgate's") from None


def differences(what: str, entry: Told, expected: dict[str, Any]) -> None:
    """Raises LedgerError with the first thing of which the bundle says something else than the ledger."""
    for name, value in expected.items():
        if entry.facts.get(name) != value:
            raise LedgerError(
                f"{what}: {name}: the bundle says {_short(value)}, entry {entry.seq} of the ledger says "
                f"{_short(entry.facts.get(name))}"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]}…"


def unknown_subjects(entries: Entries, known: Iterable[str]) -> None:
    """Raises LedgerError for an entry about something that this bundle does not tell of."""
    there = set(known)
    for one in entries.told:
        if one.subject not in there:
            raise LedgerError(
                f"entry {one.seq} ({one.kind}) is about {one.subject}, of which this bundle tells nothing: "
                "it belongs to another one"
            )
