"""How many units of a lot to test. No database here."""

from typing import Final

# MIL-STD-105E, Tables I and II-A: general inspection level II, normal inspection. (Largest lot, sample.)
PLAN: Final = "MIL-STD-105E, level II, normal"
_SIZES: Final = (
    (8, 2), (15, 3), (25, 5), (50, 8), (90, 13), (150, 20), (280, 32), (500, 50), (1200, 80), (3200, 125),
    (10_000, 200), (35_000, 315), (150_000, 500), (500_000, 800),
)  # fmt: skip
_LARGEST: Final = 1250


def plan_size(units: int) -> int:
    """How many of a lot to test by the plan above; all of them where the sample is as large as the lot."""
    return min(units, next((sample for most, sample in _SIZES if units <= most), _LARGEST))
