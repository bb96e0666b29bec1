"""The code that ships: it prepares images exactly as the evaluation does, with numpy alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_pipeline.data import resize_normalize
from ofa_pipeline.data.decode import square_pixels
from ofa_pipeline.specialize import Classifier
from tests.support.images import encoded, noise
from tests.support.registry import CLASS_NAMES, write_bundle

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.fixture
def make_classifier(tmp_path):
    def make(*, image_size_px, resolution_px):
        folder = write_bundle(
            tmp_path / f"{image_size_px}-{resolution_px}", resolution_px=resolution_px
        )
        description = json.loads((folder / "subnet.json").read_text())
        (folder / "subnet.json").write_text(
            json.dumps(description | {"image_size_px": image_size_px})
        )
        return Classifier(folder)

    return make


@pytest.mark.parametrize(
    ("image_size_px", "resolution_px"),
    [(28, 16), (28, 28), (28, 20), (16, 24), (160, 64), (160, 160)],
)
@pytest.mark.parametrize("shape", [(28, 28), (160, 160), (31, 50), (200, 130), (1, 1), (3, 90)])
def test_images_are_prepared_as_in_the_evaluation(
    make_classifier, image_size_px, resolution_px, shape
):
    classifier = make_classifier(image_size_px=image_size_px, resolution_px=resolution_px)
    pixels = noise(0, height=shape[0], width=shape[1])
    stored = square_pixels(encoded(pixels), image_size_px)
    expected = resize_normalize(
        torch.from_numpy(stored.copy()).permute(2, 0, 1)[None],
        resolution_px=resolution_px,
        mean=MEAN,
        std=STD,
    )
    prepared = classifier.prepare(pixels)
    assert prepared.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(prepared), expected, rtol=0, atol=1e-4)


def test_probabilities_sum_to_one_and_favor_the_strongest_color(make_classifier):
    images = np.full((300, 9, 11, 3), 40, dtype=np.uint8)
    images[np.arange(300), :, :, np.arange(300) % 3] = 200
    probabilities = make_classifier(image_size_px=16, resolution_px=8).predict(images)
    assert probabilities.shape == (300, 3)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == np.arange(300) % 3).all()


def test_no_image_gives_no_probabilities(make_classifier):
    classifier = make_classifier(image_size_px=16, resolution_px=8)
    assert classifier.predict(np.zeros((0, 4, 4, 3), dtype=np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 4, 4, 3), dtype=np.float32),
        np.zeros((1, 3, 4, 4), dtype=np.uint8),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((1, 0, 4, 3), dtype=np.uint8),
    ],
)
def test_other_types_and_shapes_are_refused(make_classifier, images):
    with pytest.raises(ValueError, match="images must"):
        make_classifier(image_size_px=16, resolution_px=8).predict(images)


def test_bundle_classifies_files_where_this_package_is_not_installed(tmp_path):
    folder = write_bundle(tmp_path / "bundle")
    path = tmp_path / "blue.png"
    Image.new("RGB", (30, 20), (0, 0, 255)).save(path)
    command = [sys.executable, "-I", "classify.py", str(path)]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split("\t")[1] == CLASS_NAMES[2]


def test_shipped_code_imports_nothing_of_this_package(tmp_path):
    code = (write_bundle(tmp_path / "bundle") / "classify.py").read_text()
    assert "import ofa_pipeline" not in code
    assert "from ofa_pipeline" not in code
