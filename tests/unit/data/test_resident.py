import pytest
import torch

from ofa_pipeline.data import open_dataset, prepare_dataset, resident
from ofa_pipeline.data.resident import ResidentSplit, near_device, room_for_images
from tests.support.images import dataset_options, encoded, noise, write_image_parquet

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    contents = [encoded(noise(index)) for index in range(80)]
    write_image_parquet(
        root / "a.parquet", labels=[0, 1] * 40, contents=contents, class_names="a,b"
    )
    prepare_dataset(dataset_options("parquet:a.parquet"), root / "dataset", base=root)
    return root / "dataset"


@pytest.mark.parametrize(
    "options",
    [{}, {"start_batch": 2}, {"rows": slice(1, 3)}, {"start_batch": 1, "rows": slice(2, 4)}],
)
def test_batches_from_the_device_are_those_of_the_split(folder, options):
    split = open_dataset(folder).split("train")
    expected = list(split.shuffled_batches(4, seed=1, epoch=2, **options))
    found = list(ResidentSplit(split, CPU).shuffled_batches(4, seed=1, epoch=2, **options))
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.ids, other.ids)


def test_an_epoch_that_is_over_has_no_more_batches(folder):
    split = open_dataset(folder).split("train")
    of_device = ResidentSplit(split, CPU)
    last = split.num_batches(4)
    assert list(of_device.shuffled_batches(4, seed=1, epoch=0, start_batch=last)) == []


def test_images_move_to_an_accelerator_where_they_fit(folder, monkeypatch):
    made = []
    monkeypatch.setattr(resident, "ResidentSplit", lambda *args: made.append(args) or "resident")
    split = open_dataset(folder).split("train")
    assert near_device(split, CPU) is split
    needed = split.images().nbytes
    for free, expected in ((8 * needed, "resident"), (8 * needed - 8, split)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, free))
        assert near_device(split, CUDA) == expected
    streamed = open_dataset(folder, memory_limit_bytes=0).split("train")
    assert near_device(streamed, CUDA) is streamed
    assert len(made) == 1


def test_most_of_an_accelerator_is_left_to_features(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (80 << 30, 96 << 30))
    assert room_for_images(CUDA) == 10 << 30
    assert room_for_images(CPU) == 1 << 30
