"""Random resized crops see all of each stored image; what is square stays what it was."""

import dataclasses

import numpy as np
import pytest
import torch

from ofa_pipeline.data import augmentation_version, open_dataset, prepare_dataset
from ofa_pipeline.data.resident import near_device
from ofa_pipeline.data.uncropped import LONGEST_SIDE, VERSION, are_squares, uncropped_pixels
from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.supernet import build_supernet
from ofa_pipeline.training import Checkpoints, Hooks, TrainingImages, train_phase
from tests.support.images import dataset_options, encoded, noise, write_image_parquet
from tests.support.training import NORMALIZATION, tiny_phase, tiny_recipe, tiny_space

SIDE = 16
CPU = torch.device("cpu")
BOXES = "random_resized_crop"


def picture(height, width, seed):
    return encoded(noise(seed, height=height, width=width))


def dataset(root, shapes):
    contents = [picture(*shape, seed) for seed, shape in enumerate(shapes)]
    labels = [number % 2 for number in range(len(contents))]
    write_image_parquet(root / "a.parquet", labels=labels, contents=contents, class_names="a,b")
    options = dataclasses.replace(dataset_options("parquet:a.parquet"), image_size_px=SIDE)
    prepare_dataset(options, root / "dataset", base=root)
    return root / "dataset"


@pytest.fixture(scope="module")
def oblong(tmp_path_factory):
    shapes = [(16, 40), (40, 16), (16, 16), (10, 12)] * 20
    return dataset(tmp_path_factory.mktemp("oblong"), shapes)


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("square"), [(16, 16)] * 80)


def test_the_ends_of_a_panorama_do_not_stay_in_memory():
    pixels = uncropped_pixels(picture(16, 16 * 40, seed=0), SIDE)
    assert pixels.shape == (16, 16 * LONGEST_SIDE, 3)
    assert pixels.base is None


def test_batches_hold_all_of_each_image(oblong):
    split = open_dataset(oblong).split("train")
    whole = split.uncropped()
    squares = {}
    for batch in split.batches(8):
        squares |= dict(zip(batch.ids.tolist(), batch.images, strict=True))
    seen = set()
    for batch in whole.shuffled_batches(8, seed=0, epoch=0):
        assert batch.images.shape[2:] == tuple(batch.sizes.amax(0).tolist())
        for pixels, size, row in zip(batch.images, batch.sizes, batch.ids.tolist(), strict=True):
            height, width = size.tolist()
            assert not pixels[:, height:].any()
            assert not pixels[:, :, width:].any()
            seen.add((height, width))
            if min(height, width) == SIDE:
                top, left = (height - SIDE) // 2, (width - SIDE) // 2
                middle = pixels[:, top : top + SIDE, left : left + SIDE]
                assert torch.equal(middle, squares[row])
    assert seen == {(16, 40), (40, 16), (16, 16), (10, 12)}


def test_it_has_the_order_and_the_labels_of_the_split(oblong):
    split = open_dataset(oblong).split("train")
    options = {"seed": 3, "epoch": 1, "start_batch": 1, "rows": slice(1, 5)}
    pairs = zip(
        split.shuffled_batches(8, **options),
        split.uncropped().shuffled_batches(8, **options),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.labels, other.labels)


def test_what_is_stored_as_squares_stays_in_memory(square, oblong):
    split = open_dataset(square).split("train")
    assert split.uncropped() is split
    assert near_device(split, CPU, augmentation=BOXES) is split
    split = open_dataset(oblong).split("train")
    assert near_device(split, CPU, augmentation="crop_flip") is split
    whole = near_device(split, CPU, augmentation=BOXES)
    assert whole is not split
    assert not whole.fits_memory
    assert whole.uncropped() is whole


def test_streamed_squares_give_the_same_batches(square):
    kept = open_dataset(square).split("train")
    streamed = open_dataset(square, memory_limit_bytes=1).split("train").uncropped()
    pairs = zip(
        kept.shuffled_batches(8, seed=0, epoch=0),
        streamed.shuffled_batches(8, seed=0, epoch=0),
        strict=True,
    )
    for one, other in pairs:
        assert torch.equal(one.images, other.images)
        assert (other.sizes == SIDE).all()


def test_only_whole_images_have_a_version_of_their_augmentation(square, oblong):
    boxed = open_dataset(oblong).split("train")
    assert augmentation_version(boxed, BOXES) == f"{VERSION} (boxes of whole images)"
    assert augmentation_version(boxed, "crop_flip") is None
    assert augmentation_version(open_dataset(square).split("train"), BOXES) is None


def test_a_training_is_not_continued_with_another_augmentation(oblong, square, tmp_path):
    def train(folder, *, root, epochs=1):
        supernet = build_supernet(tiny_space(), num_classes=3, seed=0)
        checkpoints = Checkpoints(tmp_path / folder, interval_s=0)
        return train_phase(
            supernet,
            tiny_phase(epochs=epochs),
            images=TrainingImages(
                split=open_dataset(root).split("train"), normalization=NORMALIZATION
            ),
            recipe=dataclasses.replace(tiny_recipe(), augmentation=BOXES, workers=1),
            hooks=Hooks(checkpoints=checkpoints),
        )

    train("squares", root=square)
    with pytest.raises(CheckpointError, match=r"version is not set there and 2 \(boxes of whole"):
        train("squares", root=oblong)
    assert len(train("squares", root=square)) == 1
    train("whole", root=oblong)
    assert len(train("whole", root=oblong)) == 1


def test_of_a_panorama_the_middle_counts():
    pixels = np.zeros((10, 100, 3), np.uint8)
    pixels[:, 35:65] = 200
    found = uncropped_pixels(encoded(pixels), 16)
    assert found.shape == (10, 10 * LONGEST_SIDE, 3)
    assert (found == 200).all()


def test_large_images_are_shrunk_to_the_shorter_side():
    assert uncropped_pixels(picture(32, 80, 0), 16).shape == (16, 40, 3)
    assert uncropped_pixels(picture(8, 20, 0), 16).shape == (8, 20, 3)


def test_squares_of_another_size_are_none():
    assert are_squares([picture(16, 16, 0)] * 2, 16)
    assert not are_squares([picture(16, 16, 0), picture(15, 15, 0)], 16)
    assert not are_squares([picture(16, 17, 0)], 16)


def test_training_sees_the_ends_of_images(tmp_path):
    """The middle square of each image is black."""

    def lit_at_an_end(seed):
        pixels = np.zeros((16, 48, 3), np.uint8)
        pixels[:, :12] = 100 + noise(seed, height=16, width=12) // 2
        return encoded(pixels)

    contents = [lit_at_an_end(seed) for seed in range(80)]
    labels = [0, 1] * 40
    write_image_parquet(tmp_path / "a.parquet", labels=labels, contents=contents, class_names="a,b")
    options = dataclasses.replace(dataset_options("parquet:a.parquet"), image_size_px=SIDE)
    prepare_dataset(options, tmp_path / "dataset", base=tmp_path)
    split = open_dataset(tmp_path / "dataset").split("train")
    assert not split.images().any()
    seen = []
    supernet = build_supernet(tiny_space(), num_classes=3, seed=0)
    supernet.stem.register_forward_hook(lambda _, given, __: seen.append(given[0].amax().item()))
    recipe = dataclasses.replace(tiny_recipe(), augmentation=BOXES, workers=1)
    images = TrainingImages(split=split, normalization=NORMALIZATION)
    train_phase(supernet, tiny_phase(), images=images, recipe=recipe)
    black = (0 - 0.5) / 0.25
    assert max(seen) > black + 1
