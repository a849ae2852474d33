"""Drawing a run: a panel a row with a dot for everybody who took part, and the growth as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

_COLOURS = {"bare": "#bbbbbb", "limit": "#56b4e9", "resilio": "#009e73", "reference": "#999999", "peer": "#e69f00"}
_COLUMNS = 4


def draw(run: dict[str, Any], path: Path) -> None:
    """Draw what `results.as_json` gave into a file whose name ends in .svg or .png."""
    rows = [each for each in run["rows"] if len(each["contestants"]) > 1]
    panels = [*((_draw_row, each) for each in rows), *((_draw_growth, each) for each in run["growth"])]
    lines = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(5.2 * _COLUMNS, 3.6 * lines))
    flat = list(figure.subplots(lines, _COLUMNS, squeeze=False).flat)
    for axis, (panel, data) in zip(flat, panels, strict=False):
        panel(axis, data)
    for axis in flat[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(f"resilio and its peers · {run['date'][:10]} · {run['python']} · {run['machine']}")
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none"}):  # text stays text, which is smaller
        figure.savefig(path, dpi=110)


def _draw_row(axis: Axes, row: dict[str, Any]) -> None:
    slowest_first = [each for each in reversed(row["contestants"]) if each["ns"] > 0]  # a difference may be nothing
    names = [each["name"] for each in slowest_first]
    times = [each["ns"] for each in slowest_first]
    axis.hlines(names, min(times), times, color="#dddddd", linewidth=1)
    axis.scatter(times, names, color=[_COLOURS[each["kind"]] for each in slowest_first], zorder=2)
    axis.set_xscale("log")
    axis.set_title(row["title"], fontsize=9)
    axis.set_xlabel("ns, logarithmic", fontsize=8)
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
    axis.legend(fontsize=7, framealpha=0.5)
