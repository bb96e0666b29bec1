"""Elements of SVG pictures."""

from xml.etree.ElementTree import Element, SubElement


def picture(*, width: float, height: float, kind: str, description: str) -> Element:
    """Return an empty picture that scales with the page.

    Args:
        width: In its own units.
        height: In its own units.
        kind: Class for the style sheet, besides ``chart``.
        description: What a reader who cannot see the picture should know.
    """
    name = f"chart {kind}".strip()
    svg = Element("svg", {"class": name, "viewBox": f"0 0 {width:.0f} {height:.0f}"})
    svg.set("role", "img")
    svg.set("aria-label", description)
    return svg


def line(parent: Element, x1: float, y1: float, x2: float, y2: float) -> None:
    """Draw a straight line."""
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    SubElement(parent, "line", {name: f"{value:.1f}" for name, value in ends.items()})


def box(parent: Element, x: float, y: float, *, width: float, height: float) -> Element:
    """Draw a rectangle; x and y are its upper left corner."""
    sides = {"x": x, "y": y, "width": width, "height": height}
    return SubElement(parent, "rect", {name: f"{value:.1f}" for name, value in sides.items()})


def text(parent: Element, x: float, y: float, words: str, *, anchor: str = "middle") -> Element:
    """Write a line of text; y is its base line."""
    element = SubElement(parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})
    element.text = words
    return element
