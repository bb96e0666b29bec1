"""The code that ships: it prepares images exactly as the evaluation does, with numpy alone."""

import json

import numpy as np
import pytest
import torch

from ofa_pipeline.data import Normalization
from ofa_pipeline.data.decode import square_pixels
from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.devices import find_runtime, runtime_names
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.specialize import Classifier
from ofa_pipeline.specialize.bundle import shipped_file
from tests.support.images import encoded, noise
from tests.support.registry import write_bundle

OF_DATA = [name for name in runtime_names() if not find_runtime(name).network.is_code]
"""Runtimes whose files are data; what a library needs is tested with its runtime."""
NORMALIZATION = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture
def make_classifier(tmp_path):
    def make(*, image_size_px, resolution_px):
        folder = tmp_path / f"{image_size_px}-{resolution_px}"
        return Classifier(
            write_bundle(folder, resolution_px=resolution_px, image_size_px=image_size_px)
        )

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
        normalization=NORMALIZATION,
    )
    prepared = classifier.prepare(pixels)
    assert prepared.dtype == np.float32
    torch.testing.assert_close(torch.from_numpy(prepared), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("runtime", [n for n in runtime_names() if find_runtime(n).options])
def test_the_file_runs_with_the_options_that_it_was_measured_with(tmp_path, runtime):
    image = np.full((1, 9, 9, 3), (40, 40, 200), dtype=np.uint8)
    name, values = next(iter(find_runtime(runtime).options.items()))
    folder = write_bundle(tmp_path / "told", runtime=runtime, options={name: values[0]})
    assert Classifier(folder).predict(image).argmax() == 2
    odd = write_bundle(tmp_path / "odd", runtime=runtime, options={name: "NOT_ONE_OF_THEM"})
    if isinstance(values[0], str):
        with pytest.raises(ManifestMismatchError, match=", but: "):
            Classifier(odd).predict(image)


def test_onnx_runtime_is_not_told_what_another_runtime_was(tmp_path):
    folder = write_bundle(
        tmp_path / "told", runtime="openvino", options={"SCHEDULING_CORE_TYPE": "ANY_CORE"}
    )
    image = np.full((1, 9, 9, 3), (40, 40, 200), dtype=np.uint8)
    assert Classifier(folder, prefer_onnx=True).predict(image).argmax() == 2


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


@pytest.mark.parametrize("name", ["classify.py", "network.py"])
def test_shipped_code_imports_nothing_of_this_package(tmp_path, name):
    code = (write_bundle(tmp_path / "bundle", runtime="pytorch") / name).read_text()
    assert "import ofa_pipeline" not in code
    assert "from ofa_pipeline" not in code


def red(side=9):
    image = np.zeros((1, side, side, 3), dtype=np.uint8)
    image[..., 0] = 200
    return image


@pytest.mark.parametrize("runtime", OF_DATA)
def test_only_the_file_that_was_measured_is_read(tmp_path, runtime):
    folder = write_bundle(tmp_path / "bundle", runtime=runtime)
    file = shipped_file(runtime)
    for other in {"model.onnx", *map(shipped_file, runtime_names())} - {file}:
        (folder / other).unlink(missing_ok=True)
    classifier = Classifier(folder)
    assert classifier.file == folder / file
    assert classifier.predict(red()).argmax() == 0
    (folder / file).write_bytes(b"damaged")
    with pytest.raises(Exception, match="was changed after it was written"):
        Classifier(folder)


def test_package_runs_no_code_of_a_bundle(tmp_path):
    folder = write_bundle(tmp_path / "bundle", runtime="pytorch")
    (folder / "card.json").unlink()
    for name in ("network.py", "classify.py"):
        (folder / name).write_text("raise SystemExit('code of the bundle')")
    assert Classifier(folder).predict(red()).argmax() == 0


def test_network_computes_with_the_threads_that_it_was_measured_with(tmp_path, monkeypatch):
    folder = write_bundle(tmp_path / "bundle", runtime="pytorch")
    asked = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    Classifier(folder).predict(red())
    assert asked == [1, 7]
    Classifier(folder, threads=2).predict(red())
    assert asked == [1, 7, 2, 7]


def runs_of(folder, **changes):
    description = json.loads((folder / "subnet.json").read_text())
    description["runs"] |= changes
    (folder / "subnet.json").write_text(json.dumps(description))
    (folder / "card.json").unlink(missing_ok=True)


@pytest.mark.parametrize("runtime", OF_DATA)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_bundle_of_a_gpu_says_that_it_runs_elsewhere(tmp_path, runtime):
    folder = write_bundle(tmp_path / "bundle", runtime=runtime)
    runs_of(folder, accelerator="cuda")
    with pytest.warns(UserWarning, match="measured on a CUDA GPU"):
        classifier = Classifier(folder)
    assert classifier.predict(red()).argmax() == 0


def test_unknown_runtime_is_refused(tmp_path):
    folder = write_bundle(tmp_path / "bundle", runtime="pytorch")
    runs_of(folder, runtime="tflite")
    known = "aotinductor, executorch, litert, ncnn, onnxruntime, openvino, pytorch"
    with pytest.raises(ManifestMismatchError, match=f"{known}, got tflite"):
        Classifier(folder)
