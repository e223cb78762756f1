"""The documents of a bundle against the entries of the ledger."""

from datetime import datetime
from typing import Any

from portal.errors import LedgerError, PolicyError
from portal.formats import count
from portal.policy.codec import canonical, digest
from portal.policy.evaluate import evaluate
from portal.policy.facts import Facts
from portal.policy.model import load
from portal.policy.result import Result
from portal.reports.bundles import form, runs
from portal.reports.bundles.lots import APART, check_samples
from portal.reports.bundles.opened import (
    Bundle,
    Entries,
    Told,
    differences,
    unknown_subjects,
)
from portal.verification import inspect_key


class Checking:
    """Documents of the bundle against the entries of the ledger."""

    def __init__(self, bundle: Bundle, entries: Entries) -> None:
        self.bundle, self.entries = bundle, entries
        self.known: set[str] = {bundle.manifest["product"]["id"], bundle.manifest["supplier"]["id"]}
        self.supplier = str(bundle.manifest["supplier"]["id"])
        self.product = str(bundle.manifest["product"]["id"])
        self.files: dict[str, dict[str, Any]] = {}
        self.assessed: set[str] = set()
        self._documents: dict[str, dict[str, dict[str, Any]]] = {}
        self.runs: dict[str, dict[str, list[dict[str, str]]]] = {}

    def documents(self, folder: str) -> dict[str, dict[str, Any]]:
        """The documents of a folder, by their id, which is their name too."""
        if folder not in self._documents:
            found: dict[str, dict[str, Any]] = {}
            for name in self.bundle.folder(folder):
                if name.rpartition(".")[0].count("."):
                    continue  # verdicts, beside their submission
                row = self.bundle.json(name)
                if name != f"{folder}/{row['id']}.json":
                    raise LedgerError(f"{name} is about {row['id']}: the file was renamed")
                found[row["id"]] = row
                self.known.add(row["id"])
            self._documents[folder] = found
        return self._documents[folder]

    def subject(self) -> str:
        """Whose product all of this is about."""
        manifest, proven = self.bundle.manifest, []
        model, name = manifest["product"]["model"], manifest["supplier"]["name"]
        for kind, subject, said in (
            ("product.created", self.product, {"model": model, "supplier": self.supplier}),
            ("supplier.created", self.supplier, {"name": name}),
        ):
            found = self.entries.about(kind, subject)
            proven.append(bool(found))
            for entry in found:
                differences(form.MANIFEST, entry, said)
        words = "" if all(proven) else " (so says the portal: no entry of the ledger names them)"
        return f"It is about assessment {manifest['number']} of {model} by {name}{words}."

    def of_product(self, what: str, row: dict[str, Any]) -> None:
        if row["product"] != self.product:
            raise LedgerError(f"{what} is about product {row['product']}, this bundle is about another one")

    def evidence(self) -> str:
        for row in self.bundle.json(form.EVIDENCE):
            what = f"evidence {row['id']}"
            self.files[row["id"]] = row
            self.known.add(row["id"])
            entry = self.entries.one("evidence.accepted", row["id"], what)
            said = {"sha256": row["sha256"], "blake3": row["blake3"], "size": row["size"]}
            said |= {"supplier": self.supplier} | entry.known({"filename": row["name"]})
            differences(what, entry, said)
        blobs = {row["sha256"]: row["size"] for row in self.files.values()}
        there = [name for name in self.bundle.zip.members if name.startswith("evidence/")]
        for name in there:
            sha256 = name.removeprefix("evidence/")
            if sha256 not in blobs:
                raise LedgerError(f"{name}: no evidence of this bundle has this digest")
            if self.bundle.digests[name] != sha256:
                raise LedgerError(f"{name}: its bytes have SHA-256 {self.bundle.digests[name]}")
        self.bundle.seen.update(there)
        included = self.bundle.manifest["evidence"] == "included"
        for row in self.files.values():
            gone = self.entries.about("evidence.deleted", row["id"])
            if included and f"evidence/{row['sha256']}" not in there and not gone:
                raise LedgerError(f"evidence/{row['sha256']} is missing")
        held = "with the bytes of their digests" if included else "by digest only"
        pieces = count(len(self.files), "piece")
        return f"Delivered as the ledger says, {held}: {pieces} of evidence."

    def submissions(self) -> str:
        checks = 0
        changes = self.entries.of_kinds(runs.CHANGES_TRUST)
        for row in self.documents("submissions").values():
            what = f"submission {row['id']}"
            self.of_product(what, row)
            entry = self.entries.one("submission.made", row["id"], what)
            digests = sorted(f"sha256:{self.files[one['evidence']]['sha256']}" for one in row["files"])
            said = {"submission": row["kind"], "product": row["product"]}
            said |= entry.known({name: row[name] for name in ("title", *form.DECLARED) if name in row})
            differences(what, entry, said)
            if unknown := set(digests) - set(entry.facts["evidence"]):
                raise LedgerError(f"{what}: {sorted(unknown)[0]} was not submitted with it")
            self.runs[row["id"]] = row["runs"]
            for run, found in row["runs"].items():
                self._run(row["id"], int(run), found)
                runs.check_trust(self.entries, changes, row["kind"], row["id"], int(run))
                checks += len(found)
        submissions = count(len(self.runs), "submission")
        return f"As they were recorded: {submissions} with {count(checks, 'check')}."

    def _run(self, submission: str, run: int, found: list[dict[str, str]]) -> None:
        what = f"run {run} of submission {submission}"
        name = f"submissions/{submission}.verdicts-{run}.json"
        verdicts = None
        if name in self.bundle.zip.members:
            verdicts = digest(self.bundle.read(name))
        ended = runs.ended(self.entries, submission, run)
        recorded = self.entries.of_run(submission, run)
        self.known |= {one.subject for one in recorded.values()}
        checks = digest(canonical(found))
        for entry in ended:
            differences(what, entry, {"checks": checks, "verdicts": verdicts})
        if not ended and verdicts is not None:
            raise LedgerError(f"{what}: no entry of the ledger tells of its verdicts")
        if {one["check"] for one in found} != recorded.keys():
            raise LedgerError(f"{what}: its checks are not those of which there are receipts")
        for one in found:
            differences(
                f"{what}, {one['check']}",
                recorded[one["check"]],
                {"outcome": one["outcome"], "reason": digest(one["reason"].encode())},
            )

    def samples(self) -> str:
        self.known |= {
            one.subject
            for one in self.entries.told
            if one.kind == "sampling.committed" and one.facts.get("product") == self.product
        }
        rows, submissions = self.documents("samples"), self.documents("submissions")
        return check_samples(self.bundle, self.entries, rows, submissions, self.files)

    def keys(self) -> str:
        for row in self.documents("keys").values():
            what = f"key {row['name']}"
            if inspect_key(row["pem"]).fingerprint != row["fingerprint"]:
                raise LedgerError(f"{what}: its text is not the key with fingerprint {row['fingerprint']}")
            entry = self.entries.one("key.approved", row["id"], what)
            said = {
                "fingerprint": row["fingerprint"],
                "algorithm": row["algorithm"],
                "purposes": row["purposes"],
                "by": row["approved_by"],
                "supplier": self.supplier,
            }
            about = {"label": row["label"], "key": digest(row["pem"].encode()), "options": row["options"]}
            differences(what, entry, said | entry.known(about))
            near(f"{what}: approved", row["approved_at"], entry)
            distrusted = self.entries.about("key.distrusted", row["id"])
            if (distrusted[-1].facts["since"] if distrusted else None) != row["distrusted_from"]:
                raise LedgerError(f"{what}: the ledger has another day from which it is distrusted")
        self.documents("authorities")  # their certificates: times.py
        kept = {
            form.revocation_list(one.facts["sha256"])
            for row in self.documents("keys")
            for one in self.entries.about("revocation_list.kept", row)
        }
        for name in self.bundle.folder("revocation", ""):
            if name not in kept or form.revocation_list(self.bundle.digests[name]) != name:
                raise LedgerError(f"{name}: the ledger tells of no such revocation list of these keys")
            self.bundle.seen.add(name)
        return f"Approved by whom and when the ledger says: {count(len(self.documents('keys')), 'key')}."

    def assessments(self) -> str:
        told = []
        for name in self.bundle.folder_names("assessment"):
            row = self.bundle.json(f"{name}/about.json")
            if name != f"assessment/{row['number']}":
                raise LedgerError(f"{name} is about assessment {row['number']}: the folder was renamed")
            self.known.add(row["id"])
            self.assessed.add(row["id"])
            told.append(self._assessment(name, row))
        if self.bundle.manifest["assessment"] not in self.assessed:
            raise LedgerError("the assessment that the manifest names is not in the bundle")
        return f"Facts and policy give the same result again: {'; '.join(told)}."

    def _assessment(self, name: str, row: dict[str, Any]) -> str:
        what = f"assessment {row['number']}"
        self.of_product(what, row)
        if (row["id"] == self.bundle.manifest["assessment"]) != (
            row["number"] == self.bundle.manifest["number"]
        ):
            raise LedgerError(f"{what}: {form.MANIFEST} names another number")
        facts_json, result_json = (self.bundle.read(f"{name}/{part}.json") for part in ("facts", "result"))
        digests = [digest(data) for data in (facts_json, result_json)]
        entry = self.entries.one("assessment.made", row["id"], what)
        differences(
            what,
            entry,
            {
                "facts": digests[0],
                "result": digests[1],
                "number": row["number"],
                "tier": row["tier"],
                "rating": row["rating"],
                "product": row["product"],
                "supplier": self.supplier,
            },
        )
        near(f"{what}: made", row["made_at"], entry)
        policy_digest = entry.facts["policy"]["digest"]
        digests += [policy_digest, self.supplier]
        if [row[part] for part in ("facts", "result", "policy", "supplier")] != digests:
            raise LedgerError(f"{name}/about.json: it names other facts, policy or supplier than the ledger")
        path = f"policies/{policy_digest.removeprefix('sha256:')}.json"
        self.known.add(policy_digest.removeprefix("sha256:"))
        try:
            policy = load(self.bundle.text(path))
            if policy.digest != policy_digest:
                raise LedgerError(f"{path}: the policy has digest {policy.digest}: it was changed")
            facts, result = Facts.from_json(facts_json), Result.from_json(result_json)
            made = evaluate(policy, facts, row["tier"], result.as_of).to_json()
        except PolicyError as error:
            raise LedgerError(f"{what}: {error.message}") from None
        if made != result_json:
            raise LedgerError(f"{what}: facts and policy give another result than was recorded")
        there = {f"sha256:{file['sha256']}" for file in self.files.values()}
        for answer in facts.answers.values():
            for file in answer.evidence:
                if file.digest not in there:
                    raise LedgerError(f"{what}: an answer rests on {file.digest}, which is not in the bundle")
        self._checks_are_recorded(what, row, facts)
        return f"{what}: {row['rating'].replace('_', ' ')}"

    def _checks_are_recorded(self, what: str, row: dict[str, Any], facts: Facts) -> None:
        """What the assessment was told of each submission is what that run found."""
        seen: dict[str, set[tuple[str, str, str]]] = {}
        for check in facts.checks:
            seen.setdefault(check.submission_id, set()).add((check.id, str(check.outcome), check.reason))
        if seen.keys() != row["runs"].keys():
            raise LedgerError(f"{what}: its submissions are not those that the bundle names")
        for submission, checks in seen.items():
            run = row["runs"][submission]
            if run is None:
                self.entries.one("submission.failed", submission, f"{what}, submission {submission}")
                continue
            found = self.runs.get(submission, {}).get(str(run), [])
            if checks != {(one["check"], one["outcome"], one["reason"]) for one in found}:
                raise LedgerError(f"{what}: submission {submission} had other checks in run {run}")

    def decisions(self) -> str:
        rows, gaps = self.documents("decisions"), self.documents("exceptions")
        for gap in gaps.values():
            self._exception(gap)
        for row in rows.values():
            what = f"decision {row['id']}"
            self.of_product(what, row)
            if row["assessment"] not in self.assessed:
                raise LedgerError(
                    f"{what} is about assessment {row['assessment']}, which is not in the bundle"
                )
            entry = self.entries.one("decision.made", row["id"], what)
            said = {name: row[name] for name in ("decision", "effective", "seconds", "case", "product", "by")}
            if row["reason"] is not None:
                said["reason"] = digest(row["reason"].encode())
            differences(what, entry, said | {"assessment": row["assessment"]})
            near(f"{what}: decided", row["at"], entry)
            if row["settled"] is not None and row["settled"] not in self.assessed:
                raise LedgerError(f"{what} left in force assessment {row['settled']}, which is not here")
            granted = [
                {"control": gap["control"], "expires": gap["expires"]}
                for gap in gaps.values()
                if gap["decision"] in (row["id"], row["seconds"])
            ]
            if sorted(map(str, granted)) != sorted(map(str, entry.facts["conditions"])):
                raise LedgerError(f"{what}: its conditions are not the accepted gaps of the bundle")
        decisions = count(len(rows), "decision")
        return f"As they were recorded: {decisions} and {count(len(gaps), 'accepted gap')}."

    def _exception(self, row: dict[str, Any]) -> None:
        what = f"accepted gap {row['control']} ({row['id']})"
        self.of_product(what, row)
        granted = self.entries.about("exception.granted", row["id"])
        expected = {
            "product": row["product"],
            "decision": row["decision"],
            "control": row["control"],
            "condition": digest(row["condition"].encode()),
            "owner": digest(row["owner"].encode()),
            "expires": row["expires"],
        }
        for entry in granted:
            differences(what, entry, expected)
            near(f"{what}: granted", row["granted_at"], entry)
        ended = self.entries.about("exception.ended", row["id"])
        if granted and bool(ended) != (row["ended_at"] is not None):
            raise LedgerError(f"{what}: whether it ended, the ledger tells otherwise")
        if not granted:  # from before such entries: its decision names it
            decided = self.entries.about("decision.made", row["decision"])
            named = {"control": row["control"], "expires": row["expires"]}
            if not any(named in entry.facts.get("conditions", []) for entry in decided):
                raise LedgerError(f"{what}: no entry of the ledger tells of it")

    def nothing_else(self) -> str:
        unknown_subjects(self.entries, self.known)
        for name in self.bundle.zip.members:
            if name not in self.bundle.seen:
                raise LedgerError(f"{name}: nothing in this bundle asks for this file, and nothing proves it")
        return "Every entry is about something in this bundle, and every file was looked into."


def near(what: str, said: str, entry: Told) -> None:
    """Raises LedgerError where something is dated otherwise than its entry."""
    if abs(moment(said) - moment(entry.facts["at"])) > APART:
        raise LedgerError(f"{what} at {said}, entry {entry.seq} is of {entry.facts['at']}")


def moment(text: str) -> datetime:
    """RFC 3339, as the portal writes it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise LedgerError(f"expected a time, found {text[:40]!r}") from None
