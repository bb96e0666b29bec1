import numpy as np
import pytest
import torch
from PIL import Image

from ofa_pipeline.data import SPLIT_NAMES, open_dataset, prepare_dataset
from ofa_pipeline.errors import DatasetError, ManifestMismatchError, MissingArtifactError
from tests.support.images import dataset_options, encoded, noise, write_image_parquet

NUM_IMAGES = 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    contents = [encoded(noise(index)) for index in range(NUM_IMAGES)]
    write_image_parquet(
        root / "a.parquet", labels=[0, 1] * (NUM_IMAGES // 2), contents=contents, class_names="a,b"
    )
    options = dataset_options("parquet:a.parquet", shard_rows=150)
    prepare_dataset(options, root / "dataset", base=root)
    return root / "dataset"


@pytest.fixture
def train(folder):
    return open_dataset(folder).split("train")


@pytest.fixture
def streamed(folder):
    return open_dataset(folder, memory_limit_bytes=0).split("train")


def assert_equal_batches(ones, others):
    ones, others = list(ones), list(others)
    assert len(ones) == len(others) > 0
    for one, other in zip(ones, others, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.ids, other.ids)


def ids_of(batches):
    return [batch.ids.tolist() for batch in batches]


def test_dataset_knows_its_classes_and_sizes(folder):
    dataset = open_dataset(folder)
    assert dataset.class_names == ("a", "b")
    assert dataset.num_classes == 2
    assert dataset.num_images == {"train": 350, "calibration": 70, "selection": 140, "test": 140}


def test_images_are_bytes_with_the_channel_first(train):
    images = train.images()
    assert images.shape == (350, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64


def test_images_are_decoded_once_and_kept(train):
    assert train.images().data_ptr() == train.images().data_ptr()


def test_a_split_is_the_same_object_each_time(folder):
    dataset = open_dataset(folder)
    assert dataset.split("test") is dataset.split("test")


def test_images_and_labels_belong_together(folder):
    expected = {noise(index).tobytes(): index % 2 for index in range(NUM_IMAGES)}
    dataset = open_dataset(folder)
    for name in SPLIT_NAMES:
        split = dataset.split(name)
        for image, label in zip(split.images(), split.labels, strict=True):
            assert expected[image.permute(1, 2, 0).numpy().tobytes()] == label


def test_batches_cover_a_split_in_order(train):
    batches = list(train.batches(100))
    assert [len(batch.ids) for batch in batches] == [100, 100, 100, 50]
    assert torch.equal(torch.cat([batch.images for batch in batches]), train.images())


def test_batches_follow_a_given_order(train):
    (batch,) = train.batches(10, order=[5, 349, 5])
    assert torch.equal(batch.images, train.images()[[5, 349, 5]])
    assert torch.equal(batch.labels, train.labels[[5, 349, 5]])


@pytest.mark.parametrize("wrong", [-1, 350])
def test_order_outside_the_split_is_an_error(train, wrong):
    with pytest.raises(DatasetError, match=r"positions of .*train, 0 to 349"):
        next(train.batches(10, order=[0, wrong]))


def test_streamed_batches_equal_those_from_memory(train, streamed):
    assert train.fits_memory
    assert not streamed.fits_memory
    assert_equal_batches(train.batches(64), streamed.batches(64))
    order = np.random.default_rng(0).permutation(350).tolist()
    assert_equal_batches(train.batches(64, order=order), streamed.batches(64, order=order))
    arguments = {"seed": 3, "epoch": 1, "drop_last": False}
    assert_equal_batches(
        train.shuffled_batches(32, **arguments), streamed.shuffled_batches(32, **arguments)
    )


def test_images_beyond_the_memory_limit_are_refused(streamed):
    with pytest.raises(DatasetError, match=r"must fit 0 bytes, they need 67,200"):
        streamed.images()


def test_streaming_may_be_left_early(streamed):
    batches = streamed.batches(16)
    assert len(next(batches).ids) == 16
    batches.close()


def test_an_epoch_has_every_image_once(train):
    batches = list(train.shuffled_batches(32, seed=0, epoch=0, drop_last=False))
    ids = torch.cat([batch.ids for batch in batches])
    assert sorted(ids.tolist()) == list(range(350))


def test_an_epoch_of_many_windows_has_every_image_once(train, monkeypatch):
    monkeypatch.setattr("ofa_pipeline.data.dataset.SHUFFLE_WINDOW_ROWS", 100)
    order = train.epoch_order(seed=0, epoch=0, batch_size=32)
    assert sorted(order.tolist()) == list(range(350))


def test_order_depends_on_seed_and_epoch_alone(train, folder):
    again = open_dataset(folder).split("train")
    one = ids_of(train.shuffled_batches(32, seed=1, epoch=2))
    assert one == ids_of(again.shuffled_batches(32, seed=1, epoch=2))
    assert one != ids_of(train.shuffled_batches(32, seed=1, epoch=3))
    assert one != ids_of(train.shuffled_batches(32, seed=2, epoch=2))


def test_last_smaller_batch_is_dropped_unless_wanted(train):
    assert train.num_batches(32) == len(ids_of(train.shuffled_batches(32, seed=0, epoch=0))) == 10
    kept = ids_of(train.shuffled_batches(32, seed=0, epoch=0, drop_last=False))
    assert train.num_batches(32, drop_last=False) == len(kept) == 11


@pytest.mark.parametrize("memory_limit_bytes", [0, 1 << 30])
def test_an_epoch_can_be_entered_at_any_batch(folder, memory_limit_bytes):
    split = open_dataset(folder, memory_limit_bytes=memory_limit_bytes).split("train")
    whole = list(split.shuffled_batches(32, seed=0, epoch=0))
    rest = split.shuffled_batches(32, seed=0, epoch=0, start_batch=7)
    assert_equal_batches(whole[7:], rest)


def test_batch_larger_than_the_split_is_an_error(train):
    with pytest.raises(DatasetError, match="at least one batch of 351 images, it has 350"):
        train.shuffled_batches(351, seed=0, epoch=0)


def test_unknown_split_suggests_the_nearest(folder):
    with pytest.raises(DatasetError, match="Did you mean 'selection'"):
        open_dataset(folder).split("selections")


def test_missing_dataset_says_how_to_make_it(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"classes\.json is missing.*prepare_dataset"):
        open_dataset(tmp_path)


def test_missing_shards_are_named(tmp_path, folder):
    for name in ("classes.json", "statistics.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(MissingArtifactError, match=r"train-00000\.parquet is missing"):
        open_dataset(tmp_path).split("train")


def test_damaged_shard_is_named(tmp_path, folder):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "test-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ManifestMismatchError, match=r"test-00000\.parquet is not a Parquet file"):
        open_dataset(tmp_path).split("test")


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_documents_of_something_else_are_refused(tmp_path, folder, content):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "statistics.json").write_text(content)
    with pytest.raises(ManifestMismatchError, match=r"statistics\.json .*prepare_dataset"):
        open_dataset(tmp_path)


def test_range_of_deep_images_is_known_to_the_dataset(tmp_path):
    values = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "deep" / name).mkdir(parents=True)
        for index in range(8):
            pixels = values.integers(0, 4096, (8, 8)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / "deep" / name / f"{index}.png")
    for value_range in (None, (0.0, 4095.0)):
        folder = tmp_path / f"dataset-{value_range}"
        options = dataset_options("image_folder:deep", value_range=value_range)
        prepare_dataset(options, folder, base=tmp_path)
        assert open_dataset(folder).value_range == value_range


@pytest.mark.parametrize("memory_limit_bytes", [0, 1 << 30])
def test_some_rows_of_each_batch_can_be_had_alone(folder, memory_limit_bytes):
    split = open_dataset(folder, memory_limit_bytes=memory_limit_bytes).split("train")
    whole = split.shuffled_batches(32, seed=0, epoch=0)
    part = split.shuffled_batches(32, seed=0, epoch=0, rows=slice(8, 24))
    for batch, some in zip(whole, part, strict=True):
        assert torch.equal(some.images, batch.images[8:24])
        assert torch.equal(some.labels, batch.labels[8:24])
