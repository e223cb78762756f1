"""Charts as SVG with stable bytes: the same result gives the same file, on every machine.

The font comes with matplotlib and is drawn as outlines, so that nothing depends on what is installed.
Readable without colour: values stand beside the bars, and an area without data says so.
"""

from collections.abc import Sequence
from io import BytesIO
from textwrap import wrap
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from portal.policy.result import AreaResult

INK: Final = "#17212b"
QUIET: Final = "#52606d"
BAR: Final = "#0b5563"
TRACK: Final = "#e9edf1"
LINE: Final = "#d9dfe5"
WIDTH_IN: Final = 6.7  # inches: the width of the text on an A4 page
LABEL_CHARS: Final = 44
FULL: Final = 100

# matplotlib has one set of parameters per process, and nothing else of the portal draws.
mpl.rcParams.update(
    {"svg.hashsalt": "lotgate", "svg.fonttype": "path", "font.family": ["DejaVu Sans"], "font.size": 8.5}
)


def area_scores(areas: Sequence[AreaResult]) -> bytes:
    """Horizontal bars, one for each area in the policy's order: 0 to 100, weight in the label. UTF-8 SVG."""
    height = 0.27 * len(areas) + 0.45
    figure = Figure(figsize=(WIDTH_IN, height))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.42, 0.32 / height, 0.52, 1 - 0.37 / height))
    for row, area in enumerate(areas):
        axes.barh(row, FULL, height=0.62, color=TRACK, zorder=1)
        if area.score is None:
            axes.text(1.5, row, "no data", va="center", color=QUIET, style="italic", zorder=4)
        else:
            axes.barh(row, area.score, height=0.62, color=BAR, zorder=2)
            axes.text(FULL + 1.5, row, str(area.score), va="center", color=INK, weight="bold")
        label = f"{_short(area.title)}  (weight {area.weight})"
        axes.text(-2, row, label, va="center", ha="right", color=INK, parse_math=False)
    axes.set_ylim(len(areas) - 0.5, -0.5)
    axes.set_xlim(0, FULL)
    axes.set_xticks(range(0, FULL + 1, 25))
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0, labelcolor=QUIET, labelsize=7.5)
    axes.grid(axis="x", color=LINE, linewidth=0.6, zorder=3)
    for side in axes.spines.values():
        side.set_visible(False)
    file = BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Creator": None, "Date": None})
    return file.getvalue()


def _short(title: str) -> str:
    lines = wrap(title, LABEL_CHARS) or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]}…"
