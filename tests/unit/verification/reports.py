"""What holds for the report on every file: it fits its schema, and a page can show all of it in words."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import jsonschema_rs

from portal.submissions.firmware.shown import Image, Value, shown
from portal.submissions.firmware.words import VERBATIM

SCHEMA: dict[str, Any] = json.loads((files("portal.verification") / "report.schema.json").read_text())
_VALIDATOR = jsonschema_rs.Draft202012Validator(SCHEMA, validate_formats=True)
_NAME = re.compile(r"[a-z0-9]+_[a-z0-9_]+")  # as machines write it


def hold(document_json: str) -> None:
    """Raises where the report breaks its schema or a page would show the names and brackets of machines."""
    document = json.loads(document_json)
    _VALIDATOR.validate(document)
    image = shown(document_json)
    assert image is not None
    for title, words, value in _shown(image):
        if not any(title.endswith(name.replace("_", " ").capitalize()) for name in VERBATIM):
            assert not _NAME.fullmatch(words), (title, words)
        assert not re.match(r"[\[{]['\"]", value.text), (title, words, value)


def names(schema: Mapping[str, Any]) -> set[str]:
    """The members that a part of the schema lists, with those inside them."""
    found: set[str] = set()
    for name, inner in schema.get("properties", {}).items():
        found |= {name} | names(inner)
    if "items" in schema:
        found |= names(schema["items"])
    if "$ref" in schema:
        found |= names(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    return found


def occurring(value: object) -> set[str]:
    """The members that occur in a value of a report, at any depth."""
    if isinstance(value, dict):
        return set(value).union(*(occurring(inner) for inner in value.values()))
    return set().union(*(occurring(item) for item in value)) if isinstance(value, list) else set()


def _shown(image: Image) -> Iterator[tuple[str, str, Value]]:
    for group in image.groups:
        for words, value in group.facts:
            yield group.title, words, value
        for table in group.tables:
            for row in table.rows:
                for words, value in zip(table.columns, row, strict=True):
                    yield group.title, words, value
