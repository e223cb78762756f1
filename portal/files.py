"""Where the files lie that come with the portal."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """`templates` or `migrations`: beside the package in a checkout, inside it (`_data/`) in a wheel."""
    packed = PACKAGE / "_data" / name
    return packed if packed.is_dir() else PACKAGE.parent / name
