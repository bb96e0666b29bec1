import pytest

from ofa_pipeline.data.crop import evaluation_crop, uncropped_side_px


@pytest.mark.parametrize(
    ("side_px", "resolution_px", "resized_px", "start"),
    [
        (127, 224, 224, 0),  # nothing to crop away in a small image
        (128, 224, 256, 16),
        (500, 224, 256, 16),
        (500, 128, 147, 10),  # 9.5 pixels: to the even number
        (500, 160, 183, 12),  # 11.5
    ],
)
def test_middle_of_large_images_is_kept(side_px, resolution_px, resized_px, start):
    size, kept = evaluation_crop(side_px, resolution_px)
    assert (size, kept) == (resized_px, slice(start, start + resolution_px))


def test_side_before_the_crop_is_a_seventh_larger_rounded_up():
    assert [uncropped_side_px(r) for r in (112, 128, 224)] == [128, 147, 256]
