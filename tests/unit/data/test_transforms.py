import math

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_pipeline.compute import BatchPart
from ofa_pipeline.data import Normalization
from ofa_pipeline.data.transforms import augment, random_boxes, resize_normalize
from tests.support.images import noise

PLAIN = Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def batch(count, *, side, seed=0):
    pixels = [noise(seed + index, height=side, width=side) for index in range(count)]
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy())


def resized_by_pillow(images, side):
    pixels = [
        np.asarray(Image.fromarray(i.permute(1, 2, 0).numpy()).resize((side, side), 2))
        for i in images
    ]
    return torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2).copy()).float()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("side", "resolution_px"), [(28, 16), (28, 20), (32, 28), (28, 40)])
def test_resize_equals_pillow_up_to_its_rounding(side, resolution_px):
    images = batch(3, side=side)
    found = resize_normalize(images, resolution_px=resolution_px, normalization=PLAIN) * 255
    expected = resized_by_pillow(images, resolution_px)
    assert (found - expected).abs().max() <= 1.01


@pytest.mark.parametrize(("side", "resolution_px"), [(28, 16), (32, 28), (28, 40)])
def test_resize_equals_torch(side, resolution_px):
    images = batch(3, side=side)
    found = resize_normalize(images, resolution_px=resolution_px, normalization=PLAIN) * 255
    expected = torch.nn.functional.interpolate(
        images.float(), size=(resolution_px,) * 2, mode="bilinear", antialias=True
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_resize_to_the_same_size_keeps_every_pixel():
    images = batch(2, side=16)
    found = resize_normalize(images, resolution_px=16, normalization=PLAIN)
    torch.testing.assert_close(found * 255, images.float(), rtol=0, atol=1e-4)


def test_images_are_left_as_they_were():
    images = batch(2, side=16)
    before = images.clone()
    resize_normalize(
        images, resolution_px=16, normalization=Normalization(mean=(0.5,) * 3, std=(0.2,) * 3)
    )
    augment(images, kind="crop_flip", resolution_px=16, generator=generator(), normalization=PLAIN)
    augment(
        images,
        kind="random_resized_crop",
        resolution_px=16,
        generator=generator(),
        normalization=PLAIN,
    )
    assert torch.equal(images, before)


def test_normalized_pixels_have_the_mean_and_deviation_taken_away():
    images = torch.full((1, 3, 4, 4), 51, dtype=torch.uint8)
    found = resize_normalize(
        images,
        resolution_px=4,
        normalization=Normalization(mean=(0.1, 0.2, 0.3), std=(0.1, 0.2, 0.4)),
    )
    expected = torch.tensor([1.0, 0.0, -0.25])
    torch.testing.assert_close(found[0, :, 0, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("resolution_px", [128, 160, 224])
def test_large_images_are_resized_and_cropped_as_on_imagenet(resolution_px):
    images = batch(1, side=256)
    found = resize_normalize(images, resolution_px=resolution_px, normalization=PLAIN) * 255
    resized = math.ceil(resolution_px / 0.875)
    start = round((resized - resolution_px) / 2)
    end = start + resolution_px
    expected = resized_by_pillow(images, resized)[:, :, start:end, start:end]
    assert (found - expected).abs().max() <= 1.01


@pytest.mark.parametrize("kind", ["crop_flip", "random_resized_crop"])
def test_equal_seeds_give_equal_images(kind):
    images = batch(8, side=16)
    arguments = {"kind": kind, "resolution_px": 12, "normalization": PLAIN}
    one = augment(images, generator=generator(1), **arguments)
    assert one.shape == (8, 3, 12, 12)
    assert one.dtype == torch.float32
    assert torch.equal(one, augment(images, generator=generator(1), **arguments))
    assert not torch.equal(one, augment(images, generator=generator(2), **arguments))


def test_crop_flip_shifts_and_mirrors_each_image_by_itself():
    image = batch(1, side=16)
    found = augment(
        image.expand(250, -1, -1, -1),
        kind="crop_flip",
        resolution_px=16,
        generator=generator(),
        normalization=PLAIN,
    )
    padded = torch.nn.functional.pad(image[0], [2] * 4).float() / 255
    seen = set()
    for result in found:
        matches = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.allclose(
                result.flip(-1) if flip else result,
                padded[:, top : top + 16, left : left + 16],
                atol=1e-6,
            )
        ]
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 50


def test_crop_flip_shifts_by_an_eighth_of_the_side():
    image = torch.zeros(300, 3, 32, 32, dtype=torch.uint8)
    image[:, :, 16, 16] = 255
    found = augment(
        image, kind="crop_flip", resolution_px=32, generator=generator(), normalization=PLAIN
    )
    rows = found[:, 0].amax(dim=2).argmax(dim=1)
    assert (int(rows.min()), int(rows.max())) == (12, 20)


def test_crop_flip_is_augmented_at_native_size_and_then_resized():
    images = batch(6, side=16)
    native = augment(
        images, kind="crop_flip", resolution_px=16, generator=generator(3), normalization=PLAIN
    )
    found = augment(
        images, kind="crop_flip", resolution_px=10, generator=generator(3), normalization=PLAIN
    )
    expected = resize_normalize(
        (native * 255).round().byte(), resolution_px=10, normalization=PLAIN
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def boxes_of(count, height, width):
    sizes = torch.tensor([[height, width]]).expand(count, 2)
    return random_boxes(sizes, generator(), BatchPart(0, count))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96), (120, 40)])
