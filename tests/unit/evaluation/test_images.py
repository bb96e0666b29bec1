import pytest
import torch

from ofa_pipeline.evaluation import ResizedImages, images
from tests.support.training import NORMALIZATION, striped_images


@pytest.fixture
def calls(monkeypatch):
    made = []
    original = images.resize_normalize

    def counted(pixels, *, resolution_px, **options):
        made.append(resolution_px)
        return original(pixels, resolution_px=resolution_px, **options)

    monkeypatch.setattr(images, "resize_normalize", counted)
    return made


def resized(**options):
    return ResizedImages(
        split=striped_images(10), normalization=NORMALIZATION, batch_size=4, **options
    )


def test_images_are_resized_once_a_resolution(calls):
    source = resized()
    for _ in range(3):
        assert [len(batch) for batch, _ in source.batches(8)] == [4, 4, 2]
    assert calls == [8, 8, 8]


def test_the_resolution_used_longest_ago_makes_room(calls):
    one = 10 * 3 * 8 * 8 * 4
    source = resized(memory_limit_bytes=2 * one)
    for resolution_px in (8, 6, 8, 7, 8, 6):
        list(source.batches(resolution_px))
    # 7 drives out 6, which was used before 8; then 6 drives out 7.
    assert [calls[index] for index in range(0, len(calls), 3)] == [8, 6, 7, 6]


def test_what_does_not_fit_is_resized_on_every_pass(calls):
    source = resized(memory_limit_bytes=0)
    first, second = ([batch for batch, _ in source.batches(8)] for _ in range(2))
    assert len(calls) == 6
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_chosen_images_come_in_the_given_order_with_repeats():
    split = striped_images(10)
    source = ResizedImages(
        split=split, normalization=NORMALIZATION, batch_size=2, indices=[3, 3, 0]
    )
    labels = torch.cat([labels for _, labels in source.batches(12)])
    assert torch.equal(labels, split.labels[[3, 3, 0]])
    assert source.num_images == 3
