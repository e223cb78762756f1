"""`lotgate serve` and `lotgate worker`: the two long-running forms."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

import click

from portal import logs
from portal.cli.database import prepare
from portal.cli.listening import gunicorn_line
from portal.jobs.worker import Worker
from portal.ledger import witnesses
from portal.settings import Settings, load_settings

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """In a child: end when the supervisor is gone, even if it was killed with -9 (Linux prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def web_command_line(settings: Settings) -> list[str]:
    """gunicorn for this portal: one process, `web_threads` threads (an upload holds one)."""
    return gunicorn_line(settings.host, settings.port, settings.web_threads, "portal.wsgi:application")


def supervise(settings: Settings, *, with_worker: bool) -> int:
    """Run the web server, and a worker beside it, until SIGTERM or SIGINT; a dead worker is started again.

    Returns the exit status of the web server.
    """
    environment = dict(os.environ)
    worker_line = [sys.executable, "-m", "portal.cli", "worker", "--no-upgrade"]
    web = subprocess.Popen(web_command_line(settings), env=environment, preexec_fn=_die_with_parent)
    worker: subprocess.Popen[bytes] | None = None
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    started = 0.0
    while not ending.is_set() and web.poll() is None:
        if with_worker and (worker is None or worker.poll() is not None):
            if worker is not None:
                click.echo(f"The worker ended with status {worker.returncode}; starting another.", err=True)
                ending.wait(max(0.0, 1.0 - (time.monotonic() - started)))
            started = time.monotonic()
            worker = subprocess.Popen(worker_line, env=environment, preexec_fn=_die_with_parent)
        ending.wait(0.2)
    for child in (web, worker):
        if child is not None and child.poll() is None:
            child.terminate()
    for child in (web, worker):
        if child is not None:
            try:
                child.wait(40)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    return 0 if ending.is_set() else web.returncode


@click.command("serve", help="Serve the portal (on SQLite: with one worker beside it).")
@click.option("--worker/--no-worker", default=None, help="Run a worker as well. Default: yes on SQLite.")
def serve_command(worker: bool | None) -> None:
    settings = load_settings()
    logs.configure(settings.log_level)
    witnesses.configured(settings.witnesses)  # a file that cannot be used is told now
    prepare(settings)
    embedded = settings.database.startswith("sqlite")
    click.echo(f"Serving {settings.public_url} (Ctrl+C ends it)", err=True)
    sys.exit(supervise(settings, with_worker=embedded if worker is None else worker))


@click.command("worker", help="Run the jobs: verification, re-assessment, mail.")
@click.option("--no-upgrade", is_flag=True, hidden=True, help="The caller has upgraded the database.")
def worker_command(no_upgrade: bool) -> None:
    settings = load_settings()
    logs.configure(settings.log_level)
    if not no_upgrade:
        prepare(settings)
    witnesses.configured(settings.witnesses)
    worker = Worker(settings)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    signal.signal(signal.SIGINT, lambda *_: ending.set())
    worker.start()
    while not ending.wait(1.0):
        pass
    worker.stop()
