"""How a server of ours is started."""

import sys


def gunicorn_line(host: str, port: int, threads: int, application: str) -> list[str]:
    """One process of gunicorn with so many threads, before which nginx or the like may stand."""
    host = f"[{host}]" if ":" in host else host
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind",
        f"{host}:{port}",
        "--worker-class",
        "gthread",
        "--workers",
        "1",
        "--threads",
        str(threads),
        "--timeout",
        "120",
        "--graceful-timeout",
        "20",
        "--keep-alive",
        "15",
        "--log-level",
        "warning",
        application,
    ]
