"""Drawing a run: the rows as bars in multiples of a bare call, and the growth as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("agg")  # before pyplot: there may be no display

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

_COLOURS = {"bare": "#bbbbbb", "limit": "#56b4e9", "resilio": "#009e73", "reference": "#999999", "peer": "#e69f00"}
_COLUMNS = 4


def draw(run: dict[str, Any], path: Path) -> None:
    """Draw what `results.as_json` gave into a file whose name ends in .svg or .png."""
    rows = [each for each in run["rows"] if each["contestants"]]
    panels = [*((_draw_row, each) for each in rows), *((_draw_growth, each) for each in run["growth"])]
    lines = -(-len(panels) // _COLUMNS)
    figure, axes = plt.subplots(lines, _COLUMNS, figsize=(5.2 * _COLUMNS, 3.6 * lines), squeeze=False)
    flat = list(axes.flat)
    for axis, (panel, data) in zip(flat, panels, strict=False):
        panel(axis, data)
    for axis in flat[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(f"resilio and its peers · {run['date'][:10]} · {run['python']} · {run['machine']}")
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_row(axis: Axes, row: dict[str, Any]) -> None:
    slowest_first = list(reversed(row["contestants"]))
    names = [each["name"] for each in slowest_first]
    axis.barh(names, [each["ns"] for each in slowest_first], color=[_COLOURS[each["kind"]] for each in slowest_first])
    axis.set_xscale("log")
    axis.set_title(row["title"], fontsize=9)
    axis.set_xlabel("ns, shorter is better", fontsize=8)
    axis.tick_params(labelsize=7)


def _draw_growth(axis: Axes, growth: dict[str, Any]) -> None:
    for name, points in growth["lines"].items():
        axis.plot(growth["labels"] or growth["xs"], [each["ns"] for each in points], marker="o", label=name)
    if not growth["labels"] and growth["xs"][0] > 0:
        axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_title(growth["title"], fontsize=9)
    axis.set_ylabel("ns", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7)
