import numpy as np
import pytest
from PIL import Image

from ofa_pipeline.data import prepare_dataset
from ofa_pipeline.data.decode import FileFacts
from ofa_pipeline.data.summarize import MAX_REASONS, group_passed
from ofa_pipeline.data.survey import MAX_SIZES, Survey
from ofa_pipeline.dataset_summary import read_summary
from ofa_pipeline.errors import DatasetError
from tests.support.images import dataset_options, encoded, noise, write_image_folder


def summary_of(tmp_path, **changes):
    options = dataset_options("image_folder:images", **changes)
    prepare_dataset(options, tmp_path / "dataset", base=tmp_path)
    return read_summary(tmp_path / "dataset")


def warnings_of(tmp_path, **changes):
    return " ".join(summary_of(tmp_path, **changes).warnings)


def write_deep(root, *, low, high, images=12, classes=("cat", "dog")):
    """Write 16-bit gray images, each different, that reach both ends of a range."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(images):
            rng = np.random.default_rng(100 * label + index)
            values = rng.integers(low, high + 1, (8, 8)).astype(np.uint16)
            values[0, :2] = low, high
            Image.fromarray(values).save(root / name / f"{index}.png")


def test_ordinary_images_cause_no_warning(tmp_path):
    write_image_folder(tmp_path / "images")
    summary = summary_of(tmp_path)
    assert summary.warnings == ()
    assert summary.passed == ()
    assert summary.modes == {"RGB": 20}
    assert summary.sizes.frequent == ((8, 8, 20),)


def test_splits_say_whether_the_source_brought_them(tmp_path):
    write_image_folder(tmp_path / "images" / "train")
    write_image_folder(tmp_path / "images" / "dev", seed=5000)
    given = {split.name: split.is_given for split in summary_of(tmp_path).splits}
    assert given == {"train": True, "calibration": False, "selection": False, "test": True}


def test_what_is_passed_over_is_counted_by_reason_with_examples(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for index in range(5):
        (root / "cat" / f"{index}.txt").write_text("note")
        (root / "dog" / f"bad{index}.png").write_text("")
    (root / "dog" / "page.jpg").write_text("<!DOCTYPE html><html>404</html>")
    summary = summary_of(tmp_path, max_bad_fraction=0.5)
    assert [(item.fate, item.reason, item.count) for item in summary.passed] == [
        ("lost", "not an image: the content is empty", 5),
        ("lost", "not an image: the content is a web page: the download of the image failed", 1),
        ("skipped", "not an image: a text", 5),
    ]
    assert summary.passed[0].examples == ("dog/bad0.png", "dog/bad1.png", "dog/bad2.png")


def test_classes_ten_to_one_are_warned_about(tmp_path):
    write_image_folder(tmp_path / "images", classes=("cat",), images_a_class=100)
    write_image_folder(tmp_path / "images", classes=("dog",), images_a_class=10, seed=5000)
    assert "largest class, cat, has 100 images, the smallest, dog, has 10" in warnings_of(tmp_path)


def test_classes_below_ten_to_one_are_not(tmp_path):
    write_image_folder(tmp_path / "images", classes=("cat",), images_a_class=99)
    write_image_folder(tmp_path / "images", classes=("dog",), images_a_class=10, seed=5000)
    assert warnings_of(tmp_path) == ""


@pytest.mark.parametrize(
    ("names", "shown"), [(("1", "01", "2"), "01 and 1"), (("cat", "Cat "), '"Cat " and cat')]
)
def test_classes_whose_names_hardly_differ_are_warned_about(tmp_path, names, shown):
    write_image_folder(tmp_path / "images", classes=names)
    assert f"names hardly differ: {shown}" in warnings_of(tmp_path)


@pytest.mark.parametrize(
    ("side_px", "asked_px", "message"),
    [
        (64, 16, r"20 of 20 images have a shorter side of 4 times dataset.image_size_px (16)"),
        (8, 32, r"all images are much smaller than dataset.image_size_px (32)"),
    ],
)
def test_sizes_far_from_what_is_asked_are_warned_about(tmp_path, side_px, asked_px, message):
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(10):
            pixels = noise(100 * label + index, height=side_px, width=side_px)
            (tmp_path / f"images/{name}/{index}.png").write_bytes(encoded(pixels))
    assert message in warnings_of(tmp_path, image_size_px=asked_px)


def test_small_images_among_large_ones_are_warned_about(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for index in range(30):
        pixels = noise(9000 + index, height=32, width=32)
        (root / "cat" / f"large{index}.png").write_bytes(encoded(pixels))
    message = "20 of 50 images have a shorter side below half of dataset.image_size_px (32)"
    assert message in warnings_of(tmp_path, image_size_px=32)


def test_panoramas_whose_ends_are_cut_off_are_counted(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for index, (height, width) in enumerate([(8, 24), (24, 8), (8, 25), (25, 8), (30, 100)]):
        pixels = noise(9000 + index, height=height, width=width)
        (root / "cat" / f"long{index}.png").write_bytes(encoded(pixels))
    text = warnings_of(tmp_path)
    assert "3 of 25 images are panoramas, more than 3 times as long as wide" in text


def test_gray_images_stored_as_colour_are_warned_about(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for index in range(3):
        gray = np.repeat(noise(9000 + index)[:, :, :1], 3, axis=2)
        (root / "cat" / f"gray{index}.png").write_bytes(encoded(gray))
        (root / "cat" / f"plain{index}.png").write_bytes(encoded(noise(9100 + index)[:, :, 0]))
    assert "3 of 26 images are gray and stored as colour" in warnings_of(tmp_path)


def test_many_copies_and_contradictions_are_warned_about(tmp_path):
    root = write_image_folder(tmp_path / "images")
    for name in ("cat", "dog"):
        (root / name / "same.png").write_bytes(encoded(noise(1)))
    text = warnings_of(tmp_path)
    assert "2 of 22 images are exact copies" in text
    assert "3 images have the same pixels as one of another class" in text


# ---- more than 8 bits -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        (0, 4095, "[0, 4095]"),
        (12, 3000, "[0, 4095]"),
        (5, 1023, "[0, 1023]"),
        (0, 16000, "[0, 16383]"),
        (7200, 9100, "[7200, 9100]"),
    ],
)
def test_values_in_a_small_part_of_sixteen_bits_are_warned_about(tmp_path, low, high, advice):
    write_deep(tmp_path / "images", low=low, high=high)
    text = warnings_of(tmp_path)
    assert f"24 images with more than 8 bits a channel lie in {low} to {high}" in text
    assert f"Set dataset.value_range: {advice}" in text


def test_full_range_of_sixteen_bits_is_not(tmp_path):
    write_deep(tmp_path / "images", low=0, high=65535)
    assert warnings_of(tmp_path) == ""


def test_value_range_keeps_the_levels_and_ends_the_warning(tmp_path):
    write_deep(tmp_path / "images", low=0, high=4095)
    assert warnings_of(tmp_path, value_range=(0, 4095)) == ""


def test_values_beyond_the_range_are_warned_about(tmp_path):
    write_deep(tmp_path / "images", low=0, high=9000)
    text = warnings_of(tmp_path, value_range=(0, 4095))
    assert "0 to 9000: those beyond dataset.value_range [0, 4095] are cut off" in text


def test_value_range_without_such_images_has_no_effect_and_says_so(tmp_path):
    write_image_folder(tmp_path / "images")
    assert "value_range has no effect" in warnings_of(tmp_path, value_range=(0, 4095))


def test_images_that_collapse_are_the_reason_why_a_class_is_too_small(tmp_path):
    write_deep(tmp_path / "images", low=0, high=60)
    with pytest.raises(DatasetError) as error:
        summary_of(tmp_path)
    text = str(error.value)
    assert "12 of its 12 images have the same pixels as another one" in text
    assert "Set dataset.value_range: [0, 60]" in text
    assert "Add images" not in text


def test_class_too_small_for_another_reason_still_wants_images(tmp_path):
    write_image_folder(tmp_path / "images", images_a_class=3)
    with pytest.raises(DatasetError, match="Add images of it"):
        summary_of(tmp_path)


# ---- bounds -----------------------------------------------------------------------------------


def test_reasons_that_differ_in_numbers_are_one():
    [one] = group_passed("lost", [(f"{i}.png", f"has {i:,} x {i} pixels") for i in range(2000)])
    assert (one.count, one.reason, len(one.examples)) == (2000, "has 0 x 0 pixels", 3)


def test_many_reasons_are_counted_together():
    found = group_passed("lost", [("a.png", "r" + "x" * i) for i in range(100)])
    assert len(found) == MAX_REASONS + 1
    assert sum(item.count for item in found) == 100
    assert found[0].reason == "other reasons, see quarantine.parquet"


def test_sizes_that_are_counted_are_bounded():
    survey = Survey(8)
    for side in range(1, 2 * MAX_SIZES):
        facts = FileFacts("RGB", side, 1, None)
        survey.add(facts, is_gray_as_color=False, is_panorama=False)
    assert len(survey.sizes) == MAX_SIZES
    assert survey.largest == (2 * MAX_SIZES - 1, 1)
