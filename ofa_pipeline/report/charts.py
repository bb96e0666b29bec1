"""Charts as inline SVG: no script, no fonts, no colors of their own.

A chart is axes and marks. Colors, line styles and font sizes come from the page's style sheet
through the class of each mark, so one chart serves light, dark and print. The same values give the
same bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from ofa_pipeline.report.svg import box, line, picture, text

WIDTH = 440.0
"""Width of a chart in its own units; it scales with the page."""
LEFT, RIGHT, TOP, BOTTOM = 60.0, 14.0, 12.0, 44.0
"""Space around the plot area: tick labels and the axis labels."""
HEADER = 64.0
"""Space above the plot area instead of `TOP` where `Rule` and `Span` write their labels."""
POINT_RADIUS = 3.2
LABEL_HEIGHT = 12.0
"""Of a label that reads upwards: the next one stands at least as far to the right."""
LABEL_WIDTH = 6.6
"""Of a letter of a point's label, at most."""

Style = Literal[
    "measured",
    "measured-faint",
    "measured-2",
    "estimated",
    "estimated-faint",
    "pick",
    "identity",
    "band",
    "budget",
]
"""Class of a mark. Measured values are filled, estimated ones hollow or lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A linear axis: what it shows, from where to where, and its ticks."""

    label: str
    """With the unit, for example ``latency (ms)``."""
    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int = 0
    """Decimals of the tick labels."""

    def share(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Dots, with a whisker where the spread is known and a text that shows on hover."""

    x: Sequence[float]
    y: Sequence[float]
    style: Style
    titles: Sequence[str] = ()
    x_ranges: Sequence[tuple[float, float]] = ()
    y_ranges: Sequence[tuple[float, float]] = ()
    radius: float = POINT_RADIUS
    labels: Sequence[str] = ()
    """Written beside the dots, where there is room; one that has none is left to the hover text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A polyline."""

    x: Sequence[float]
    y: Sequence[float]
    style: Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The area between a lower and an upper line."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    style: Style = "band"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A vertical line over the whole height with a label above it that reads upwards."""

    x: float
    label: str
    style: Style = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A vertical strip with a label above it that reads upwards."""

    start: float
    end: float
    label: str


Mark = Points | Line | Band | Rule | Span
_Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def linear_axis(values: Iterable[float], *, label: str, num_ticks: int = 5) -> Axis:
    """Return an axis that holds all values, with a margin and round ticks.

    Args:
        values: Everything that must be inside; values that are not finite are left out.
        label: What the axis shows, with the unit.
        num_ticks: About how many ticks.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if low == high:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    margin = (high - low) * 0.06
    low, high = (low - margin if low < 0 or low > margin else 0.0), high + margin
    step = _round_step((high - low) / num_ticks)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(index * step for index in range(first, last + 1))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if not math.isclose(round(step, decimals), step):
        decimals += 1
    return Axis(label=label, low=low, high=high, ticks=ticks, decimals=decimals)


def draw_chart(
    marks: Iterable[Mark], *, x: Axis, y: Axis, description: str, height: float = 300.0
) -> str:
    """Draw marks over each other, in order.

    Args:
        marks: What to draw; later marks lie above earlier ones.
        x: Horizontal axis.
        y: Vertical axis.
        description: What a reader who cannot see the chart should know.
        height: Height of the whole chart in its own units; the width is `WIDTH`.

    Returns:
        One ``<svg>`` element.
    """
    svg = picture(width=WIDTH, height=height, kind="", description=description)
    drawn = list(marks)
    has_header = any(isinstance(mark, Rule | Span) for mark in drawn)
    plot = _Plot(x=x, y=y, top=HEADER if has_header else TOP, bottom=height - BOTTOM)
    for mark in drawn:
        if isinstance(mark, Span):
            plot.draw_span(SubElement(svg, "g", {"class": "span"}), mark)
    plot.draw_axes(svg)
    area = plot.clipped_area(svg)
    for mark in drawn:
        match mark:
            case Points():
                plot.draw_points(SubElement(area, "g", {"class": mark.style}), mark)
            case Line():
                group = SubElement(area, "g", {"class": mark.style})
                SubElement(group, "polyline", {"points": plot.path(mark.x, mark.y)})
            case Band():
                group = SubElement(area, "g", {"class": mark.style})
                outline = f"{plot.path(mark.x, mark.low)} "
                outline += plot.path(list(mark.x)[::-1], list(mark.high)[::-1])
                SubElement(group, "polygon", {"points": outline})
            case Rule():
                plot.draw_rule(SubElement(svg, "g", {"class": mark.style}), mark)
    plot.label_rules(svg, [mark for mark in drawn if isinstance(mark, Rule)])
    return tostring(svg, encoding="unicode")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plot:
    """The plot area: turns values into positions."""

    x: Axis
    y: Axis
    top: float
    bottom: float

    def _left_to(self, value: float) -> float:
        return LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)

    def _down_to(self, value: float) -> float:
        return self.bottom - self.y.share(value) * (self.bottom - self.top)

    def clipped_area(self, svg: Element) -> Element:
        """Return an element of the size of the plot area: what reaches beyond it is cut off."""
        width, height = WIDTH - LEFT - RIGHT, self.bottom - self.top
        box = {"x": LEFT, "y": self.top, "width": width, "height": height}
        area = SubElement(svg, "svg", {name: f"{value:g}" for name, value in box.items()})
        area.set("viewBox", f"{LEFT:g} {self.top:g} {width:g} {height:g}")
        return area

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """Return the positions of a line, without the points that are not finite."""
        return " ".join(
            f"{self._left_to(a):.1f},{self._down_to(b):.1f}"
            for a, b in zip(xs, ys, strict=True)
            if math.isfinite(a) and math.isfinite(b)
        )

    def draw_axes(self, svg: Element) -> None:
        """Draw the grid, the tick labels and the names of the axes."""
        grid = SubElement(svg, "g", {"class": "grid"})
        ticks = SubElement(svg, "g", {"class": "ticks"})
        for value in self.y.ticks:
            down = self._down_to(value)
            line(grid, LEFT, down, WIDTH - RIGHT, down)
            text(ticks, LEFT - 7, down + 4, f"{value:.{self.y.decimals}f}", anchor="end")
        for value in self.x.ticks:
            left = self._left_to(value)
            line(grid, left, self.bottom, left, self.bottom + 4)
            text(ticks, left, self.bottom + 17, f"{value:.{self.x.decimals}f}")
        names = SubElement(svg, "g", {"class": "axis-names"})
        text(names, (LEFT + WIDTH - RIGHT) / 2, self.bottom + BOTTOM - 8, self.x.label)
        middle = (self.top + self.bottom) / 2
        name = text(names, 14, middle, self.y.label)
        name.set("transform", f"rotate(-90 14 {middle:.1f})")

    def draw_points(self, group: Element, points: Points) -> None:
        """Draw whiskers first, then the dots."""
        for at, (low, high) in zip(points.y, points.x_ranges, strict=False):
            down = self._down_to(at)
            line(group, self._left_to(low), down, self._left_to(high), down)
        for at, (low, high) in zip(points.x, points.y_ranges, strict=False):
            left = self._left_to(at)
            line(group, left, self._down_to(low), left, self._down_to(high))
        titles = points.titles or [""] * len(points.x)
        for at_x, at_y, title in zip(points.x, points.y, titles, strict=True):
            if not (math.isfinite(at_x) and math.isfinite(at_y)):
                continue
            dot = SubElement(
                group,
                "circle",
                {
                    "cx": f"{self._left_to(at_x):.1f}",
                    "cy": f"{self._down_to(at_y):.1f}",
                    "r": f"{points.radius:g}",
                },
            )
            if title:
                SubElement(dot, "title").text = title
        self._label_points(group, points)

    def _label_points(self, group: Element, points: Points) -> None:
        """Write the labels where they cover neither a dot nor each other."""
        places = [
            (self._left_to(x), self._down_to(y)) for x, y in zip(points.x, points.y, strict=True)
        ]
        taken = [(left - 6, down - 6, left + 6, down + 6) for left, down in places]
        limits = (LEFT, self.top, WIDTH - RIGHT, self.bottom)
        for label, (left, down) in zip(points.labels, places, strict=False):
            width = LABEL_WIDTH * len(label)
            for start, base in (
                (left - width - 9, down - 6),
                (left + 9, down + 14),
                (left - width - 9, down + 14),
                (left + 9, down - 6),
            ):
                covered = (start, base - 10, start + width, base + 3)
                if _is_inside(covered, limits) and not any(_overlap(covered, t) for t in taken):
                    taken.append(covered)
                    text(group, start, base, label, anchor="start")
                    break

    def draw_rule(self, group: Element, rule: Rule) -> None:
        """Draw a vertical line; its label shows on hover, too."""
        left = self._left_to(rule.x)
        line(group, left, self.top - 4, left, self.bottom)
        SubElement(group, "title").text = rule.label

    def label_rules(self, svg: Element, rules: Sequence[Rule]) -> None:
        """Write the labels of vertical lines above them, but for those that would overlap."""
        free = -math.inf
        for rule in sorted(rules, key=lambda rule: rule.x):
            left = self._left_to(rule.x)
            if left >= free:
                free = left + LABEL_HEIGHT
                group = SubElement(svg, "g", {"class": rule.style})
                self._label_above(group, left + 4, rule.label)

    def draw_span(self, group: Element, span: Span) -> None:
        """Draw a strip, and its label at the upper end."""
        start, end = self._left_to(span.start), self._left_to(span.end)
        box(group, start, 0.0, width=end - start, height=self.bottom)
        self._label_above(group, (start + end) / 2 + 4, span.label)

    def _label_above(self, group: Element, left: float, label: str) -> None:
        written = text(group, left, self.top - 7, label, anchor="start")
        written.set("transform", f"rotate(-90 {left:.1f} {self.top - 7:.1f})")


def spans(starts: Sequence[float], *, end: float, labels: Sequence[str]) -> list[Span]:
    """Return the strips between successive starts, the last one up to `end`."""
    ends = [b for _, b in pairwise([*starts, end])]
    return [
        Span(start=a, end=b, label=label) for a, b, label in zip(starts, ends, labels, strict=True)
    ]


def style_sheet(name: str) -> str:
    """Return a style sheet of the page."""
    return (resources.files("ofa_pipeline.report") / "templates" / name).read_text()


def _is_inside(box: _Box, limits: _Box) -> bool:
    return (
        box[0] >= limits[0] and box[1] >= limits[1] and box[2] <= limits[2] and box[3] <= limits[3]
    )


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _round_step(step: float) -> float:
    """Return 1, 2, 2.5 or 5 times a power of ten, at least 0.7 of the given step."""
    scale = 10.0 ** math.floor(math.log10(step))
    return next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= step * 0.7)
