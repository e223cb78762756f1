"""`lotgate hash` and `lotgate verify`: the verifier without the portal. Scripts rely on what they print."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from portal.clock import SystemClock
from portal.errors import RulesError, TrustError, UnreadableFile, VerifierFault
from portal.submissions.firmware.shown import shown
from portal.verification import (
    BatchReport,
    Check,
    ContentReport,
    EnvelopeVerdict,
    FileReport,
    Outcome,
    Trust,
    examine_content,
    hash_file,
    load_rules,
    verify_attestations,
    verify_file,
)

FILE = click.Path(path_type=Path)
YEAR_10000 = 253_402_300_800


class WrongUsage(click.ClickException):
    """Something the caller must put right before anything can be verified."""

    exit_code = 2


def _why_unreadable(error: OSError | UnreadableFile | VerifierFault) -> str:
    return f"Cannot be read: {error.strerror or error}." if isinstance(error, OSError) else str(error)


def _progress(path: Path) -> Callable[[int], None] | None:
    """Tell a person who waits how far the work is; scripts and pipes are not disturbed."""
    if not sys.stderr.isatty():
        return None
    try:
        total = max(path.stat().st_size, 1)
    except OSError:
        return None

    def show(done: int) -> None:
        click.echo(f"\r{click.format_filename(path)}: {100 * done // total} %\x1b[K", err=True, nl=False)
        if done >= total:
            click.echo("\r\x1b[K", err=True, nl=False)

    return show


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


@click.command("hash", help="Print size, SHA-256 and BLAKE3 of files.")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def hash_command(files: tuple[Path, ...], as_json: bool) -> None:
    """Exit 0 if every file was read, 1 if one was not (the others are printed all the same)."""
    found: list[dict[str, str | int]] = []
    failed = False
    for path in files:
        name = click.format_filename(path)
        try:
            digests = hash_file(path, _progress(path))
        except (OSError, UnreadableFile, VerifierFault) as error:
            click.echo(f"{name}: {_why_unreadable(error)}", err=True)
            failed = True
            continue
        found.append({"path": name, "size": digests.size, "sha256": digests.sha256, "blake3": digests.blake3})
    if as_json:
        _print_json(found)
    else:
        for entry in found:
            click.echo(f"{entry['path']}\n  size    {entry['size']} bytes")
            click.echo(f"  sha256  {entry['sha256']}\n  blake3  {entry['blake3']}")
    sys.exit(1 if failed else 0)


def _moment(_context: click.Context, _option: click.Parameter, text: str | None) -> float:
    if text is None:
        return SystemClock().now().timestamp()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text.upper():
        raise click.BadParameter(f"expected RFC 3339 such as 2026-01-31T12:00:00Z, found {text!r}")
    if not 0 <= moment.timestamp() < YEAR_10000:
        raise click.BadParameter(f"expected a time from 1970 to 9999, found {text!r}")
    return moment.timestamp()


def _digest(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    if text is not None and (len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef")):
        raise click.BadParameter(f"expected 64 hexadecimal digits, found {text!r}")
    return text


def _read_trust(path: Path) -> Trust:
    try:
        return Trust.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or str(error)
    except UnicodeDecodeError as error:
        why = f"expected UTF-8, found other bytes at offset {error.start}"
    except TrustError as error:
        why = error.message
    raise WrongUsage(f"{click.format_filename(path)}: {why}")


@click.command("verify", help="Verify a file, or a batch of attestations, against approved keys.")
@click.argument("file", required=False, type=FILE)
@click.option("--attestations", type=FILE, help="Verify this file of DSSE envelopes, one a line.")
@click.option("--trust", "trust_path", required=True, type=FILE, help="The approved keys (TRUST.json).")
@click.option("--signature", "signature_path", type=FILE, help="A detached signature of FILE.")
@click.option("--certificates", "certificates_path", type=FILE, help="The signer's certificate chain (PEM).")
@click.option("--timestamp", "timestamp_path", type=FILE, help="An RFC 3161 time stamp of FILE or SIGNATURE.")
@click.option("--declared-sha256", callback=_digest, metavar="HEX", help="What the sender says FILE is.")
@click.option(
    "--at", callback=_moment, metavar="RFC3339", help="The time that counts for keys. Default: now."
)
@click.option("--content", is_flag=True, help="Look inside FILE as well: keys, credentials, rules, parts.")
@click.option("--rules", type=FILE, help="A folder of YARA rules for --content, besides Lotgate's own.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify_command(
    file: Path | None,
    attestations: Path | None,
    trust_path: Path,
    signature_path: Path | None,
    certificates_path: Path | None,
    timestamp_path: Path | None,
    declared_sha256: str | None,
    at: float,
    content: bool,
    rules: Path | None,
    as_json: bool,
) -> None:
    """Exit 0 if everything passed, 1 if anything did not, 2 for wrong usage or an unreadable trust file."""
    if (file is None) == (attestations is None):
        raise click.UsageError("Give either FILE or --attestations FILE.")
    if rules is not None and not content:
        raise click.UsageError("--rules goes with --content.")
    trust = _read_trust(trust_path)
    if attestations is not None:
        if any((signature_path, certificates_path, timestamp_path, declared_sha256, content)):
            raise click.UsageError(
                "--signature, --certificates, --timestamp, --declared-sha256 and --content go with FILE, not "
                "with --attestations."
            )
        passed = _verify_batch(attestations, trust, at, as_json)
    else:
        assert file is not None  # noqa: S101 - one of the two is given
        beside = Beside(
            _read(signature_path), _read(certificates_path), _read(timestamp_path), declared_sha256
        )
        inside = _look_inside(file, rules, at) if content else None
        passed = _verify_one(file, trust, at, beside, inside, as_json)
    sys.exit(0 if passed else 1)


@dataclass(frozen=True, slots=True)
class Beside:
    """What came along with a file."""

    signature: bytes | None
    certificates: bytes | None
    timestamp: bytes | None
    declared_sha256: str | None


def _read(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise WrongUsage(f"{click.format_filename(path or '')}: {error.strerror}") from None


def _look_inside(path: Path, folder: Path | None, at: float) -> ContentReport | Check:
    """What is inside, or why that cannot be told."""
    try:
        return examine_content(path, load_rules(folder), at=at, progress=_progress(path))
    except RulesError as error:
        raise WrongUsage(error.message) from None
    except (OSError, UnreadableFile, VerifierFault) as error:
        return Check("content.profile", Outcome.UNREADABLE, _why_unreadable(error))


def _verify_one(
    path: Path,
    trust: Trust,
    at: float,
    beside: Beside,
    inside: ContentReport | Check | None,
    as_json: bool,
) -> bool:
    report: FileReport | None = None
    try:
        done = verify_file(
            path,
            trust,
            at=at,
            signature=beside.signature,
            certificates=beside.certificates,
            timestamp=beside.timestamp,
            declared_sha256=beside.declared_sha256,
            progress=_progress(path),
        )
        report, outcome, checks = done, done.outcome, done.checks
    except (OSError, UnreadableFile, VerifierFault) as error:
        outcome = Outcome.UNREADABLE
        checks = (Check("firmware.format", outcome, _why_unreadable(error)),)
    name = click.format_filename(path)
    found = inside.checks if isinstance(inside, ContentReport) else () if inside is None else (inside,)
    passed = outcome is Outcome.PASS and all(
        check.outcome in (Outcome.PASS, Outcome.NOT_APPLICABLE) for check in found
    )
    if as_json:
        document = _file_json(name, report, outcome, checks)
        if inside is not None:
            document["content"] = inside.document if isinstance(inside, ContentReport) else None
        _print_json(document)
    else:
        click.echo(f"{name}: {_word(outcome)}")
        if report is not None:
            click.echo(f"  size    {report.size} bytes\n  format  {report.format}")
            click.echo(f"  sha256  {report.sha256}\n  blake3  {report.blake3}")
            _tell_claims(report)
        width = max(len(check.id) for check in (*checks, *found))
        for check in (*checks, *found):
            click.echo(f"  {check.id:{width}}  {_word(check.outcome):14}  {check.reason}")
    return passed


def _tell_claims(report: FileReport) -> None:
    """What the file says of itself, in the words of the pages; long lists as how many there are."""
    image = shown(report.document_json)
    for group in image.groups if image else ():
        click.echo(f"  {_plain(group.title) or 'The file says of itself'}")
        for words, value in group.facts:
            click.echo(f"    {_plain(words)}: {_plain(value.text)}")
        for table in group.tables:
            click.echo(f"    {_plain(table.title)}: {len(table.rows) + table.more}")


def _plain(text: str) -> str:
    """What a stranger wrote moves no cursor and colours no terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _file_json(
    name: str, report: FileReport | None, outcome: Outcome, checks: tuple[Check, ...]
) -> dict[str, object]:
    """The report's own document with the path; of a file that cannot be read at all, as much as is known."""
    if report is not None:
        return {"version": 1, "path": name, **report.document}
    return {
        "version": 1,
        "path": name,
        "size": None,
        "digests": {},
        "format": "unreadable",
        "outcome": outcome,
        "checks": [{"id": check.id, "outcome": check.outcome, "reason": check.reason} for check in checks],
        "signatures": [],
        "claims": {},
    }


