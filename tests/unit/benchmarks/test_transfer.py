import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ofa_pipeline.params import parse_params
from ofa_pipeline.training import epochs_for

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from transfer import EIGHT, LEFT_OUT, RATE, for_few_images, main, settings, write_images


@pytest.fixture
def cifar10(tmp_path):
    """Ten classes of five training images and one test image; each is named by its label."""
    for split, each in (("train", 5), ("test", 1)):
        labels = [label for _ in range(each) for label in range(10)]
        images = [{"bytes": f"{label}-{row}".encode()} for row, label in enumerate(labels)]
        path = tmp_path / "cifar10" / f"{split}.parquet"
        path.parent.mkdir(exist_ok=True)
        table = pa.table({"image": images, "label": labels})
        pq.write_table(table.replace_schema_metadata({"class_names": "a,b"}), path)
    return tmp_path / "cifar10"


def names_of(folder, split):
    table = pq.read_table(folder / f"{split}.parquet")
    assert table.schema.metadata is None  # the names of ten classes
    return list(zip(table["label"].to_pylist(), table["image"].to_pylist(), strict=True))


def test_the_classes_that_are_left_out_are_those_that_are_moved_to():
    assert sorted((*EIGHT, *LEFT_OUT)) == list(range(10))


def test_images_are_equally_many_of_each_class_with_labels_from_zero(cifar10, tmp_path):
    write_images(tmp_path / "two", cifar10, labels=LEFT_OUT, count=4, seed=1)
    found = names_of(tmp_path / "two", "train")
    assert [label for label, _ in found] == [0, 0, 1, 1]
    assert {image["bytes"][:1] for _, image in found[:2]} == {b"8"}
    assert len(names_of(tmp_path / "two", "test")) == 2
    write_images(tmp_path / "again", cifar10, labels=LEFT_OUT, count=4, seed=1)
    write_images(tmp_path / "other", cifar10, labels=LEFT_OUT, count=4, seed=2)
    assert names_of(tmp_path / "again", "train") == found
    assert names_of(tmp_path / "other", "train") != found


@pytest.mark.parametrize("steps_per_epoch", [2, 10, 45])
def test_both_starts_have_equally_many_steps(tmp_path, steps_per_epoch):
    totals = []
    for weights in (None, tmp_path / "weights.safetensors"):
        values = settings(tmp_path / "source")
        for_few_images(values, weights=weights)
        params = parse_params(json.loads(json.dumps(values)), origin="test")
        assert (params.training.weights_source is not None) is (weights is not None)
        totals.append(
            sum(
                epochs_for(phase.epochs, min_steps=phase.min_steps, steps_per_epoch=steps_per_epoch)
                for phase in params.phases.values()
            )
        )
    assert abs(totals[0] - totals[1]) <= 1  # of the rounding of two phases


def test_rates_are_trained_with_as_they_are_written(tmp_path):
    rates = {}
    for weights in (None, tmp_path / "weights.safetensors"):
        values = settings(tmp_path / "source")
        for_few_images(values, weights=weights)
        params = parse_params(json.loads(json.dumps(values)), origin="test")
        rates[weights is None] = [
            params.training.scaled_rate(phase.learning_rate) for phase in params.phases.values()
        ]
    assert rates == {True: [0.2, 0.6], False: [RATE]}


def test_images_that_are_not_there_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["transfer.py", "--cifar10", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "must hold train.parquet and test.parquet of CIFAR-10" in capsys.readouterr().err
