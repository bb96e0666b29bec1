from xml.etree import ElementTree

import pytest

from ofa_pipeline.report.charts import draw_chart, linear_axis
from ofa_pipeline.report.figures import draw_all, standalone_charts
from ofa_pipeline.report.standalone import standalone_chart
from tests.support.report import sample_contents

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def files():
    return standalone_charts(draw_all(sample_contents()))


def test_every_chart_is_a_file_that_needs_nothing_beside_it(files):
    assert set(files) == {
        "training",
        "predictor",
        *(
            f"{kind}-{device}"
            for kind in ("pareto", "latency")
            for device in ("cpu-onnxruntime", "cpu-pytorch")
        ),
    }
    for text in files.values():
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert "--measured" in root[0].text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_file_has_a_size_a_title_and_a_legend(files):
    root = ElementTree.fromstring(files["pareto-cpu-pytorch"])
    assert float(root.get("width")) > 400
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert "Accuracy and latency: cpu-pytorch" in words
    assert "candidate of the search, measured on selection" in words


def test_chart_without_title_and_legend_keeps_its_size():
    axis = linear_axis([1.0, 2.0], label="x")
    chart = draw_chart([], x=axis, y=axis, description="empty", height=300)
    assert ElementTree.fromstring(standalone_chart(chart)).get("viewBox") == "0 0 440 300"


def test_axes_start_where_the_data_starts(files):
    ticks = [
        float(element.text)
        for element in ElementTree.fromstring(files["predictor"]).iter(f"{SVG}text")
        if element.text.replace(".", "").isdigit()
    ]
    assert min(ticks) > 80
