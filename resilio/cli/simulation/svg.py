"""The same picture as a file for a page or a report; it follows the reader's light or dark mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, tostring

from resilio.cli.simulation.plot import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resilio.cli.simulation.outcome import Outcome
    from resilio.cli.simulation.scenario import Scenario

__all__ = ("as_svg",)

_WIDTH: Final = 760
_PLOT: Final = 660
_LEFT: Final = 60
_ROW: Final = 130
_HEIGHT: Final = 70
_STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.name { font-weight: 600; font-size: 14px } .small { fill: #57606a; font-size: 11px }
.load { fill: #0969da33; stroke: #0969da; stroke-width: 1.5 } .fine { fill: #1a7f37 } .lost { fill: #cf222e }
.outage { fill: #cf222e18 } .line { stroke: #8c959f; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .load { fill: #4493f833; stroke: #4493f8 }
  .fine { fill: #3fb950 } .lost { fill: #f85149 } .outage { fill: #f8514922 }
}
"""


def as_svg(scenario: Scenario, outcomes: Sequence[Outcome]) -> str:
    """One row for each set of policies: load as an area, answers as a band, the outage in the background."""
    height = 40 + _ROW * len(outcomes)
    size = {"viewBox": f"0 0 {_WIDTH} {height}", "width": str(_WIDTH), "height": str(height)}
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    SubElement(root, "title").text = f"Load and answers in a {scenario.outage} outage of {scenario.length:g} s"
    SubElement(root, "desc").text = "; ".join(_told(each) for each in outcomes)
    SubElement(root, "style").text = _STYLE
    top = max(1.0, *(load for each in outcomes for load in each.load))
    for place, each in enumerate(outcomes):
        _row(root, scenario, each, 20 + place * _ROW, top)
    base = 20 + _ROW * len(outcomes)
    for at in (0.0, scenario.before, scenario.end, scenario.duration):
        _text(root, _x(scenario, at), base, f"{at:g} s", "small", anchor="middle")
    return tostring(root, encoding="unicode") + "\n"


def _told(each: Outcome) -> str:
    load = "-" if each.amplification is None else f"{each.amplification:.2f}"
    recovery = "not well again" if each.recovery is None else f"well again after {each.recovery:g} s"
    return f"{each.name}: {percent(each.success_rate)} answered, {load} calls a request, {recovery}"


def _row(root: Element, scenario: Scenario, each: Outcome, y: float, top: float) -> None:
    _text(root, _LEFT, y + 10, each.name, "name")
    _text(root, _WIDTH - 40, y + 10, _told(each).partition(": ")[2], "small", anchor="end")
    base = y + 20 + _HEIGHT
    begin, end = _x(scenario, scenario.before), _x(scenario, scenario.end)
    _rectangle(root, begin, y + 20, end - begin, _HEIGHT + 12, "outage")
    points = [(_x(scenario, second + 0.5), base - value / top * _HEIGHT) for second, value in enumerate(each.load)]
    line = " L".join(f"{x:.1f} {at:.1f}" for x, at in points)
    if points:
        SubElement(
            root, "path", {"class": "load", "d": f"M{points[0][0]:.1f} {base} L{line} L{points[-1][0]:.1f} {base} Z"}
        )
    one = base - _HEIGHT / top
    SubElement(
        root,
        "line",
        {"class": "line", "x1": str(_LEFT), "x2": str(_LEFT + _PLOT), "y1": f"{one:.1f}", "y2": f"{one:.1f}"},
    )
    _text(root, _LEFT - 6, one + 4, "1×", "small", anchor="end")
    _text(root, _LEFT - 6, y + 28, f"{top:.1f}×", "small", anchor="end")
    wide = _PLOT / scenario.duration
    for second, share in enumerate(each.success):
        if share is None:
            continue
        x = _x(scenario, second)
        _rectangle(root, x, base + 4, wide * share, 8, "fine")
        _rectangle(root, x + wide * share, base + 4, wide * (1 - share), 8, "lost")


def _x(scenario: Scenario, at: float) -> float:
    return _LEFT + at / scenario.duration * _PLOT


def _text(root: Element, x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> None:
    place = {"class": kind, "x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    SubElement(root, "text", place).text = text


def _rectangle(root: Element, x: float, y: float, width: float, height: float, kind: str) -> None:
    if width > 0:
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.2f}", "height": f"{height:.1f}"}
        SubElement(root, "rect", {"class": kind, **place})
