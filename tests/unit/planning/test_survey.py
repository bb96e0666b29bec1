import numpy as np
import pytest

from ofa_pipeline.errors import DatasetError
from ofa_pipeline.planning import survey_source
from tests.support.images import encoded, noise, write_image_folder, write_image_parquet


def test_images_are_counted_and_a_sample_is_measured(tmp_path):
    write_image_folder(tmp_path / "photos", images_a_class=30)
    gray = np.repeat(noise(7, height=40, width=50)[..., :1], 3, axis=2)
    (tmp_path / "photos/cat/gray.png").write_bytes(encoded(gray))
    found = survey_source("image_folder:photos", base=tmp_path, num_images=1000)
    assert (found.num_images, found.num_sampled, found.num_gray) == (61, 61, 1)
    assert found.class_counts == (31, 30)
    assert (found.smallest_class, found.largest_class) == (("dog", 30), ("cat", 31))
    assert (found.shorter_sides_px[0], found.shorter_sides_px[-1]) == (8, 40)
    assert found.shorter_side_px(0.5) == 8
    assert found.lines[0] == "61 images of 2 classes, 30 (dog) to 31 (cat) each"
    assert "1 gray, 60 colour (of a sample of 61)" in found.lines[1]


def test_only_a_sample_of_all_classes_is_decoded(tmp_path):
    write_image_folder(tmp_path / "photos", images_a_class=50)
    found = survey_source("image_folder:photos", base=tmp_path, num_images=10)
    assert (found.num_images, found.num_sampled) == (100, 10)


def test_time_ends_the_sample(tmp_path):
    write_image_folder(tmp_path / "photos", images_a_class=50)
    assert survey_source("image_folder:photos", base=tmp_path, seconds=0).num_sampled == 3


def test_a_parquet_file_is_surveyed_without_reading_it_whole(tmp_path):
    write_image_parquet(tmp_path / "a.parquet", labels=[0, 1, 1, None] * 20)
    found = survey_source("parquet:a.parquet", base=tmp_path, num_images=8)
    assert (found.num_images, found.class_counts) == (60, (20, 40))
    assert found.num_sampled == 6  # of the first 8 rows, those with a label


def test_shares_of_the_splits_of_a_source_are_estimated(tmp_path):
    write_image_folder(tmp_path / "photos/train", images_a_class=30)
    write_image_folder(tmp_path / "photos/test", images_a_class=10, seed=5)
    found = survey_source("image_folder:photos", base=tmp_path)
    assert found.fixed_splits == {"test"}
    assert found.split_shares == {"train": 0.75, "test": 0.25}


def test_images_that_cannot_be_decoded_are_named(tmp_path):
    write_image_folder(tmp_path / "photos", images_a_class=3)
    (tmp_path / "photos/cat/cut.png").write_bytes(encoded(noise(1))[:40])
    found = survey_source("image_folder:photos", base=tmp_path)
    assert found.num_sampled == 6
    [unreadable] = found.unreadable
    assert unreadable.startswith("cat/cut.png: ")
    assert "1 of 7 looked at cannot be decoded: cat/cut.png" in found.lines[-1]


def test_a_source_without_a_readable_image_is_refused(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "a.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(DatasetError, match=r"must be readable, but none of 2 .*cat/a\.png"):
        survey_source("image_folder:photos", base=tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [((), "does not exist"), (("a.txt",), "it has no folders"), (("cat/a.txt",), "no images")],
)
def test_a_folder_without_classes_or_images_is_refused(tmp_path, files, message):
    for name in files:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_text("text")
    with pytest.raises(DatasetError, match=message):
        survey_source("image_folder:photos", base=tmp_path)
