"""What benchmarks are given wrongly is a sentence before work, not a traceback."""

import argparse
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))


import recipe_holds  # noqa: E402
import recipes  # noqa: E402
from benchmark_options import above_zero, at_least, told  # noqa: E402

from ofa_pipeline.errors import ParamsError  # noqa: E402

OF_TRAINING = (
    *("against_modelopt", "against_scratch", "data_stream", "fan_out", "gpu_acceptance"),
    *("recipe_holds", "recipes", "scaling", "supernet_epoch", "train_step"),
)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "nan", "", "x", "²"])
def test_a_count_below_its_minimum_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number of at least 1"):
        at_least(1)(text)
    assert at_least(1)("3") == 3
    assert at_least(-2)("-2") == -2


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "", "x"])
def test_a_number_that_is_not_above_zero_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="a number above 0"):
        above_zero(text)
    assert above_zero("0.5") == 0.5


def test_an_error_of_ours_is_a_line(capsys):
    def main():
        raise ParamsError("params.yaml is missing")

    assert told(main) == 1
    assert capsys.readouterr().err == "error: params.yaml is missing\n"
    assert told(lambda: None) == 0
    assert told(lambda: 3) == 3


@pytest.mark.parametrize("name", OF_TRAINING)
def test_numbers_and_errors_of_every_benchmark_of_training_are_looked_at(name):
    text = (BENCHMARKS / f"{name}.py").read_text()
    options = [line for line in text.splitlines() if "add_argument" in line]
    unchecked = ("type=int", "type=float")
    assert [o for o in options if any(word in o for word in unchecked)] == _HIDDEN.get(name, [])
    assert "sys.exit(told(main))" in text


_HIDDEN = {
    "data_stream": [
        '    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)',
    ],
}


@pytest.mark.parametrize("name", ["x", "x=y", "=y@32", "x=@32", "x=y@0", "x=y@z", "../x=y@32"])
def test_a_data_set_that_is_named_otherwise_is_unknown(name):
    assert not recipe_holds.OWN.fullmatch(name)
    assert recipe_holds.OWN.fullmatch("pets=image_folder:/data/pets@32")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"image": [b"x"], "label": [1]}, "images with their bytes"),
        ({"image": [{"bytes": b"x"}], "label": ["cat"]}, "images with their bytes"),
        ({"image": [{"bytes": b"x"}], "label": [1]}, "at least 830 images, it has 1"),
        ({"picture": [b"x"]}, "must have the columns"),
    ],
)
def test_images_that_recipes_cannot_compare_are_refused(tmp_path, columns, match):
    path = tmp_path / "images.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(SystemExit, match=match):
        recipes.load_images(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "x").write_text("no")
    for path in (tmp_path / "x", tmp_path / "missing"):
        with pytest.raises(SystemExit, match="must be a Parquet file"):
            recipes.load_images(path)


@pytest.mark.parametrize(
    "words",
    [
        ["--launch", "torchrun {rank}"],
        ["--launch", "torchrun {"],
        ["--batch-size", "10"],
        ["--ranks", "3"],
        ["--steps", "3"],
    ],
)
def test_scaling_looks_at_its_options_before_it_starts_ranks(words):
    command = [sys.executable, str(BENCHMARKS / "scaling.py"), *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("scaling.py: error: ")
    assert words[0] in found.stderr.splitlines()[-1]
