"""Large splits are read in lanes: whoever takes some places of each batch reads some row groups."""

import numpy as np
import pytest
import torch

from ofa_pipeline.data import lanes, open_dataset, prepare_dataset
from ofa_pipeline.data.shards import RowGroupReader
from tests.support.images import dataset_options, encoded, noise, write_image_parquet

ROW_GROUPS = 12
ROWS = 10


@pytest.fixture(autouse=True)
def _four_lanes(monkeypatch):
    monkeypatch.setattr(lanes, "LANES", 4)
    monkeypatch.setattr(lanes, "MIN_ROWS", 100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    contents = [encoded(noise(index)) for index in range(400)]
    write_image_parquet(
        root / "a.parquet", labels=[0, 1] * 200, contents=contents, class_names="a,b"
    )
    prepare_dataset(
        dataset_options("parquet:a.parquet", shard_rows=20), root / "dataset", base=root
    )
    return root / "dataset"


def order_of(batch_size, *, row_groups=ROW_GROUPS, seed=0):
    spans = np.arange(row_groups * ROWS).reshape(row_groups, ROWS)
    return lanes.lane_order(list(spans), np.random.default_rng(seed), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 8, 10, 50, 120, 500])
def test_every_row_comes_once(batch_size):
    assert sorted(order_of(batch_size).tolist()) == list(range(ROW_GROUPS * ROWS))


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_read_row_groups_of_their_own(ranks):
    """Twelve row groups for four lanes: no lane begins within one."""
    places = order_of(8).reshape(-1, 8)
    read = [set((part // ROWS).ravel().tolist()) for part in np.split(places, ranks, axis=1)]
    assert [len(groups) for groups in read] == [ROW_GROUPS // ranks] * ranks
    assert set().union(*read) == set(range(ROW_GROUPS))


def test_a_batch_has_rows_of_every_lane():
    for batch in order_of(8).reshape(-1, 8):
        assert len(set((batch // ROWS).tolist())) == 4


def test_rows_are_shuffled_and_the_seed_decides():
    assert not np.array_equal(order_of(8), np.sort(order_of(8)))
    assert np.array_equal(order_of(8), order_of(8))
    assert not np.array_equal(order_of(8), order_of(8, seed=1))


def test_two_ranks_read_each_row_group_once_between_them(folder, monkeypatch):
    """But for the one that both lanes in the middle have a part of."""
    read = []
    load = RowGroupReader._row_group

    def noted(self, group):
        if group not in self._contents:
            read.append(group)
        return load(self, group)

    monkeypatch.setattr(RowGroupReader, "_row_group", noted)
    split = open_dataset(folder, memory_limit_bytes=0).split("train")
    assert split.has_lanes
    parts = [
        list(split.shuffled_batches(8, seed=0, epoch=0, rows=rows))
        for rows in (slice(0, 4), slice(4, 8))
    ]
    assert len(read) <= len(set(read)) + 1
    alone = open_dataset(folder).split("train").shuffled_batches(8, seed=0, epoch=0)
    for whole, one, other in zip(alone, *parts, strict=True):
        assert torch.equal(whole.images, torch.cat([one.images, other.images]))


def test_a_small_split_has_none(folder, monkeypatch):
    monkeypatch.setattr(lanes, "MIN_ROWS", 10**6)
    split = open_dataset(folder).split("train")
    orders = [split.epoch_order(seed=0, epoch=0, batch_size=size) for size in (8, 16)]
    assert np.array_equal(*orders)
