"""What was found inside an image, laid out for people: findings, certificates, parts, strings, entropy."""

import json
from dataclasses import dataclass
from typing import Any, Final

from portal.submissions.firmware.shown import Table, table

CHART_HEIGHT: Final = 80
_MAX_BITS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Inside:
    """`chart`: the points of a line over the file, 0 to 8 bits per byte; `summary`: the same in words."""

    tables: tuple[Table, ...]
    chart: str
    width: int
    summary: str


def shown_inside(document_json: str | None) -> Inside | None:
    """`content` of a report (a JSON document of docs/formats.md) for a page; None where there is none."""
    content: dict[str, Any] | None = json.loads(document_json).get("content") if document_json else None
    if not content:
        return None
    profile = content["profile"]
    entropy = profile["entropy"]
    findings = [
        {"finding": item["what"], "level": item["level"], "offset": item["offset"], "bytes": item["length"]}
        for item in content["findings"]
    ]
    certificates = [
        {name: item[name] for name in ("subject", "issuer", "not_after", "algorithm", "offset")}
        | {"remarks": "; ".join(item["concerns"])}
        for item in content["certificates"]
    ]
    parts = [
        {name: part[name] for name in ("name", "version", "supplier", "identifier")}
        for document in content["sbom"]
        for part in document["components"]
    ]
    tables = (
        table("Found inside", findings),
        table("Certificates inside", certificates),
        table("Public keys inside", content["public_keys"]),
        table("Parts that the image lists", parts),
        table("File systems, archives and programs", profile["members"]),
        table("Telling strings", profile["strings"]),
    )
    buckets = entropy["buckets"]
    summary = (
        f"{entropy['bits_per_byte']} bits per byte over all; {entropy['dense_percent']} % of the file looks "
        f"compressed or encrypted. Each step is {entropy['bucket_bytes']} bytes."
    )
    return Inside(
        tables=tuple(item for item in tables if item.rows),
        chart=" ".join(f"{at},{_height(bits)} {at + 1},{_height(bits)}" for at, bits in enumerate(buckets)),
        width=max(1, len(buckets)),
        summary=summary,
    )


def _height(bits: float) -> float:
    """From the top of the chart down, as SVG counts."""
    return round(CHART_HEIGHT * (1 - min(bits, _MAX_BITS) / _MAX_BITS), 1)
