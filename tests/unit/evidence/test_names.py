import pytest

from portal.evidence.names import display_name


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("bms-2.1.0.bin", "bms-2.1.0.bin"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/", "unnamed"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("nul\x00.bin", "nul.bin"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("zero\u200bwidth.bin", "zerowidth.bin"),
        ("e\u0301.bin", "\u00e9.bin"),
        ("\ud800.bin", ".bin"),
    ],
)
def test_a_name_is_only_ever_shown(given: str, shown: str) -> None:
    assert display_name(given) == shown


def test_a_long_name_keeps_its_ending() -> None:
    shown = display_name("x" * 400 + ".tar.gz")
    assert len(shown) == 255
    assert shown.endswith("….gz")
