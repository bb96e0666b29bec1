import re

import pytest

from ofa_pipeline.report.charts import style_sheet

INKS = ("ink", "soft", "measured", "second", "estimated", "good", "care", "bad")
LEAST = 4.5
"""Contrast of small text, WCAG 2.2, criterion 1.4.3."""


def colors_of(scheme):
    light, dark = style_sheet("chart.css").split("@media (prefers-color-scheme: dark)")
    found = re.findall(r"--(\w+): (#[0-9a-f]{6});", {"light": light, "dark": dark}[scheme])
    return dict(found)


def luminance(color):
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["paper", "panel"])
@pytest.mark.parametrize("ink", INKS)
def test_text_is_read_on_its_ground(scheme, ground, ink):
    colors = colors_of(scheme)
    assert contrast(colors[ink], colors[ground]) >= LEAST
