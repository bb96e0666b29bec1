import pickle

import numpy as np
import pytest

from ofa_pipeline.data.sources import TorchvisionSource, open_source
from ofa_pipeline.data.sources.torchvision import DOWNLOAD_VARIABLE, ENTRIES, ROOT_VARIABLE
from ofa_pipeline.errors import DatasetError
from tests.support.images import encoded, noise, write_image_folder, write_image_parquet


def test_relative_paths_start_from_the_base(tmp_path):
    write_image_folder(tmp_path / "folder")
    write_image_parquet(tmp_path / "a.parquet", labels=[0, 1])
    assert open_source("image_folder:folder", base=tmp_path).num_images == 20
    assert open_source("parquet:a.parquet", base=tmp_path).num_images == 2


def test_path_alone_is_told_its_kinds(tmp_path):
    with pytest.raises(DatasetError, match=f"A folder of images: image_folder:{tmp_path};"):
        open_source(str(tmp_path), base=tmp_path)


def test_unknown_source_suggests_the_nearest(tmp_path):
    with pytest.raises(DatasetError, match="Did you mean 'image_folder'"):
        open_source("image_folders:x", base=tmp_path)


def test_unknown_torchvision_dataset_suggests_the_nearest(tmp_path):
    with pytest.raises(DatasetError, match="Did you mean 'CIFAR10'"):
        open_source("torchvision:CIFAR11", base=tmp_path)


def test_torchvision_dataset_that_is_not_there_says_where_it_should_be(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "datasets"))
    monkeypatch.delenv(DOWNLOAD_VARIABLE, raising=False)
    with pytest.raises(DatasetError, match=rf"files in {tmp_path}/datasets: .*{DOWNLOAD_VARIABLE}"):
        TorchvisionSource("FashionMNIST")


def test_every_known_torchvision_dataset_exists():
    datasets = pytest.importorskip("torchvision.datasets")
    assert set(ENTRIES) <= set(datasets.__all__)


def test_torchvision_folder_dataset_passes_its_files_on(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    write_image_folder(tmp_path / "eurosat" / "2750", images_a_class=2)
    source = TorchvisionSource("EuroSAT")
    assert source.class_names == ("cat", "dog")
    assert source.fixed_splits == frozenset()
    images = list(source.images())
    assert [image.label for image in images] == [0, 0, 1, 1]
    assert source.class_counts == (2, 2)
    assert [image.label for image in source.sample(2)] == [0, 1]
    assert images[0].read() == encoded(noise(0))


def write_cifar10(root, monkeypatch):
    """Write a CIFAR-10 of ten images a batch; its checksums are not the real ones."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for seed, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = np.random.default_rng(seed).integers(0, 256, (10, 3072)).astype(np.uint8)
        batch = {"data": pixels, "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    names = {"label_names": [f"class{i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names))
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda _: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)


def test_torchvision_test_split_stays_one(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    write_cifar10(tmp_path, monkeypatch)
    source = TorchvisionSource("CIFAR10")
    assert source.fixed_splits == {"test"}
    assert source.num_images == 60
    assert source.class_names[3] == "class3"
    images = list(source.images())
    assert {image.split for image in images[:50]} == {None}
    assert {image.split for image in images[50:]} == {"test"}
    assert images[0].read().startswith(b"\x89PNG")
    assert len({image.path for image in images}) == 60
    assert source.class_counts == (6,) * 10
    sample = list(source.sample(20))
    assert len(sample) == 21  # every third, of each part from its first on
    assert {image.split for image in sample} == {None, "test"}
    assert {image.path for image in sample} < {image.path for image in images}
