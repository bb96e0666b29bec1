"""A chart as an SVG file of its own, with its title and legend: for slides and `dvc plots`."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from ofa_pipeline.report.charts import POINT_RADIUS, Style, style_sheet
from ofa_pipeline.report.svg import box, line, text

ROW = 19.0
"""Height of a line of the title or the legend."""
SCALE = 1.5
"""CSS pixels a unit where the file is shown at its own size."""
_DOTS: dict[Style, float] = {
    "measured": POINT_RADIUS,
    "measured-2": POINT_RADIUS,
    "measured-faint": POINT_RADIUS,
    "estimated": POINT_RADIUS,
    "pick": 5.5,
}


def standalone_chart(
    chart: str, *, title: str = "", legend: Iterable[tuple[Style, str]] = ()
) -> str:
    """Return a chart as an SVG file.

    Args:
        chart: From `draw_chart`.
        title: Above the chart; empty for none.
        legend: Style and meaning of each kind of mark, below it.
    """
    svg = fromstring(chart)  # noqa: S314  our own chart
    entries = list(legend)
    _, _, width, height = (float(value) for value in svg.attrib["viewBox"].split())
    top = 1.3 * ROW if title else 0.0
    whole = top + height + ROW * len(entries) + (ROW / 2 if entries else 0)
    svg.set("viewBox", f"0 {0 - top:g} {width:g} {whole:g}")
    svg.set("width", f"{SCALE * width:g}")
    svg.set("height", f"{SCALE * whole:g}")
    if title:
        text(svg, width / 2, -ROW / 3, title).set("class", "title")
    for number, (style, words) in enumerate(entries):
        _explain(SubElement(svg, "g"), style, words, middle=height + ROW * (number + 0.5))
    ground = Element("rect", {"y": f"{0 - top:g}", "width": "100%", "height": "100%"})
    ground.set("fill", "var(--panel)")
    sheet = Element("style")
    sheet.text = style_sheet("chart.css")
    svg.insert(0, sheet)
    svg.insert(1, ground)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    return tostring(svg, encoding="unicode") + "\n"


def _explain(row: Element, style: Style, words: str, *, middle: float) -> None:
    """Draw a line of the legend."""
    group = SubElement(row, "g", {"class": style})
    if style in _DOTS:
        dot = {"cx": "70", "cy": f"{middle:.1f}", "r": f"{_DOTS[style]:g}"}
        SubElement(group, "circle", dot)
    elif style == "band":
        box(group, 62, middle - 5, width=16, height=10)
    elif style == "budget":
        line(group, 70, middle - 7, 70, middle + 7)
    else:
        SubElement(group, "polyline", {"points": f"62,{middle:.1f} 78,{middle:.1f}"})
    text(row, 86, middle + 4, words, anchor="start")
