"""What images take of memory, whether they are kept or streamed."""

import pytest

from ofa_pipeline.data import PHOTOS, Footprint, Proportions, open_dataset, prepare_dataset
from tests.support.images import dataset_options, encoded, noise, write_image_parquet


def a_footprint(**options):
    values = {"num_images": 2000, "image_size_px": 320, "stored_bytes": 80_000}
    return Footprint(**values | options)


def test_proportions_of_images_end_where_training_cuts_them():
    found = Proportions.of([(30, 20), (20, 40), (10, 100)])
    assert (found.area, found.highest, found.widest) == (pytest.approx(13.5 / 3), 3, 1.5)
    assert found.canvas_px(10) == (30, 15)
    assert not found.are_squares
    assert Proportions.of([(8, 8)] * 3).are_squares


def test_squares_that_fit_are_kept_and_other_images_are_streamed():
    square, whole = a_footprint(), a_footprint(proportions=PHOTOS)
    assert square.is_kept
    assert square.memory_bytes(64) == 2000 * 3 * 320**2
    assert not whole.is_kept
    batches = whole.memory_bytes(64) - 2000 * 80_000
    assert batches == 4 * 64 * 3 * 480 * 480
    assert whole.memory_bytes(128) - whole.memory_bytes(64) == batches


def test_what_is_remembered_of_a_large_split_does_not_grow_with_it():
    sizes = [
        a_footprint(num_images=count).memory_bytes(64)
        for count in (10_000, 200_000, 300_000, 1_300_000)
    ]
    assert sizes[0] == sizes[1] < sizes[2] == sizes[3]  # in lanes, as many row groups again
    assert sizes[3] < 96 * 128 * 80_000 + 1e8


def test_the_sizes_of_stored_images_are_read_from_the_first(tmp_path):
    contents = [encoded(noise(seed, height=16, width=24)) for seed in range(40)]
    labels = [0, 1] * 20
    write_image_parquet(tmp_path / "a.parquet", labels=labels, contents=contents, class_names="a,b")
    prepare_dataset(dataset_options("parquet:a.parquet"), tmp_path / "dataset", base=tmp_path)
    split = open_dataset(tmp_path / "dataset").split("train")
    [*found] = split.stored_sizes(5)
    assert len(found) == 5
    assert {width / height for width, height in found} == {1.5}
    assert len(split.stored_sizes(1000)) == split.num_images
