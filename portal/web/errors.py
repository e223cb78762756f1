"""Every error as a page that says what happened and what to do; never a traceback.

Programs (`/api/`, `/files/`) get problem+json here for what their own blueprints cannot catch, such as an
address that no route has.
"""

from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, jsonify, render_template, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from portal.db import new_id
from portal.errors import InvalidInput, LotgateError, Problem
from portal.http.context import session
from portal.http.gate import wants_page
from portal.http.status import status_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a status means here, in words for a person."""

    title: str
    text: str


EXPLANATIONS = {
    400: Explanation(
        "That request could not be read",
        "Something in it is missing or malformed. Go back, reload the page and send it again.",
    ),
    401: Explanation("Please sign in", "This page is for people with an account here."),
    403: Explanation(
        "Your role does not allow this",
        "You are signed in, but your account may not do this. If it should, ask your administrator.",
    ),
    404: Explanation(
        "There is no such page",
        "The address may be mistyped, or what it named is not yours to see.",
    ),
    405: Explanation(
        "Not this way", "The page exists, but not for this kind of request. Go back and use its buttons."
    ),
    409: Explanation(
        "This has changed in the meantime",
        "What you acted on is no longer in the state that this needs. Look at it again before you go on.",
    ),
    410: Explanation("This has ended", "It was here, and has expired or been withdrawn."),
    413: Explanation(
        "That is too large", "What you sent is over a limit. Large files go through the upload field."
    ),
    415: Explanation("Not this kind of content", "What you sent is of a type that this page does not take."),
    422: Explanation(
        "Some of it is not right", "What you sent was understood, and has to be corrected first."
    ),
    429: Explanation("Too many tries", "Wait a little before you try again. Nothing was changed."),
    460: Explanation(
        "The file arrived damaged", "Its bytes are not those that were announced. Send it again."
    ),
    500: Explanation(
        "Something broke on our side",
        "It is not your fault and nothing half-done was kept. It has been recorded with the reference below.",
    ),
    503: Explanation(
        "Not available right now", "The portal is busy or being maintained. Try again in a moment."
    ),
    507: Explanation(
        "The file could not be kept safely",
        "Nothing was acknowledged, so nothing is lost. Try again; if it stays, tell the administrator.",
    ),
}


def init_app(app: Flask) -> None:
    app.register_error_handler(LotgateError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(OperationalError, _busy)
    app.register_error_handler(Exception, _unexpected)


def explain(status: int) -> Explanation:
    """What `status` means here; a status without a text of ours takes its standard phrase."""
    if status in EXPLANATIONS:
        return EXPLANATIONS[status]
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "Error"
    return Explanation(phrase, EXPLANATIONS[500 if status >= 500 else 400].text)


def _ours(error: LotgateError) -> Response:
    status = status_of(error)
    if status == 500:
        return _unexpected(error)
    problems = error.problems if isinstance(error, InvalidInput) else ()
    return _answer(status, error.message, problems, code=error.code)


def _http(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect, or an answer made elsewhere
    # A description of our own (abort(409, "…"), a CSRF failure) is worth showing; the stock text is not.
    own = error.description if error.description != type(error).description else ""
    answer = _answer(error.code, own or "")
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers.setdefault(name, value)
    return answer


def _busy(error: OperationalError) -> Response:
    log.error("database_unavailable", path=request.path, exc_info=error)
    answer = _answer(503, "")
    answer.headers["Retry-After"] = "5"
    return answer


def _unexpected(error: Exception) -> Response:
    reference = new_id()[:12]  # what a person can quote and an operator can find in the log
    log.error("unexpected_error", reference=reference, path=request.path, exc_info=error)
    return _answer(500, "", reference=reference)


def _answer(
    status: int,
    message: str,
    problems: tuple[Problem, ...] = (),
    *,
    code: str = "",
    reference: str = "",
) -> Response:
    session().rollback()  # whatever the handler had begun ends here
    explanation = explain(status)
    if not wants_page():
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": explanation.title,
            "status": status,
            "detail": message or explanation.text,
            "code": code or f"http_{status}",
        }
        if problems:
            body["problems"] = [asdict(problem) for problem in problems]
        if reference:
            body["reference"] = reference
        answer = jsonify(body)
        answer.content_type = "application/problem+json"
    else:
        # htmx puts the answer into a part of a page: there only the message belongs.
        part = request.headers.get("HX-Request") == "true"
        answer = Response(
            _page(
                "errors/part.html" if part else "errors/error.html",
                status=status,
                explanation=explanation,
                message=message,
                problems=problems,
                reference=reference,
            )
        )
    answer.status_code = status
    return answer


def _page(template: str, *, status: int, explanation: Explanation, **values: Any) -> str:
    """The page; where even that fails (its frame asks the database who is signed in), the bare words."""
    try:
        return render_template(template, status=status, explanation=explanation, **values)
    except Exception as error:
        if status < 500:
            raise
        log.error("error_page_failed", path=request.path, exc_info=error)
        return f"<!doctype html><title>{status}</title><h1>{explanation.title}</h1><p>{explanation.text}</p>"
