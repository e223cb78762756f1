"""`lotgate monitor`: watch the transparency logs of a portal from outside, and mail on trouble."""

import hashlib
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Final

import click

from portal.adapters.http import HttpClient
from portal.adapters.mail import MailServer
from portal.adapters.monitor_folder import MonitorFolder, Told
from portal.clock import Clock, SystemClock, rfc3339
from portal.errors import InvalidInput, LedgerError, StorageFailed
from portal.ledger.monitoring import (
    UNREACHABLE,
    About,
    Followed,
    RemoteLog,
    Trouble,
    about,
    believed,
    demand_extension,
    demand_receipt,
    read_on,
)
from portal.ledger.notes import Checkpoint, Opened
from portal.ledger.policies import MAX_POLICY, TrustPolicy
from portal.ledger.proofs import MAX_PROOF_FILE
from portal.ledger.tree import EMPTY

HTTP_SECONDS: Final = 30.0
LONG: Final = timedelta(hours=1)  # a portal that cannot be reached is mailed about after this
TRIES: Final = 5  # at a checkpoint without its quorum: witnesses need a moment
PAUSE_SECONDS = 2.0
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(slots=True)
class Round:
    """One look at all logs. `troubles`: by a name that stays the same while the trouble lasts.

    `events` are what was not there before, `announced` are logs that the policy does not have.
    """

    troubles: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    def add(self, where: str, trouble: Trouble) -> None:
        self.troubles[f"{where} {trouble.kind}"] = f"{where}: {trouble.message}"


