"""`lotgate witness`: a witness of transparency logs, on any machine (C2SP tlog-witness)."""

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from portal.adapters.witness_folder import WitnessFolder
from portal.cli.listening import gunicorn_line
from portal.clock import Clock, SystemClock
from portal.errors import LedgerError, LotgateError, StorageFailed
from portal.ledger.notes import VerifierKey
from portal.ledger.policies import MAX_POLICY
from portal.ledger.witnessing import MAX_REQUEST, SIZE_TYPE, Answer, Refused

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

FOLDER = click.Path(file_okay=False, path_type=Path)
THREADS = 8


@click.group("witness", help="See for others that a log only grows, and sign what was seen.")
def witness_group() -> None: ...


@witness_group.command("init", help="Make a witness with new keys in FOLDER, and print its public keys.")
@click.argument("folder", type=FOLDER)
@click.option(
    "--name", required=True, help="How it is called in its keys: an address you own, without https://"
)
def init_command(folder: Path, name: str) -> None:
    made = WitnessFolder.create(folder, name)
    click.echo(
        f"Made, with private keys in {folder / 'keys'}. Never restore this folder from a backup:", err=True
    )
    click.echo("it remembers what was signed. For policies, with the address where you serve it:", err=True)
    for key, suffix in zip(made.signer.verifier_keys(), ("", "-ml-dsa-44"), strict=True):
        click.echo(f"witness {name}{suffix} {key} https://{name}")


@witness_group.command(
    "add", help="Know logs: their verifier keys, or files (keys one a line, or a tlog-policy)."
)
@click.argument("folder", type=FOLDER)
@click.argument("logs", nargs=-1, required=True)
def add_command(folder: Path, logs: tuple[str, ...]) -> None:
    found = [key for one in logs for key in _keys(one)]
    if not found:
        raise LedgerError("there is no key of a log in it")
    new = WitnessFolder.open(folder).add(found)
    for key in new:
        click.echo(f"Known from now on: {key.name}, key {key.id.hex()} ({key.kind.name.replace('_', '-')})")
    if not new:
        click.echo("All of these are known already.")


@witness_group.command("show", help="The public keys of a witness, and what it cosigned last of each log.")
@click.argument("folder", type=FOLDER)
def show_command(folder: Path) -> None:
    found = WitnessFolder.open(folder)
    for key in found.signer.verifier_keys():
        click.echo(str(key))
    for origin in dict.fromkeys(key.name for key in found.logs()):
        size = found.last(origin).checkpoint.size
        click.echo(f"{origin}: {f'{size:,} entries cosigned' if size else 'nothing cosigned yet'}")


@witness_group.command("serve", help="Serve POST /add-checkpoint, and GET /HASH/checkpoint for monitors.")
@click.argument("folder", type=FOLDER)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8100, show_default=True, type=click.IntRange(1, 65535))
def serve_command(folder: Path, host: str, port: int) -> None:
    found = WitnessFolder.open(folder)  # a damaged one is told here, before anything listens
    count = len({key.name for key in found.logs()})
    click.echo(f"{found.signer.name} witnesses {count} logs on {host}:{port} (Ctrl+C ends it)", err=True)
    sys.stderr.flush()
    line = gunicorn_line(host, port, THREADS, f"portal.cli.witness:application({str(folder.absolute())!r})")
    os.execv(sys.executable, line)  # noqa: S606 # a list, without a shell


def _keys(text: str) -> list[VerifierKey]:
    """The keys in a file, or the one that `text` is."""
    path = Path(text)
    if "\n" in text or not path.is_file():
        return [VerifierKey.parse(text)]
    if path.stat().st_size > MAX_POLICY:
        raise LedgerError(f"{path}: expected at most {MAX_POLICY:,} bytes")
    found = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#") or words[0] in {"witness", "group", "quorum"}:
            continue
        try:
            found.append(VerifierKey.parse(words[1] if words[0] == "log" and words[1:] else words[0]))
        except LedgerError as error:
            raise LedgerError(f"{path}, line {number}: {error.message}") from None
    return found


# --- Over HTTP ------------------------------------------------------------------------------------


def application(folder: str, clock: Clock | None = None) -> "WSGIApplication":
    """The witness in a folder, for a WSGI server."""
    witness = WitnessFolder.open(Path(folder))
    told = clock or SystemClock()

    @Request.application
    def answer(request: Request) -> Response:
        request.max_content_length = MAX_REQUEST
        if request.path == "/add-checkpoint":
            if request.method != "POST":
                return _text(405, "only POST\n", {"Allow": "POST"})
            return _add_checkpoint(witness, told, request)
        if request.method in {"GET", "HEAD"} and (
            asked := re.fullmatch("/([0-9a-f]{64})/checkpoint", request.path)
        ):
            return _newest(witness, asked[1])
        return _text(404, "this is a witness: POST /add-checkpoint (c2sp.org/tlog-witness)\n")

    return answer


def _add_checkpoint(witness: WitnessFolder, clock: Clock, request: Request) -> Response:
    try:
        return _text(Answer.COSIGNED, witness.add_checkpoint(request.get_data(), clock))
    except Refused as refused:
        if refused.size is not None:
            return Response(f"{refused.size}\n", refused.answer, content_type=SIZE_TYPE)
        return _text(refused.answer, f"{refused.message}\n")
    except RequestEntityTooLarge:
        return _text(413, f"a request has at most {MAX_REQUEST} bytes\n")
    except (LedgerError, StorageFailed) as error:  # its own state: nothing was signed
        click.echo(f"NOT COSIGNED: {error.message}", err=True)
        return _text(500, "the witness cannot cosign at present\n")


def _newest(witness: WitnessFolder, wanted: str) -> Response:
    for origin in {key.name for key in witness.logs()}:
        if hashlib.sha256(origin.encode()).hexdigest() == wanted:
            try:
                note = witness.last(origin)
            except LotgateError as error:
                click.echo(error.message, err=True)
                return _text(500, "the witness is damaged\n")
            if note.signatures:
                return _text(200, str(note))
    return _text(404, "nothing was cosigned of such a log\n")


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    own = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(text, status, own | (headers or {}), content_type="text/plain; charset=utf-8")
