"""`lotgate verify-receipt`: check a receipt on any machine, without the portal."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from portal.adapters.http import HttpClient
from portal.errors import LedgerError
from portal.ledger.leaves import Opening
from portal.ledger.newer import check_continues, newest_note, source
from portal.ledger.notes import Checkpoint, open_note
from portal.ledger.policies import NONE, TrustPolicy
from portal.ledger.proofs import MAX_PROOF_FILE, Proof
from portal.verification import hash_file

SECONDS = 20.0  # that a log may take for each answer
Step = Callable[[str], None]
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(
    "verify-receipt", help="Check a receipt (.tlog-proof) and, with --file, that it is for these bytes."
)
@click.argument("receipt", type=FILE)
@click.option(
    "--policy", type=FILE, required=True, help="Keys to believe: C2SP tlog-policy, from the portal."
)
@click.option("--file", "file", type=FILE, help="The file that was delivered.")
@click.option(
    "--newer",
    type=FILE,
    help="A newer checkpoint of the log; with --tiles, else the newest one there counts.",
)
@click.option(
    "--tiles", metavar="URL|FOLDER", help="Where the log is: shows that it has only grown since the receipt."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify_receipt_command(
    receipt: Path, policy: Path, file: Path | None, newer: Path | None, tiles: str | None, as_json: bool
) -> None:
    """Exit status 0 when everything holds, 1 with the first thing that does not."""
    if newer is not None and tiles is None:
        raise click.UsageError("--newer needs --tiles: what lies between is computed from the log.")
    steps: list[str] = []
    told: dict[str, object] = {"version": 1, "holds": False, "steps": steps}

    def step(text: str) -> None:
        steps.append(text)
        if not as_json:
            click.echo(f"ok  {text}")

    try:
        point, trust = _check(receipt, policy, file, step, told)
        if tiles is not None:
            _compare(point, trust, newer, tiles, step)
        told["holds"] = True
        if not as_json:
            click.echo(f"\nWhat the entry says:\n{json.dumps(told['entry'], indent=2)}")
    except LedgerError as error:
        told["refused"] = error.message
        if not as_json:
            click.echo(f"NOT {error.message}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    sys.exit(0 if told["holds"] else 1)


def _compare(old: Checkpoint, trust: TrustPolicy, newer: Path | None, tiles: str, step: Step) -> None:
    """That the log has only grown since the receipt's checkpoint."""
    fetch = source(tiles, HttpClient(SECONDS))
    text = newest_note(fetch) if newer is None else _text(newer)
    new = open_note(text, trust.logs, list(trust.witnesses.values())).checkpoint
    check_continues(old, new, fetch)
    step(f"The log of {new.size:,} entries continues that of {old.size:,}: the entry is part of it for ever.")


def _check(
    receipt: Path, policy: Path, file: Path | None, step: Step, told: dict[str, object]
) -> tuple[Checkpoint, TrustPolicy]:
    trust = TrustPolicy.parse(_text(policy))
    proof = Proof.parse(_text(receipt))
    opening = Opening.load(proof.extra)
    facts = opening.facts
    step(f"The receipt opens entry {proof.index}: {facts['kind']} of {facts['at']}.")
    opened = proof.check(opening.leaf(), trust.logs, list(trust.witnesses.values()))
    signers = ", ".join(one.key.kind.name.replace("_", "-") for one in opened.by_log)
    size = f"{opened.checkpoint.size:,} entries"
    step(f"The checkpoint of {opened.checkpoint.origin} over {size} is signed ({signers}).")
    step("The entry is in the log under this checkpoint.")
    cosigned = [one.key for one in opened.by_witnesses]
    names = list(dict.fromkeys(key.name for key in cosigned))
    if not trust.met(cosigned):
        who = ", ".join(names) or "nobody"
        raise LedgerError(
            f"of the policy's witnesses {who} cosigned; its quorum asks for others. A receipt that is "
            "fetched again has those that came later"
        )
    if trust.quorum != NONE:
        step(f"Cosigned by {', '.join(names)}.")
    told["entry"] = facts
    if file is not None:
        found = hash_file(file)
        if (facts.get("sha256"), facts.get("size")) != (found.sha256, found.size):
            raise LedgerError(
                f"the receipt is for other bytes: SHA-256 {facts.get('sha256')}, the file has {found.sha256}"
            )
        step(f"It is for this file: {found.size:,} bytes, SHA-256 {found.sha256}.")
    return opened.checkpoint, trust


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_PROOF_FILE:
            raise LedgerError(f"{path}: expected at most {MAX_PROOF_FILE:,} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read as text: {error}") from None