@dataclass(frozen=True, slots=True)
class Monitor:
    url: str
    policy: TrustPolicy
    state: MonitorFolder
    watch_key: str | None
    receipts: Path | None
    clock: Clock

    def look(self) -> Round:
        """Check everything once."""
        found = Round()
        http = HttpClient(HTTP_SECONDS)
        logs = self._logs()
        remotes = {origin: RemoteLog(http, f"{self.url}/ledger/{number}") for number, origin in logs.items()}
        # The newest log first: where it exists, those before it are closed, and their sizes will not change.
        seen: dict[str, Opened | None] = {}
        for number in sorted(logs, reverse=True):
            seen[logs[number]] = self._checkpoint(logs[number], remotes[logs[number]], found)
        newest: dict[str, Checkpoint] = {}
        first_seq: int | None = 0
        for number in range(1, max(logs) + 1):
            origin = logs.get(number, "")
            opened = seen.get(origin)
            try:
                if opened is not None and self._follow(remotes[origin], opened, first_seq, found):
                    newest[origin] = opened.checkpoint
            except (LedgerError, StorageFailed) as error:
                found.add(origin, Trouble(error.message, "state"))
            known = newest.get(origin)
            first_seq = None if first_seq is None or known is None else first_seq + known.size
        self._check_receipts(remotes, newest, found)
        self._read_policy(http, found)
        return found

    def _logs(self) -> dict[int, str]:
        """The logs of the policy by number. Raises LedgerError for those of others."""
        found = {}
        for origin in dict.fromkeys(key.name for key in self.policy.logs):
            number = re.fullmatch(r".+/ledger/([1-9][0-9]{0,8})", origin)
            if number is None:
                raise LedgerError(f"the policy names {origin!r}, which is not a log of Lotgate (…/ledger/N)")
            found[int(number[1])] = origin
        if not found:
            raise LedgerError("the policy names no log")
        return found

    def _checkpoint(self, origin: str, remote: RemoteLog, found: Round) -> Opened | None:
        """The newest checkpoint, signed by the log; that its quorum is not met is a trouble beside it."""
        try:
            for tries in range(TRIES):
                opened = believed(remote.checkpoint(), origin, self.policy)
                if self.policy.met([one.key for one in opened.by_witnesses]):
                    return opened
                if tries < TRIES - 1:
                    time.sleep(PAUSE_SECONDS)
            who = ", ".join(one.key.name for one in opened.by_witnesses) or "nobody"
            size = opened.checkpoint.size
            found.add(
                origin,
                Trouble(f"the checkpoint over {size:,} entries is cosigned by {who}: too few", "quorum"),
            )
        except Trouble as trouble:
            if trouble.kind == "missing" and not self.state.knows(origin):
                found.notes.append(f"{origin}: has no checkpoint yet")
            else:
                found.add(origin, trouble)
            return None
        return opened

    def _follow(self, remote: RemoteLog, opened: Opened, first_seq: int | None, found: Round) -> bool:
        """Whether the log continues what was seen of it; then every new entry is read.

        `first_seq`: how many entries the earlier logs have, None where that is not known.
        """
        new = opened.checkpoint
        origin = new.origin
        followed = self.state.followed(origin)
        try:
            old = Checkpoint(origin, 0, EMPTY)
            if followed is not None:
                old = believed(followed.note, origin, self.policy).checkpoint
            demand_extension(remote, new, old)
        except Trouble as trouble:
            if trouble.kind in {"fork", "rollback"}:
                kept = self.state.keep_evidence(str(opened.note))
                trouble = Trouble(f"{trouble.message}. What it signed is kept in {kept}", trouble.kind)
            found.add(origin, trouble)
            return False
        watched = hashlib.sha256(self.watch_key.encode()).hexdigest() if self.watch_key else ""
        if followed is None or watched not in {"", followed.watched}:  # with another key, all is read again
            followed = Followed("", watched)
        followed = replace(followed, note=str(opened.note))
        self.state.keep(origin, followed)
        if self.watch_key and first_seq is None:
            found.add(
                origin, Trouble("is not searched for the supplier before all earlier logs are read", "policy")
            )
            return True
        try:
            for one in self._read(remote, new, followed, first_seq or 0):
                found.events.append(f"{origin}: entry {one.index} of {one.at} is about the supplier")
        except Trouble as trouble:
            found.add(origin, trouble)
            return True
        by = ", ".join(dict.fromkeys(one.key.name for one in opened.by_witnesses))
        fresh = new.size - followed.read
        text = f"{origin}: {new.size:,} entries hold ({fresh:,} new){f', cosigned by {by}' if by else ''}"
        (found.events if fresh else found.notes).append(text)
        return True

    def _read(
        self, remote: RemoteLog, new: Checkpoint, followed: Followed, first_seq: int
    ) -> Iterator[About]:
        def pick(index: int, entry: bytes) -> About | None:
            return about(self.watch_key, first_seq, index, entry) if self.watch_key else None

        return read_on(remote, new, followed, pick, lambda kept: self.state.keep(new.origin, kept))

    def _check_receipts(
        self, remotes: dict[str, RemoteLog], newest: dict[str, Checkpoint], found: Round
    ) -> None:
        """Each receipt once: what is a beginning of a log that was believed stays one."""
        if self.receipts is None:
            return
        checked = self.state.checked_receipts()
        count = 0
        for path in sorted(self.receipts.glob("*.tlog-proof")):
            where = f"receipt {path.name}"
            try:
                with path.open(encoding="utf-8", newline="") as file:
                    text = file.read(MAX_PROOF_FILE + 1)
                digest = hashlib.sha256(text.encode()).hexdigest()
                if digest not in checked:
                    demand_receipt(text, self.policy, remotes, newest)
                    checked.add(digest)
                count += 1
            except Trouble as trouble:
                found.add(where, trouble)
            except (OSError, UnicodeDecodeError) as error:
                found.add(where, Trouble(f"it cannot be read: {error}", "receipt"))
        self.state.keep_checked_receipts(checked)
        found.notes.append(f"{count} receipts hold")

    def _read_policy(self, http: HttpClient, found: Round) -> None:
        """What the portal announces beside what we believe."""
        try:
            reply = http.get(f"{self.url}/ledger/policy", MAX_POLICY)
            if reply.status != 200:
                raise Trouble(f"{self.url}/ledger/policy: status {reply.status}", UNREACHABLE)
            announced = TrustPolicy.parse(reply.body.decode())
        except Trouble as trouble:
            found.add("the portal's policy", trouble)
        except OSError as error:
            found.add("the portal's policy", Trouble(str(error), UNREACHABLE))
        except (LedgerError, UnicodeDecodeError) as error:
            found.add("the portal's policy", Trouble(str(error), "policy"))
        else:
            for key in announced.logs:
                if key not in self.policy.logs:
                    kind = key.kind.name.replace("_", "-")
                    found.announced.append(
                        f"The portal announces the log {key.name}, key {key.id.hex()} ({kind}): it is not "
                        "watched before your policy names it"
                    )


# --- Telling --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mailing:
    """To whom troubles are mailed, once each; and once when all is well again."""

    carrier: MailServer
    recipient: str
    url: str

    def send(self, told: Told, now: datetime, announced: list[str]) -> None:
        """Marks what went out in `told`. Raises OSError where the server does not take it."""
        new = {
            name: text
            for name, (text, since) in told.troubles.items()
            if name not in told.mailed
            and (not name.endswith(UNREACHABLE) or now - datetime.fromisoformat(since) >= LONG)
        }
        fresh = [text for text in announced if text not in told.announced]
        if new or fresh:
            lines = [*new.values(), *fresh]
            subject = "TROUBLE with the transparency log" if new else "A new transparency log"
            self._deliver(f"{subject} of {self.url}", "\n\n".join(lines))
            told.mailed |= new
            told.announced += fresh
        if told.mailed and not told.troubles:
            over = "\n\n".join(f"Over: {text}" for text in told.mailed.values())
            self._deliver(f"Well again: the transparency log of {self.url}", over)
            told.mailed = {}

    def _deliver(self, subject: str, body: str) -> None:
        text = f"{body}\n\nTold by lotgate monitor of {self.url}\n"
        self.carrier.deliver(secrets.token_hex(16), self.recipient, subject, text)


