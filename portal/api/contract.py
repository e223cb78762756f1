"""What a route of the API takes and gives, said once: parsed strictly, answered exactly, written down.

A handler's annotations are its contract: `body` and `query` are models, a path segment is a string, the
result is a model. From the same annotations comes the OpenAPI 3.1 document.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, get_type_hints

from flask import Blueprint, Response, abort, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import models_json_schema

from portal.accounts.permissions import Permission
from portal.errors import InvalidInput, Problem
from portal.submissions import strictjson

BODY_MAX_BYTES: Final = 1 << 20
PROBLEMS_MAX: Final = 100
_REFERENCE: Final = "#/components/schemas/{model}"
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Given(BaseModel):
    """Something a client sends: no unknown member, no other type, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Asked(BaseModel):
    """The part of the address after the question mark: text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(BaseModel):
    """Something the API answers."""

    model_config = ConfigDict(frozen=True)


class ProblemPart(Told):
    """One thing that is wrong: where, what was expected, what was found, how to put it right."""

    where: str
    expected: str
    found: str
    fix: str


class ProblemDetails(Told):
    """An error (RFC 9457). `code` is stable."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: list[ProblemPart] = Field(default_factory=list)
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One operation of the document."""

    method: str
    path: str
    name: str
    summary: str
    permission: Permission
    status: int
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    result: type[BaseModel] | None
    raw: bool


@dataclass(slots=True)
class Contract:
    """The routes of one blueprint."""

    blueprint: Blueprint
    routes: list[Route] = field(default_factory=list)

    def route(
        self, method: str, path: str, permission: Permission, *, status: int = 200, raw: bool = False
    ) -> Callable[[Handler], Handler]:
        """Register a handler. `path` is as OpenAPI writes it (`/products/{product_id}`).

        `raw`: the body is a file. The access table must hold the same permission: a test compares.
        """

        def register(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            result = hints.get("return")
            route = Route(
                method=method,
                path=path,
                name=handler.__name__,
                summary=(inspect.getdoc(handler) or "").partition("\n")[0],
                permission=permission,
                status=status,
                body=hints.get("body"),
                query=hints.get("query"),
                result=result if isinstance(result, type) and issubclass(result, BaseModel) else None,
                raw=raw,
            )
            self.routes.append(route)
            self.blueprint.add_url_rule(
                path.replace("{", "<").replace("}", ">"),
                endpoint=handler.__name__,
                view_func=_view(route, handler),
                methods=[method],
            )
            return handler

        return register

    def document(self, title: str, version: str, server: str) -> dict[str, Any]:
        """The OpenAPI 3.1 document of all routes."""
        inputs = {model for route in self.routes for model in (route.body, route.query) if model}
        results = {route.result for route in self.routes if route.result} | {ProblemDetails}
        names, definitions = models_json_schema(
            [(model, "validation") for model in sorted(inputs, key=_name)]
            + [(model, "serialization") for model in sorted(results, key=_name)],
            ref_template=_REFERENCE,
        )
        schemas = definitions.get("$defs", {})
        paths: dict[str, dict[str, Any]] = {}
        for route in self.routes:
            operation = _operation(route, names, schemas)
            paths.setdefault(route.path, {})[route.method.lower()] = operation
        return {
            "openapi": "3.1.0",
            "info": {"title": title, "version": version},
            "servers": [{"url": server}],
            "security": [{"bearer": []}],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
        }


def _view(route: Route, handler: Callable[..., Any]) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        values: dict[str, Any] = dict(path)
        if route.query is not None:
            values["query"] = _query(route.query)
        elif request.args:
            abort(400, f"Expected no query, found {sorted(request.args)[0][:60]!r}.")
        if route.body is not None:
            values["body"] = _body(route.body)
        result = handler(**values)
        if result is None:
            return Response(status=route.status)
        return Response(result.model_dump_json(), status=route.status, mimetype="application/json")

    return view


def _body(model: type[BaseModel]) -> BaseModel:
    if request.mimetype != "application/json" or "Content-Encoding" in request.headers:
        abort(415, "Expected Content-Type: application/json, in UTF-8, without Content-Encoding.")
    if request.mimetype_params.get("charset", "utf-8").lower() != "utf-8":
        abort(415, "Expected JSON in UTF-8.")
    data = request.get_data(cache=False)
    try:
        strictjson.parse(data, "body")
    except InvalidInput as error:
        abort(400, "; ".join(str(problem) for problem in error.problems) or error.message)
    return _validated(lambda: model.model_validate_json(data))


def _query(model: type[BaseModel]) -> BaseModel:
    for name in request.args:
        if len(request.args.getlist(name)) > 1:
            abort(400, f"Expected {name[:60]!r} once in the query, found it more often.")
    return _validated(lambda: model.model_validate(request.args.to_dict()))


def _validated(validate: Callable[[], BaseModel]) -> BaseModel:
    try:
        return validate()
    except ValidationError as error:
        problems = tuple(
            Problem(
                where=".".join(str(step) for step in item["loc"]) or "body",
                expected=item["msg"],
                found=_found(item["input"]),
            )
            for item in error.errors(include_url=False, include_context=False)[:PROBLEMS_MAX]
        )
        raise InvalidInput("The request is not as the API expects it.", problems) from None


def _found(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(route: Route, names: dict[Any, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="ProblemDetails")}}}
    success: dict[str, Any] = {"description": "Done"}
    if route.result is not None:
        success["content"] = {"application/json": {"schema": names[route.result, "serialization"]}}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"Needs the permission `{route.permission.value}`.",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in _placeholders(route.path)
        ],
        "responses": {str(route.status): success, "default": {"description": "Refused", "content": problem}},
    }
    if route.query is not None:
        schema = schemas[names[route.query, "validation"]["$ref"].rpartition("/")[2]]
        operation["parameters"] += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": part}
            for name, part in schema["properties"].items()
        ]
    if route.body is not None:
        content = {"application/json": {"schema": names[route.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    elif route.raw:
        content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _placeholders(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]
