"""Bootstrap's icons, drawn into the page from Bootstrap-Flask's wheel: no request, no copy in git."""

import re
from functools import cache
from importlib.resources import files

from markupsafe import Markup

_SYMBOL = re.compile(r'<symbol ([^>]*)id="([a-z0-9-]+)"[^>]*>(.*?)</symbol>', re.DOTALL)


@cache
def _symbols() -> dict[str, str]:
    sprite = files("flask_bootstrap") / "static" / "bootstrap5" / "icons" / "bootstrap-icons.svg"
    return {name: body.strip() for _, name, body in _SYMBOL.findall(sprite.read_text(encoding="utf-8"))}


@cache
def icon(name: str, title: str = "") -> Markup:
    """The icon as inline SVG in the colour and size of the text around it.

    Without a title it is decoration and hidden from screen readers. Raises KeyError for an unknown name.
    """
    label = Markup('role="img" aria-label="{}"').format(title) if title else 'aria-hidden="true"'
    body = _symbols()[name]
    return Markup(  # noqa: S704  # the body comes out of the wheel, the label is escaped
        f'<svg class="icon" viewBox="0 0 16 16" fill="currentColor" focusable="false" {label}>{body}</svg>'
    )
