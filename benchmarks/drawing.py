"""Panels as SVG, by matplotlib (extra `bench`): the same bytes for the same numbers, readable on light and on dark.

In: panels. Out: a file.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import Panel, digest

__all__ = ["draw"]

# Greys and colours that stand out from white and from near black alike.
_INK, _GRID = "#808890", "#80889050"
_COLOURS = ("#2f81f7", "#d29922", "#3fa65a", "#d0587e")
_STYLE = {
    "svg.hashsalt": "postroom",  # ids are random otherwise
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "axes.titlesize": 10,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
}


def draw(panels: list[Panel], path: Path) -> None:
    """Draw the panels, two in a row."""
    with mpl.rc_context(_STYLE):
        rows = (len(panels) + 1) // 2
        figure = Figure(figsize=(9, 2.9 * rows), layout="constrained")
        for number, panel in enumerate(panels, 1):
            axes = figure.add_subplot(rows, 2, number)
            axes.set_title(panel.title)
            if panel.x:
                _lines(axes, panel)
            else:
                _bars(axes, panel)
        metadata = {"Date": None, "Creator": None, "Description": digest(panels)}
        figure.savefig(path, format="svg", transparent=True, metadata=metadata)
    # The library leaves blanks at ends of lines.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def _lines(axes: Axes, panel: Panel) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for colour, series in zip(_COLOURS, panel.series, strict=False):
        style = {"linestyle": "--", "color": _INK} if series.predicted else {"marker": "o", "color": colour}
        axes.plot(series.x, series.y, markersize=4, label=series.label, **style)
    axes.yaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.LogFormatter(minor_thresholds=(1, 0.4)))
    axes.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,g}"))
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.grid(visible=True, which="major")
    axes.legend(frameon=False, fontsize=8)


def _bars(axes: Axes, panel: Panel) -> None:
    (series,) = panel.series
    colours = [_COLOURS[0] if name.startswith("Postroom") else _INK for name in series.x]
    bars = axes.barh(series.x, series.y, color=colours)
    axes.bar_label(
        bars, labels=[f"{figure:,.4g}" if figure < 100 else f"{figure:,.0f}" for figure in series.y], padding=3
    )
    axes.invert_yaxis()
    axes.set_xmargin(0.25)
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
