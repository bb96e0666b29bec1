import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from ofa_pipeline.data.decode import (
    _can_decode_heic,
    center_square,
    decode_image,
    decode_source_image,
    encode,
    rgb_pixels,
    shrink,
    square_pixels,
)
from ofa_pipeline.errors import DatasetError
from tests.support.images import encoded, noise


def saved(image, image_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def test_colour_png_decodes_to_its_pixels():
    pixels = noise(0)
    np.testing.assert_array_equal(rgb_pixels(decode_image(encoded(pixels))), pixels)


def test_gray_stays_gray_and_repeats_over_the_channels():
    gray = noise(0)[:, :, 0]
    image = decode_image(encoded(gray))
    assert image.mode == "L"
    np.testing.assert_array_equal(rgb_pixels(image), np.stack([gray] * 3, axis=-1))


def test_sixteen_bit_png_is_scaled_to_eight_bits():
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    image = decode_image(saved(Image.fromarray(deep), "PNG"))
    assert np.asarray(image).tolist() == [[0, 1, 128, 255]]


def test_thirty_two_bit_integers_beyond_sixteen_bits_are_refused():
    content = saved(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), "TIFF")
    with pytest.raises(DatasetError, match="pixels must lie in 0 to 65535"):
        decode_image(content)


def test_float_pixels_are_refused():
    content = saved(Image.fromarray(np.array([[0.5]], dtype=np.float32)), "TIFF")
    with pytest.raises(DatasetError, match="without an agreed range"):
        decode_image(content)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_value_range_becomes_the_eight_bits(image_format):
    deep = np.array([[0, 8, 2048, 4095, 9000]], dtype=np.uint16)
    content = saved(Image.fromarray(deep), image_format)
    image = decode_image(content, value_range=(0, 4095))
    assert np.asarray(image).tolist() == [[0, 0, 128, 255, 255]]
    shifted = decode_image(content, value_range=(2048, 4095))
    assert np.asarray(shifted).tolist() == [[0, 0, 0, 255, 255]]


def test_full_value_range_is_what_none_means():
    deep = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    content = saved(Image.fromarray(deep), "PNG")
    np.testing.assert_array_equal(
        decode_image(content), decode_image(content, value_range=(0, 65535))
    )


def test_value_range_lets_floats_and_large_integers_in():
    for values in (np.array([[0.25, 0.5]], np.float32), np.array([[-70000, 70000]], np.int32)):
        low, high = float(values.min()), float(values.max())
        image = decode_image(saved(Image.fromarray(values), "TIFF"), value_range=(low, high))
        assert np.asarray(image).tolist() == [[0, 255]]


def test_values_that_are_no_numbers_are_refused():
    content = saved(Image.fromarray(np.array([[np.nan, 1]], np.float32)), "TIFF")
    with pytest.raises(DatasetError, match="must be finite"):
        decode_image(content, value_range=(0, 1))


def test_value_range_leaves_eight_bits_alone():
    content = encoded(noise(0))
    np.testing.assert_array_equal(decode_image(content, value_range=(0, 10)), decode_image(content))


