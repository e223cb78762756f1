"""Headers that keep a page what it is: nothing inline, nothing foreign, nothing framed, nothing kept."""

from pathlib import Path

from flask import Flask, Response, current_app, g, request

from portal.http.context import parts

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TWO_YEARS = 63_072_000
STATIC_ENDPOINTS = frozenset({"static", "bootstrap.static"})


def init_app(app: Flask) -> None:
    app.after_request(_protect)
    app.url_defaults(_stamp)


def _protect(response: Response) -> Response:
    """A handler that needs something stricter or other (a download) sets it first: what is set stays."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if parts().settings.secure_cookies:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={TWO_YEARS}; includeSubDomains")
    if request.endpoint in STATIC_ENDPOINTS:
        if "v" in request.args and response.status_code == 200:
            response.headers["Cache-Control"] = f"public, max-age={TWO_YEARS}, immutable"
    elif g.get("actor") is not None:
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def _stamp(endpoint: str, values: dict[str, object]) -> None:
    """Static addresses carry the file's time and size, so that they may be kept for good."""
    if endpoint != "static" or "filename" not in values or "v" in values or not current_app.static_folder:
        return
    try:
        found = (Path(current_app.static_folder) / str(values["filename"])).stat()
    except OSError:
        return  # not built yet: the page works without
    values["v"] = f"{found.st_mtime_ns ^ found.st_size:x}"
