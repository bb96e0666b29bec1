import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from recipe_holds import DataSet, SkippedError, find_dataset, prepare, summarize


def test_image_sizes_are_those_of_the_shipped_params():
    assert DataSet("a", "b", 28).resolutions_px == [16, 20, 24, 28]
    assert DataSet("a", "b", 32).resolutions_px == [20, 24, 28, 32]


def test_any_source_can_be_named(tmp_path):
    found = find_dataset("mine=image_folder:/x@48", folder=tmp_path, cifar10=tmp_path)
    assert found == DataSet("mine", "image_folder:/x", 48)


def test_images_that_are_not_there_are_told(tmp_path):
    with pytest.raises(SkippedError, match="--cifar10"):
        find_dataset("cifar10", folder=tmp_path, cifar10=tmp_path / "nowhere")


def test_work_of_other_params_is_not_taken(tmp_path):
    dataset = DataSet("fashion", "fashion_mnist_sample", 28)
    params = prepare(dataset, tmp_path / "work", seed=3)
    assert params.training.seed == 3
    assert prepare(dataset, tmp_path / "work", seed=3) == params
    with pytest.raises(SystemExit, match="other params"):
        prepare(dataset, tmp_path / "work", seed=4)


def test_differences_from_training_alone_are_summed_up_by_role():
    line = {"dataset": "d", "role": "largest", "accuracy_top1_alone": 0.8, "standard_error": 0.01}
    lines = [
        {**line, "seed": seed, "accuracy_top1_extracted": 0.7, "accuracy_top1_finetuned": value}
        for seed, value in enumerate((0.77, 0.79))
    ]
    found = summarize(lines)
    assert found["extracted_minus_alone_largest"] == [-0.1, 0.0]
    assert found["finetuned_minus_alone_largest"] == [-0.02, 0.0141]
    assert found["finetuned_within_two_standard_errors"] == 1
    assert found["seeds"] == 2