def deep_colour_png():
    """Return a PNG of one RGB pixel with 16 bits a channel: 256, 512, 4095."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + struct.pack(">HHH", 256, 512, 4095))
    for name, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        parts.append(struct.pack(">I", len(data)) + name + data + checksum)
    return b"".join(parts)


def test_deep_colour_is_known_by_its_range_and_refuses_another():
    found = decode_source_image(deep_colour_png(), at_least_px=8).file
    assert (found.mode, found.values) == ("RGB;16", (256.0, 4095.0))
    with pytest.raises(DatasetError, match="for gray images, this one has 16 bits"):
        decode_image(deep_colour_png(), value_range=(0, 4095))


def test_file_facts_are_those_of_the_file_not_of_the_draft():
    content = encoded(noise(0, height=100, width=160), "JPEG")
    found = decode_source_image(content, at_least_px=10).file
    assert (found.mode, found.width, found.height, found.values) == ("RGB", 160, 100, None)


def test_avif_is_decoded():
    content = saved(Image.new("RGB", (16, 8), (200, 30, 30)), "AVIF")
    assert decode_image(content).size == (16, 8)


def test_heic_is_decoded_where_the_extra_is_installed():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    content = saved(Image.new("RGB", (16, 8), (200, 30, 30)), "HEIF")
    red, green, _ = rgb_pixels(decode_image(content))[4, 8]
    assert red > 180
    assert green < 60
    with pytest.raises(DatasetError, match="a damaged HEIC file"):
        decode_image(content[: len(content) // 2])


def test_heic_names_the_extra_where_it_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    _can_decode_heic.cache_clear()
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    try:
        with pytest.raises(DatasetError, match=r"HEIC.*pip install 'ofa-pipeline\[heif\]'"):
            decode_image(content)
    finally:
        _can_decode_heic.cache_clear()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"  <!DOCTYPE HTML><html></html>", "download of the image failed"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'></svg>", "SVG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a film"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\0\1\2\3", "no known image format"),
    ],
)
def test_what_no_decoder_knows_is_named(content, words):
    with pytest.raises(DatasetError, match=words):
        decode_image(content)


def test_cmyk_jpeg_becomes_colour():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    pixels = rgb_pixels(decode_image(saved(cmyk, "JPEG", quality=95)))
    assert pixels.shape == (8, 8, 3)
    assert pixels[0, 0, 0] > 200
    assert pixels[0, 0, 1] < 80


def test_palette_becomes_colour():
    palette = Image.fromarray(np.full((4, 4, 3), (200, 10, 60), np.uint8)).quantize(4)
    assert rgb_pixels(decode_image(saved(palette, "PNG")))[0, 0].tolist() == [200, 10, 60]


def test_transparent_pixels_show_white():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    pixels = rgb_pixels(decode_image(saved(image, "PNG")))
    assert pixels.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_transparent_colour_of_a_png_shows_white():
    content = saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert rgb_pixels(decode_image(content)).tolist() == [[[255, 255, 255]]]


def test_bilevel_becomes_gray():
    image = decode_image(saved(Image.new("1", (3, 2), 1), "PNG"))
    assert image.mode == "L"
    assert np.asarray(image).min() == 255


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(Image.fromarray(noise(1, height=4, width=8)), "JPEG", exif=exif)
    assert decode_image(content).size == (4, 8)


def test_one_pixel_decodes():
    assert decode_image(encoded(noise(0, height=1, width=1))).size == (1, 1)


def test_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert rgb_pixels(decode_image(content))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "BMP"])
def test_truncated_file_is_refused(image_format):
    content = encoded(noise(0, height=64, width=64), image_format)
    with pytest.raises(DatasetError, match="not a"):
        decode_image(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"just text\n", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(content):
    with pytest.raises(DatasetError, match="not a"):
        decode_image(content)


def test_image_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr("ofa_pipeline.data.decode.MAX_PIXELS", 63)
    with pytest.raises(DatasetError, match="may have 63 pixels, this one has 8 x 8"):
        decode_image(encoded(noise(0)))


@pytest.mark.parametrize(
    ("content", "is_plain"),
    [
        (encoded(noise(0)), True),
        (encoded(noise(0), "JPEG"), True),
        (encoded(noise(0), "BMP"), False),
        (saved(Image.new("CMYK", (8, 8)), "JPEG"), False),
        (saved(Image.fromarray(np.zeros((8, 8), np.uint16)), "PNG"), False),
        (saved(Image.new("RGBA", (8, 8)), "PNG"), False),
        (encoded(noise(0), comment=b"") + b"\0" * 9000, False),
    ],
)
def test_only_files_that_hold_just_the_pixels_are_plain(content, is_plain):
    assert decode_source_image(content, at_least_px=8).is_plain is is_plain


def test_rotated_jpeg_is_not_plain():
    exif = Image.Exif()
    exif[0x0112] = 3
    content = saved(Image.fromarray(noise(1)), "JPEG", exif=exif)
    assert not decode_source_image(content, at_least_px=8).is_plain


def test_large_jpeg_is_decoded_small_but_never_below_twice_the_size():
    content = encoded(noise(0, height=100, width=160), "JPEG")
    assert decode_source_image(content, at_least_px=10).image.size == (40, 25)
    assert decode_source_image(content, at_least_px=26).image.size == (160, 100)


def test_shrink_brings_the_shorter_side_to_size_and_keeps_proportions():
    assert shrink(Image.new("RGB", (100, 50)), 10).size == (20, 10)
    assert shrink(Image.new("RGB", (50, 99)), 10).size == (10, 19)


def test_shrink_leaves_small_images_alone():
    image = Image.new("RGB", (100, 10))
    assert shrink(image, 10) is image


def test_center_square_is_the_middle():
    pixels = noise(0, height=4, width=8)
    square = center_square(Image.fromarray(pixels))
    np.testing.assert_array_equal(np.asarray(square), pixels[:, 2:6])


def test_square_pixels_of_a_smaller_image_are_enlarged():
    assert square_pixels(encoded(noise(0, height=1, width=3)), 8).shape == (8, 8, 3)


def test_small_images_are_stored_without_loss_even_when_resized():
    pixels = noise(0, height=16, width=16)
    for lossless in (True, False):
        stored = encode(Image.fromarray(pixels), lossless=lossless)
        np.testing.assert_array_equal(rgb_pixels(decode_image(stored)), pixels)


def test_large_resized_images_are_stored_as_jpeg():
    image = Image.new("RGB", (128, 128))
    assert encode(image, lossless=False).startswith(b"\xff\xd8")
    assert encode(image, lossless=True).startswith(b"\x89PNG")
