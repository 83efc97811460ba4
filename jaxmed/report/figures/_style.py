"""Common style of all figures: colour-blind safe colours, and vector output for HTML."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, ordered so that neighbours also differ in lightness.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c6d31")
DASHES = ("-", "--", "-.", ":")
INK, MUTED, GRID, PAPER = "#1b1f24", "#667080", "#dde2e8", "#fefefe"

# In a page the colours above become CSS variables, so that a figure follows light and dark.
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"} | {
    colour: f"--c{i}" for i, colour in enumerate(PALETTE)
}

_RC: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxmed",
}


def style() -> Any:
    """Context for making and saving figures that leaves the user's settings unchanged."""
    return matplotlib.rc_context(_RC)


def new_figure(
    width: float = 4.6, height: float = 3.4, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Sequence[Axes]]:
    """Create a figure outside pyplot's global state, and its axes in reading order."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def colour_of(index: int) -> str:
    """Return the colour of the i-th class or curve."""
    return PALETTE[index % len(PALETTE)]


def dash_of(index: int) -> str:
    """Return the line style of the i-th curve, so that colour is never the only difference."""
    return DASHES[(index // len(PALETTE) + index) % len(DASHES)]


def shortened(name: str, limit: int) -> str:
    """Return a name with its middle left out where it is longer than `limit` characters.

    Examples:
        >>> shortened("resnet50_imagenet_seed_3", 13)
        'resnet…seed_3'
    """
    if len(name) <= limit:
        return name
    kept = limit - 1
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def short_names(names: Iterable[str], limit: int) -> dict[str, str]:
    """Return names that fit, all different: without what they share, or without their middle.

    Names of which two would become the same stay as they are.

    Examples:
        >>> short_names(["resnet50_seed_1_all", "resnet50_seed_2_all"], 12)
        {'resnet50_seed_1_all': '…seed_1…', 'resnet50_seed_2_all': '…seed_2…'}
    """
    whole = list(dict.fromkeys(names))
    if all(len(name) <= limit for name in whole):
        return dict(zip(whole, whole))
    start = end = 0
    if len(whole) > 1:
        start = _shared(whole)
        end = _shared([name[start:][::-1] for name in whole])
    start, end = (n if n > 3 else 0 for n in (start, end))
    words = re.findall(r"[^\W_]*[\W_]*", whole[0][:start])
    start -= len(words[-2]) if len(words) > 1 else 0  # What tells them apart keeps its word.
    parts = [name[start : len(name) - end] for name in whole]
    bare = [f"{'…' * (start > 0)}{part}{'…' * (end > 0)}" for part in parts]
    short = [shortened(name, limit) for name in bare]
    return dict(zip(whole, short if len(set(short)) == len(whole) else whole))


def _shared(names: Sequence[str]) -> int:
    """Count the letters with which all names begin."""
    columns = zip(*names)
    return next((i for i, c in enumerate(columns) if len(set(c)) > 1), min(map(len, names)))


def legend(axes: Axes, where: Any) -> None:
    """Draw the legend of curves within the axes, or below them where there are many."""
    marks, names = axes.get_legend_handles_labels()
    if len(names) <= 5:
        axes.legend(loc=where)
    else:
        # A distance in units of the font clears the axis' label however low the axes are.
        axes.legend(
            marks, names, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=4.2, ncols=2
        )


def to_svg(figure: Figure, *, name: str, alt: str) -> str:
    """Write a figure as one inline SVG element that follows the page's colours.

    Args:
        figure: any Matplotlib figure.
        name: unique in the page; all identifiers inside the element start with it.
        alt: alternative text.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, variable in _VARIABLES.items():
        text = re.sub(colour, f"var({variable})", text, flags=re.IGNORECASE)
    # The page scales the drawing; the view box keeps its proportions.
    head, _, body = text.partition(">")
    width = re.search(r'width="([\d.]+)pt"', head)
    head = re.sub(r'\s(width|height)="[\d.]+pt"', "", head)
    limit = f"max-width:{1.55 * float(width.group(1)):.0f}px" if width else ""
    label = _attribute(alt)
    return f'{head} role="img" aria-label="{label}" style="{limit}">{body}'.strip()


def to_png(figure: Figure, *, dpi: float = 160) -> str:
    """Write a figure as a PNG `data:` address."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _attribute(text: str) -> str:
    return (
        text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    )
