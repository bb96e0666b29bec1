import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_pipeline.report.charts import (
    HEADER,
    Axis,
    Band,
    Line,
    Points,
    Rule,
    Span,
    draw_chart,
    linear_axis,
    spans,
)

SVG = "{http://www.w3.org/2000/svg}"
AXIS = Axis(label="ms", low=0.0, high=10.0, ticks=(0.0, 5.0, 10.0))


def drawn(*marks):
    return ElementTree.fromstring(draw_chart(marks, x=AXIS, y=AXIS, description="a chart"))


@given(
    st.lists(
        st.floats(min_value=-1e6, max_value=1e6, allow_subnormal=False), min_size=1, max_size=20
    )
)
def test_axis_holds_every_value_and_has_ticks_inside(values):
    axis = linear_axis(values, label="x")
    assert axis.low <= min(values)
    assert max(values) <= axis.high
    assert len(axis.ticks) >= 2
    assert all(axis.low - 1e-9 <= tick <= axis.high + 1e-9 for tick in axis.ticks)


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.0], [math.nan, 3.0], []])
def test_axis_of_one_or_no_finite_value_is_drawable(values):
    axis = linear_axis(values, label="x")
    assert axis.low < axis.high
    assert axis.ticks


def test_axis_of_positive_values_does_not_go_below_zero():
    assert linear_axis([0.01, 1.0], label="x").low == 0.0


def test_tick_labels_tell_neighbors_apart():
    axis = linear_axis([87.1, 88.3], label="x")
    labels = [f"{tick:.{axis.decimals}f}" for tick in axis.ticks]
    assert len(set(labels)) == len(labels)
    assert [float(label) for label in labels] == pytest.approx(axis.ticks)


def test_chart_describes_itself_to_those_who_cannot_see_it():
    svg = drawn()
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "a chart"


def test_points_carry_whiskers_and_texts_and_skip_what_is_not_finite():
    svg = drawn(
        Points(
            x=[1, 2, math.nan],
            y=[1, 2, 3],
            style="measured",
            titles=["first <b>", "second", "third"],
            y_ranges=[(0.5, 1.5), (1.5, 2.5)],
        )
    )
    dots = [element for element in svg.iter() if element.tag.endswith("circle")]
    assert len(dots) == 2
    assert [dot[0].text for dot in dots] == ["first <b>", "second"]


def test_higher_values_are_drawn_higher_and_further_right():
    svg = drawn(Points(x=[1, 2], y=[1, 2], style="measured"))
    low, high = [element for element in svg.iter() if element.tag.endswith("circle")]
    assert float(low.get("cx")) < float(high.get("cx"))
    assert float(low.get("cy")) > float(high.get("cy"))


def test_every_kind_of_mark_is_drawn_with_its_class():
    marks = [
        Band(x=[0, 10], low=[0, 9], high=[1, 11]),
        Line(x=[0, 10], y=[0, 10], style="identity"),
        Rule(x=5, label="budget"),
        Span(start=0, end=5, label="phase"),
    ]
    svg = drawn(*marks)
    classes = {element.get("class") for element in svg.iter()}
    assert {"band", "identity", "budget", "span"} <= classes


def test_labels_of_rules_and_spans_have_room_above_the_plot():
    svg = drawn(Rule(x=5, label="5 ms"))
    [area] = [element for element in svg if element.tag.endswith("svg")]
    assert float(area.get("y")) == HEADER


def test_spans_run_from_each_start_to_the_next():
    found = spans([0.5, 2.5], end=3.5, labels=["a", "b"])
    assert [(span.start, span.end, span.label) for span in found] == [
        (0.5, 2.5, "a"),
        (2.5, 3.5, "b"),
    ]


def texts_of(svg):
    return [element.text for element in svg.iter() if element.tag.endswith("text")]


def test_labels_of_rules_do_not_cover_each_other_and_show_on_hover():
    rules = [Rule(x=5, label="5 ms"), Rule(x=5.1, label="5.1 ms"), Rule(x=8, label="8 ms")]
    svg = drawn(*rules)
    assert [text for text in texts_of(svg) if text.endswith(" ms")] == ["5 ms", "8 ms"]
    titles = [element.text for element in svg.iter() if element.tag.endswith("title")]
    assert titles == ["5 ms", "5.1 ms", "8 ms"]


def test_points_are_labelled_where_there_is_room():
    svg = drawn(Points(x=[2, 8], y=[2, 8], style="pick", labels=["one", "other"]))
    assert {"one", "other"} <= set(texts_of(svg))
    crowd = [5 + 0.01 * index for index in range(20)]
    labels = [f"label {index}" for index in range(20)]
    shown = texts_of(drawn(Points(x=crowd, y=crowd, style="pick", labels=labels)))
    assert 1 <= len(set(shown) & set(labels)) < 20
