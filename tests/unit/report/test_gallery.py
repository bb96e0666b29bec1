import base64
import io

import numpy as np
import pytest
from PIL import Image

from ofa_pipeline.report import load_contents
from ofa_pipeline.report import loading_gallery as loading
from ofa_pipeline.report.loading_gallery import MOST_CLASSES, picture_of
from tests.support.report import page_of
from tests.support.report_workspace import write_report_workspace


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    root = tmp_path_factory.mktemp("workspace")
    return load_contents(write_report_workspace(root), title="A title")


def decoded(picture):
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2])))


def pixel(picture):
    return decoded(picture).convert("RGB").getpixel((5, 5))


def test_every_class_is_shown_with_its_training_images(contents):
    cat, dog = contents.gallery.classes
    assert (cat.name, dog.name) == ("cat", "dog")
    assert [pixel(picture) for picture in cat.pictures] == [
        (200, 20 * number, 0) for number in (0, 2, 4, 6, 8)
    ]
    assert [pixel(picture)[2] for picture in dog.pictures] == [100] * 5


def test_errors_are_the_test_images_that_the_best_subnet_misses(contents):
    [error] = contents.gallery.errors
    assert (error.true, error.predicted, error.count) == ("cat", "dog", 1)
    assert [pixel(picture) for picture in error.pictures] == [(200, 20, 0)]


def test_page_shows_the_pictures_with_texts(contents):
    page = page_of(contents)
    assert page.count("<img ") == 10 + 1
    assert 'alt="cat, taken for dog, test image 1"' in page


def test_large_picture_becomes_small_and_a_gray_one_stays_gray():
    large = decoded(picture_of(np.full((300, 300, 3), [10, 200, 30], dtype=np.uint8)))
    assert (large.format, large.size, large.mode) == ("JPEG", (96, 96), "RGB")
    gray = decoded(picture_of(np.full((28, 28, 3), 7, dtype=np.uint8)))
    assert (gray.format, gray.size, gray.mode) == ("PNG", (28, 28), "L")


def test_of_many_classes_those_are_shown_that_are_missed_most(contents):
    names = tuple(f"c{number}" for number in range(MOST_CLASSES + 2))
    counts = np.diag([5] * len(names))
    counts[np.arange(2, len(names)), 0] = 1
    confusion = loading.ConfusionFacts(
        subnet=contents.confusion.subnet,
        class_names=names,
        counts=tuple(map(tuple, counts)),
        file="",
    )
    assert loading.shown_classes(confusion) == list(range(2, len(names)))
