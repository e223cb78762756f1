"""File names from outside: for display only, never a path."""

import re
import unicodedata

LONGEST = 255  # characters
# Control and format characters (which hold the bidirectional overrides), surrogates, line separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def display_name(given: str) -> str:
    """`given` as it may be shown: its last path component, without characters that hide or reverse text.

    The ending is kept when the name is cut to 255 characters. Nothing left: "unnamed".
    """
    last = re.split(r"[/\\]", given)[-1]
    shown = "".join(char for char in last if unicodedata.category(char) not in _HIDDEN)
    shown = unicodedata.normalize("NFC", shown).strip()
    if len(shown) > LONGEST:
        stem, dot, ending = shown.rpartition(".")
        keep = f"…{dot}{ending}" if stem and len(ending) <= 20 else "…"
        shown = shown[: LONGEST - len(keep)] + keep
    return shown if shown.strip(". ") else "unnamed"