def tell(monitor: Monitor, found: Round, mailing: Mailing | None, *, quietly: bool) -> bool:
    """Print what is new and mail it; whether all is well. `quietly`: nothing where nothing changed."""
    now = monitor.clock.now()
    told = monitor.state.told()
    fresh = found.troubles.keys() - told.troubles.keys()
    ended = told.troubles.keys() - found.troubles.keys()
    unheard = [text for text in found.announced if text not in told.announced]
    for text in [*found.events, *unheard] if quietly else [*found.events, *found.notes, *found.announced]:
        click.echo(text)
    for name, text in found.troubles.items():
        if not quietly or name in fresh:
            click.echo(f"TROUBLE {text}")
    for name in sorted(ended):
        click.echo(f"Over: {told.troubles[name][0]}")
    since = {name: started for name, (_, started) in told.troubles.items()}
    told.troubles = {name: [text, since.get(name, rfc3339(now))] for name, text in found.troubles.items()}
    well = not found.troubles
    if mailing is not None:
        try:
            mailing.send(told, now, found.announced)
        except OSError as error:
            click.echo(f"TROUBLE the mail could not be sent, and will be tried again: {error}", err=True)
            well = False
    elif unheard:
        told.announced += unheard
    monitor.state.keep_told(told)
    return well


@click.command("monitor", help="Watch the transparency logs of the portal at URL; mail on trouble.")
@click.argument("url")
@click.option("--policy", type=FILE, required=True, help="Keys to believe: C2SP tlog-policy.")
@click.option("--state", type=FOLDER, required=True, help="Folder for what was seen.")
@click.option("--watch-key", type=FILE, help="A supplier's watch key: its entries are listed.")
@click.option(
    "--receipts",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of receipts (*.tlog-proof) to check as well.",
)
@click.option("--once", is_flag=True, help="Look once; exit status 1 where anything does not hold.")
@click.option(
    "--every", type=click.IntRange(5), default=300, show_default=True, help="Seconds between looks."
)
@click.option("--mail-to", help="Who gets a mail on trouble.")
@click.option("--mail-from", default="lotgate-monitor@localhost", show_default=True)
@click.option("--smtp", default="localhost:25", show_default=True, help="The mail server, HOST[:PORT].")
def monitor_command(
    url: str,
    policy: Path,
    state: Path,
    watch_key: Path | None,
    receipts: Path | None,
    once: bool,
    every: int,
    mail_to: str | None,
    mail_from: str,
    smtp: str,
) -> None:
    clock = SystemClock()
    if not re.match("https?://[^/]", url):
        raise click.UsageError(f"URL: expected an address with http or https, found {url!r}")
    monitor = Monitor(
        url.rstrip("/"),
        TrustPolicy.read(policy),
        MonitorFolder(state),
        read_watch_key(watch_key) if watch_key else None,
        receipts,
        clock,
    )
    host, _, port = smtp.rpartition(":") if ":" in smtp else (smtp, "", "25")
    if not port.isascii() or not port.isdigit():
        raise click.UsageError(f"--smtp: expected HOST or HOST:PORT, found {smtp!r}")
    mailing = (
        Mailing(MailServer(host.strip("[]"), int(port), mail_from, clock), mail_to, monitor.url)
        if mail_to
        else None
    )
    ending = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    with monitor.state.hold():
        if once:
            sys.exit(0 if tell(monitor, monitor.look(), mailing, quietly=False) else 1)
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        quietly = False
        while not ending.is_set():
            tell(monitor, monitor.look(), mailing, quietly=quietly)
            quietly = True
            ending.wait(every)


def read_watch_key(path: Path) -> str:
    """The key in a file as the portal gives it: 64 hexadecimal digits, lines with # are words for people."""
    lines = [line.strip() for line in path.read_text("utf-8", "replace").splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if len(found) != 1 or not re.fullmatch("[0-9a-f]{64}", found[0]):
        raise InvalidInput(f"{path} is not a watch key: expected one line of 64 hexadecimal digits")
    return found[0]