def test_random_boxes_follow_torchvision(height, width):
    transforms = pytest.importorskip("torchvision.transforms")
    rows, columns = boxes_of(1000, height, width)
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    drawn = torch.tensor(
        [
            transforms.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
            for _ in range(1000)
        ]
    ).float()
    ours = torch.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], dim=1)
    error = 4 * drawn.std(dim=0) / math.sqrt(500)
    assert ((ours.mean(dim=0) - drawn.mean(dim=0)).abs() < error).all()
    assert ((ours.std(dim=0) - drawn.std(dim=0)).abs() < error).all()


def test_where_no_box_fits_it_is_what_torchvision_takes():
    """Of 20 to 1 and 1 to 20, the middle as long as a ratio may be."""
    transforms = pytest.importorskip("torchvision.transforms")
    for height, width in ((400, 20), (20, 400)):
        image = torch.empty(3, height, width)
        scale = [0.9, 1.0]
        expected = transforms.RandomResizedCrop.get_params(image, scale, [3 / 4, 4 / 3])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ofa_pipeline.data.transforms.SCALE_RANGE", tuple(scale))
            rows, columns = boxes_of(5, height, width)
        found = torch.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], dim=1)
        assert found.tolist() == [[float(value) for value in expected]] * 5


def test_random_boxes_lie_within_the_image():
    rows, columns = boxes_of(5000, 20, 20)
    for boxes in (rows, columns):
        assert (boxes[:, 0] >= 0).all()
        assert (boxes.sum(dim=1) <= 20).all()
        assert (boxes[:, 1] >= 1).all()


def test_random_boxes_of_one_pixel_are_that_pixel():
    rows, columns = boxes_of(10, 1, 1)
    assert rows.tolist() == columns.tolist() == [[0.0, 1.0]] * 10


@pytest.mark.parametrize("margin", [0, 5])
def test_random_resized_crop_equals_the_crop_resized(monkeypatch, margin):
    images = torch.nn.functional.pad(batch(4, side=24), [0, margin, 0, 2 * margin], value=255)
    rows = torch.tensor([[0.0, 24.0], [3.0, 12.0], [10.0, 14.0], [5.0, 7.0]])
    columns = torch.tensor([[0.0, 24.0], [1.0, 16.0], [8.0, 9.0], [5.0, 8.0]])
    monkeypatch.setattr("ofa_pipeline.data.transforms.random_boxes", lambda *_: (rows, columns))
    monkeypatch.setattr("ofa_pipeline.data.transforms._jitter_color", lambda pixels, *_: pixels)
    found = augment(
        images,
        kind="random_resized_crop",
        resolution_px=12,
        generator=generator(),
        normalization=PLAIN,
        sizes=torch.tensor([[24, 24]] * 4),
    )
    for index, image in enumerate(images):
        (top, height), (left, width) = rows[index].int().tolist(), columns[index].int().tolist()
        crop = image[None, :, top : top + height, left : left + width].float()
        expected = torch.nn.functional.interpolate(
            crop, size=(12, 12), mode="bilinear", antialias=True
        )[0]
        differences = [
            (candidate * 255 - expected).abs().max().item()
            for candidate in (found[index], found[index].flip(-1))
        ]
        assert min(differences) < 1e-3


