import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofa_pipeline.cost import estimate_cost
from ofa_pipeline.spaces import reference_space

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from latency_tables import main

SPACE = "ofa_mbv3_d234_e346_k357_w1.0"
LINE = {
    "column", "train", "seed", "mape_percent", "median_percent", "within_5_percent",
    "within_10_percent", "tau",
}  # fmt: skip


@pytest.fixture
def columns():
    space = reference_space(SPACE)
    genes = space.sample(np.random.default_rng(0), 60)
    archs = space.archs(genes)
    macs = estimate_cost(space, genes, num_classes=1000).macs
    blocks = range(space.num_blocks)
    return {
        "ks": [[5 for _ in blocks] for _ in archs],
        "e": [[4 for _ in blocks] for _ in archs],
        "d": [list(arch.depths) for arch in archs],
        "image_size": [arch.resolution_px for arch in archs],
        "gpu_ms": (macs / 1e7).tolist(),
        "other_ms": (macs / 2e7).tolist(),
    }


def run(tmp_path, columns, *options):
    path = tmp_path / "latency.parquet"
    pq.write_table(pa.table(columns), path)
    return main(["--table", str(path), "--column", "gpu_ms", "--seeds", "1", *options])


def test_a_seed_is_a_line_with_shares_and_percent(tmp_path, columns, capsys):
    assert run(tmp_path, columns, "--train", "12") == 0
    line = json.loads(capsys.readouterr().out)
    assert set(line) == LINE
    assert 0 <= line["within_5_percent"] <= line["within_10_percent"] <= 1


def test_details_say_what_the_model_is(tmp_path, columns, capsys):
    assert run(tmp_path, columns, "--train", "8", "--details", "--transfer-from", "other_ms") == 0
    line = json.loads(capsys.readouterr().out)
    assert {"form", "coverage", "interval_percent", "outliers", "share_launch_bound"} < set(line)


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        (["--column", "tpu_ms"], {}, "got tpu_ms, the table has"),
        (["--transfer-from", "tpu_ms"], {}, "got tpu_ms, the table has"),
        (["--transfer-from", "gpu_ms"], {}, "another device than --column"),
        (["--train", "55"], {}, "--train must be 1 to"),
        (["--train", "3"], {}, "at least 5 different subnets, got 3"),
        (["--space", "ofa_proxyless_d234_e346_k357_w1.3"], {}, "row 0"),
        ([], {"gpu_ms": 0.0}, "gpu_ms must be a positive number, got 0 in row 7"),
        ([], {"gpu_ms": float("nan")}, "got nan in row 7"),
        ([], {"image_size": 100}, "row 7"),
        ([], {"image_size": None}, "image_size must hold whole numbers, got None in row 7"),
        ([], {"d": None}, "d must hold whole numbers, got None in row 7"),
        ([], {"e": [float("nan")] * 20}, "e must hold numbers, got [nan"),
        ([], {"gpu_ms": 1e290}, "gpu_ms must be 1e-06 to 1e+09 ms"),
        (["--seeds", "0"], {}, "--seeds must be 1 or more, got 0"),
        (["--train", "4", "--model", "linear"], {}, "--train must be 5 or more, got 4"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, columns, capsys, options, change, message):
    for name, value in change.items():
        columns[name][7] = value
    assert run(tmp_path, columns, *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gpu_ms", "fast", "gpu_ms must be a column of numbers, but is one of string"),
        ("gpu_ms", [1.0], "gpu_ms must be a column of numbers, but is one of list"),
        ("gpu_ms", True, "gpu_ms must be a column of numbers, but is one of bool"),
        ("gpu_ms", 5.0, "must hold latencies that differ, but all of 60 are 5 ms"),
        ("image_size", "128", "image_size must be a column of numbers, but is one of string"),
        ("image_size", 128.5, "image_size must hold whole numbers, got 128.5 in row 0"),
        ("ks", 7, "ks must be a column of lists of numbers, but is one of int64"),
        ("e", ["six"] * 20, "e must be a column of lists of numbers"),
    ],
)
def test_a_column_of_something_else_is_refused(tmp_path, columns, capsys, name, value, message):
    columns[name] = [value] * len(columns[name])
    assert run(tmp_path, columns) == 2
    assert message in capsys.readouterr().err


def test_few_rows_and_what_is_no_table_are_refused(tmp_path, columns, capsys):
    few = {name: values[:6] for name, values in columns.items()}
    assert run(tmp_path, few, "--train", "5", "--model", "linear") == 2
    assert "must have 10 different subnets" in capsys.readouterr().err
    (tmp_path / "latency.parquet").write_bytes(b"no table")
    assert main(["--table", str(tmp_path), "--column", "gpu_ms"]) == 2
    assert "must be a Parquet table" in capsys.readouterr().err


def test_a_table_without_architectures_is_refused(tmp_path, columns, capsys):
    assert run(tmp_path, {"gpu_ms": columns["gpu_ms"]}) == 2
    assert "must hold rows with the columns" in capsys.readouterr().err


def test_rows_of_one_architecture_count_once_and_are_told(tmp_path, columns, capsys):
    twice = {name: values + values[:4] for name, values in columns.items()}
    assert run(tmp_path, twice, "--train", "12") == 0
    assert "4 rows repeat an architecture" in capsys.readouterr().err
