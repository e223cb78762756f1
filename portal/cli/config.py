"""`lotgate config`: every setting with type, unit, default, and the value in force."""

import json
from dataclasses import fields
from typing import Any, get_type_hints

import click

from portal.settings import Settings, load_settings


def describe(settings: Settings) -> list[dict[str, Any]]:
    """One row a setting: variable, type, unit, default, value (secrets hidden), text."""
    kinds = get_type_hints(Settings)
    rows = []
    for item in fields(Settings):
        value = getattr(settings, item.name)
        if item.name == "secret_key" and value:
            value = "(set)"
        kind = kinds[item.name]
        rows.append(
            {
                "variable": f"LOTGATE_{item.name.upper()}",
                "type": getattr(kind, "__name__", "Path"),
                "unit": item.metadata["unit"],
                "default": None if item.default in (None, "") else str(item.default),
                "value": None if value in (None, "") else str(value),
                "text": item.metadata["text"],
            }
        )
    return rows


@click.command("config", help="List every setting: type, unit, default, and the value in force.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def config_command(as_json: bool) -> None:
    rows = describe(load_settings())
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo("Set by environment variable, or by the name without LOTGATE_ (lower case) in lotgate.toml,")
    click.echo("or in the TOML file named by LOTGATE_CONFIG. The environment wins.\n")
    for row in rows:
        default = "none" if row["default"] is None else row["default"]
        changed = "" if row["value"] == row["default"] else f"  (now: {row['value']})"
        click.echo(f"{row['variable']}  {row['type']}, {row['unit']}, default {default}{changed}")
        click.echo(f"    {row['text']}")