def _word(outcome: Outcome) -> str:
    return outcome.replace("_", " ")


def _verify_batch(path: Path, trust: Trust, at: float, as_json: bool) -> bool:
    failures: list[dict[str, object]] = []

    def collect(verdicts: list[EnvelopeVerdict]) -> None:
        failures.extend(
            {
                "line": verdict.line,
                "outcome": verdict.outcome,
                "reason": verdict.reason,
                "subject": verdict.subjects[0][0] if verdict.subjects else None,
            }
            for verdict in verdicts
            if verdict.outcome is not Outcome.PASS
        )

    try:
        report = verify_attestations(path, trust, at=at, sink=collect, progress=_progress(path))
    except (OSError, UnreadableFile, VerifierFault) as error:
        report = BatchReport(0, 0, 0, 0, 0.0, Outcome.UNREADABLE, _why_unreadable(error), {})
        failures.clear()
    if report.total == 0:
        # It is about the file, not about one of its lines.
        failures.append({"line": None, "outcome": report.outcome, "reason": report.reason, "subject": None})
    name = click.format_filename(path)
    if as_json:
        _print_json(
            {
                "version": 1,
                "path": name,
                "total": report.total,
                "pass": report.passed,
                "fail": report.failed,
                "unreadable": report.unreadable,
                "failures": failures,
                "seconds": round(report.seconds, 6),
                "confinement": report.confinement or None,
            }
        )
    else:
        click.echo(f"{name}: {_word(report.outcome)}\n  {report.reason} ({report.seconds:.2f} s)")
        for failure in failures:
            if failure["line"] is not None:
                subject = "" if failure["subject"] is None else f" ({failure['subject']})"
                click.echo(f"  line {failure['line']}{subject}  {failure['outcome']}  {failure['reason']}")
    return report.outcome is Outcome.PASS
