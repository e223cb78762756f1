"""`lotgate verify-bundle`: check all of a bundle on any machine, without the portal."""

import json
import sys
from pathlib import Path

import click

from portal.adapters.http import HttpClient
from portal.clock import SystemClock
from portal.errors import LedgerError, LotgateError
from portal.ledger.newer import check_continues, newest_note, source
from portal.ledger.notes import open_note
from portal.ledger.policies import TrustPolicy
from portal.reports.bundles.verify import Step, Verified, verify_bundle

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
SECONDS = 20.0  # that a log may take for each answer
OWN_POLICY = 3  # everything holds, by the keys that the bundle brought itself


@click.command("verify-bundle", help="Check a bundle, step by step, on any machine.")
@click.argument("file", type=FILE)
@click.option(
    "--policy", type=FILE, help="Keys to believe: C2SP tlog-policy, taken over a way that you trust."
)
@click.option("--online", is_flag=True, help="Also ask each log for its newest checkpoint, and compare.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def verify_bundle_command(file: Path, policy: Path | None, online: bool, as_json: bool) -> None:
    """Exit 0 when everything holds, 1 with the first thing that does not, 3 when everything holds but the
    keys of the logs came from the bundle itself (no --policy)."""
    steps: list[str] = []
    warnings: list[str] = []

    def step(text: str) -> None:
        steps.append(text)
        if not as_json:
            click.echo(f"ok   {text}")

    def warn(text: str) -> None:
        warnings.append(text)
        if not as_json:
            click.echo(f"note {text}")

    told: dict[str, object] = {"version": 1, "holds": False, "steps": steps, "notes": warnings}
    status = 1
    try:
        trust = TrustPolicy.read(policy) if policy else None
        with file.open("rb") as opened:
            found = verify_bundle(opened, trust, SystemClock(), step, warn)
            if online:
                _compare(found, trust, policy, step)
        told["holds"], told["own_policy"] = True, found.own_policy
        told["assessment"] = found.bundle.manifest["assessment"]
        status = OWN_POLICY if found.own_policy else 0
    except LotgateError as error:
        told["refused"] = error.message
        if not as_json:
            click.echo(f"NOT  {error.message}")
    except OSError as error:
        told["refused"] = f"{file} cannot be read: {error.strerror or error}"
        if not as_json:
            click.echo(f"NOT  {told['refused']}")
    if as_json:
        click.echo(json.dumps(told, indent=2))
    elif status != 1:
        own = " by the keys that it brings itself" if status == OWN_POLICY else ""
        click.echo(f"Everything holds{own}.")
    sys.exit(status)


def _compare(found: Verified, trust: TrustPolicy | None, policy: Path | None, step: Step) -> None:
    """The bundle's checkpoints against the newest ones of their logs."""
    text = policy.read_text("utf-8") if policy else found.bundle.text("ledger/policy")
    trust = trust or TrustPolicy.parse(text)
    for point in found.roots.opened.values():
        place = _address(text, point.checkpoint.origin)
        fetch = source(place, HttpClient(SECONDS))
        newest = open_note(newest_note(fetch), trust.logs, list(trust.witnesses.values()))
        check_continues(point.checkpoint, newest.checkpoint, fetch)
        step(
            f"Asked {place}: its newest checkpoint, over {newest.checkpoint.size:,} entries, continues the "
            "bundle's."
        )


def _address(policy: str, origin: str) -> str:
    """Where the policy says that a log is served."""
    for line in policy.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "log" and words[1].startswith(f"{origin}+"):
            return words[2]
    raise LedgerError(f"the policy does not say where {origin} is served")