def test_color_jitter_keeps_gray_gray_and_pixels_in_range():
    gray = batch(50, side=8)[:, :1].expand(-1, 3, -1, -1)
    found = augment(
        gray,
        kind="random_resized_crop",
        resolution_px=8,
        generator=generator(),
        normalization=PLAIN,
    )
    torch.testing.assert_close(found[:, 0], found[:, 1], rtol=0, atol=1e-5)
    assert found.min() >= 0
    assert found.max() <= 1


def test_color_jitter_stays_within_its_limits():
    images = torch.full((500, 3, 4, 4), 100, dtype=torch.uint8)
    found = augment(
        images,
        kind="random_resized_crop",
        resolution_px=4,
        generator=generator(),
        normalization=PLAIN,
    )
    factor = found[:, 0, 0, 0] * 255 / 100
    assert 1 - 32 / 255 <= factor.min() < 0.9
    assert 1 + 32 / 255 >= factor.max() > 1.1


def test_mixed_precision_around_it_changes_nothing():
    images = batch(2, side=16)
    arguments = {"kind": "random_resized_crop", "resolution_px": 12, "normalization": PLAIN}
    plain = augment(images, generator=generator(), **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = augment(images, generator=generator(), **arguments)
    assert torch.equal(plain, mixed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["crop_flip", "random_resized_crop"])
def test_augmentation_is_the_same_on_cpu_and_gpu(kind):
    images = batch(8, side=32)
    arguments = {"kind": kind, "resolution_px": 24, "normalization": PLAIN}
    on_cpu = augment(images, generator=generator(), **arguments)
    on_gpu = augment(images.cuda(), generator=generator(), **arguments)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=0, atol=1e-4)


def test_no_augmentation_is_the_evaluation_transform_and_draws_nothing():
    images, source = batch(4, side=16), generator()
    before = source.get_state()
    found = augment(images, kind="none", resolution_px=12, generator=source, normalization=PLAIN)
    assert torch.equal(found, resize_normalize(images, resolution_px=12, normalization=PLAIN))
    assert torch.equal(source.get_state(), before)


@pytest.mark.parametrize("kind", ["none", "crop_flip", "random_resized_crop"])
def test_a_part_of_a_batch_is_transformed_as_within_the_whole(kind):
    images = batch(6, side=24)
    arguments = {"kind": kind, "resolution_px": 16, "normalization": PLAIN}
    whole = augment(images, generator=generator(), **arguments)
    part = augment(images[2:5], generator=generator(), part=BatchPart(2, 6), **arguments)
    torch.testing.assert_close(part, whole[2:5], rtol=0, atol=1e-6)


def test_boxes_reach_the_ends_of_each_image_and_no_canvas_around_it():
    """The first image is high, the second wide; what is not theirs is white."""
    images = torch.full((200, 3, 36, 48), 255, dtype=torch.uint8)
    images[::2, :, :, :12] = 0
    images[1::2, :, :12] = 0
    images[::2, :, 30:, :12] = 100  # the ends
    images[1::2, :, :12, 42:] = 100
    sizes = torch.tensor([[36, 12], [12, 48]]).repeat(100, 1)
    found = augment(
        images,
        kind="random_resized_crop",
        resolution_px=8,
        generator=generator(),
        normalization=PLAIN,
        sizes=sizes,
    )
    assert found.max() < 200 / 255
    assert (found[::2].amax((1, 2, 3)) > 0.3).any()
    assert (found[1::2].amax((1, 2, 3)) > 0.3).any()


def test_a_part_of_a_batch_of_several_sizes_draws_its_own():
    images = batch(6, side=24)
    sizes = torch.tensor([[24, 12], [10, 24], [24, 24], [15, 20], [7, 24], [24, 9]])
    arguments = {"kind": "random_resized_crop", "resolution_px": 16, "normalization": PLAIN}
    whole = augment(images, generator=generator(), sizes=sizes, **arguments)
    part = augment(
        images[2:5], generator=generator(), part=BatchPart(2, 6), sizes=sizes[2:5], **arguments
    )
    torch.testing.assert_close(part, whole[2:5], rtol=0, atol=1e-6)
