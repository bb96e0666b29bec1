import math

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_pipeline.data import Normalization, SourceImages
from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.errors import DatasetError
from tests.support.images import encoded, noise, write_image_folder


def test_images_come_as_squares_in_the_order_of_the_source(tmp_path):
    write_image_folder(tmp_path, images_a_class=3)
    images = SourceImages(f"image_folder:{tmp_path}", base=tmp_path, image_size_px=8)
    batches = list(images.batches(4))
    assert [len(batch.ids) for batch in batches] == [4, 2]
    assert torch.cat([batch.ids for batch in batches]).tolist() == list(range(6))
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 0, 0, 1, 1, 1]
    first = batches[0].images[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(first, noise(0))


def test_a_split_of_the_source_is_chosen(tmp_path):
    write_image_folder(tmp_path / "train", images_a_class=3)
    write_image_folder(tmp_path / "val", images_a_class=2)
    for split, count in ((None, 10), ("train", 6), ("test", 4)):
        images = SourceImages(
            f"image_folder:{tmp_path}", base=tmp_path, image_size_px=8, split=split
        )
        assert images.num_images == sum(len(b.ids) for b in images.batches(3)) == count


def test_split_that_the_source_lacks_is_an_error(tmp_path):
    write_image_folder(tmp_path)
    with pytest.raises(DatasetError, match="must have a test split of its own, it has train"):
        SourceImages(f"image_folder:{tmp_path}", base=tmp_path, image_size_px=8, split="test")


@pytest.mark.parametrize("content", [b"text", None])
def test_unreadable_image_is_named(tmp_path, content):
    write_image_folder(tmp_path)
    (tmp_path / "cat" / "05.png").unlink()
    if content is None:
        (tmp_path / "cat" / "05.png").symlink_to("nowhere")
    else:
        (tmp_path / "cat" / "05.png").write_bytes(content)
    images = SourceImages(f"image_folder:{tmp_path}", base=tmp_path, image_size_px=8)
    with pytest.raises(DatasetError, match=r"cat/05\.png"):
        list(images.batches(4))


@pytest.mark.parametrize("resolution_px", [128, 224])
def test_evaluation_pixels_equal_those_of_torchvision(tmp_path, resolution_px):
    transforms = pytest.importorskip("torchvision.transforms")
    write_image_folder(tmp_path, images_a_class=1)
    pixels = noise(5, height=300, width=400)
    (tmp_path / "cat" / "00.png").write_bytes(encoded(pixels))
    resized_px = math.ceil(resolution_px / 0.875)
    images = SourceImages(f"image_folder:{tmp_path}", base=tmp_path, image_size_px=resized_px)
    (batch,) = images.batches(2)
    found = resize_normalize(
        batch.images[:1],
        resolution_px=resolution_px,
        normalization=Normalization(mean=(0.0,) * 3, std=(1.0,) * 3),
    )
    reference = transforms.Compose(
        [
            transforms.Resize(resized_px),
            transforms.CenterCrop(resolution_px),
            transforms.ToTensor(),
        ]
    )
    expected = reference(Image.fromarray(pixels))[None]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
