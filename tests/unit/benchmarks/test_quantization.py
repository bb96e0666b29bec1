import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from quantization import Case, main, table, verdict


def case(**changes):
    values = {
        "runtime": "openvino",
        "subnet": "a" * 10,
        "resolution_px": 28,
        "float_accuracy": 0.9,
        "int8_accuracy": 0.895,
        "loss_points": 0.5,
        "float_ms": 0.2,
        "int8_ms": 0.1,
        "speedup": 2.0,
    }
    return Case(**(values | changes))


def test_the_verdict_says_what_is_lost_and_whether_it_pays():
    better = verdict("openvino", [case(), case(loss_points=-0.1)])
    assert "+0.20 points lost, +0.50 at most; 2.00 times as fast" in better
    assert better.endswith("it pays")
    slower = verdict("openvino", [case(int8_ms=0.4, speedup=0.5)])
    assert "0.50 times as fast" in slower
    assert slower.endswith("int8 does not pay here")


def test_networks_without_images_are_a_verdict_of_their_own():
    without = case(float_accuracy=None, int8_accuracy=None, loss_points=None, speedup=3.0)
    lines = list(table([case(), without]))
    assert len(lines) == 2 + 2 + 2
    assert "2.00 times" in lines[-2]
    assert "3.00 times" in lines[-1]
    assert "points" not in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--runtime", "pytorch"],
            "of those with int8, executorch, litert, onnxruntime, openvino; got pytorch",
        ),
        (["--workspace", "{empty}"], "params.yaml"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path, capsys, arguments, message):
    assert main([text.format(empty=tmp_path) for text in arguments]) == 2
    assert message in capsys.readouterr().err
