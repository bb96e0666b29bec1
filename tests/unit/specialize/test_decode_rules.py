"""One set of rules: an image file reaches the network as the same pixels, whoever reads it."""

import ast
import importlib.util
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ofa_pipeline.data import (
    Decoding,
    Normalization,
    SourceImages,
    prepare_dataset,
)
from ofa_pipeline.data.decode import square_pixels
from ofa_pipeline.data.transforms import resize_normalize
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.specialize import Classifier, classify_code
from tests.support.images import dataset_options, encoded, noise
from tests.support.odd_images import odd_images
from tests.support.registry import write_bundle

SIDE = 16


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of one image of every kind, twice over in two classes."""
    root = tmp_path_factory.mktemp("odd")
    for label, size in (("a", (24, 37)), ("b", (19, 16))):
        (root / "images" / label).mkdir(parents=True)
        for name, content in odd_images(height=size[0], width=size[1]).items():
            (root / "images" / label / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def stored(source):
    """What the pipeline's networks see of each image, by its path."""
    options = dataset_options("image_folder:images", image_size_px=SIDE, test_fraction=0.1)
    prepare_dataset(options, source / "dataset", base=source)
    assert pq.read_table(source / "dataset" / "quarantine.parquet").num_rows == 0
    rows = [
        row
        for path in (source / "dataset").glob("*-*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    return {row["image"]["path"]: square_pixels(row["image"]["bytes"], SIDE) for row in rows}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "it"
    return write_bundle(folder, resolution_px=12, image_size_px=SIDE)


def shipped(bundle):
    """The classify.py of a bundle, as a stranger imports it."""
    spec = importlib.util.spec_from_file_location("shipped_classify", bundle / "classify.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_image_has_the_same_pixels_in_all_four_ways(source, stored, bundle):
    images = SourceImages(
        "image_folder:images",
        base=source,
        image_size_px=SIDE,
        decoding=Decoding(as_stored=True),
    )
    evaluated = np.concatenate([batch.images.numpy() for batch in images.batches(5)])
    paths = sorted(stored)
    assert len(paths) == images.num_images == 2 * len(odd_images())
    predicted, alone = Classifier(bundle), shipped(bundle).Classifier(bundle)
    for path, pixels in zip(paths, evaluated.transpose(0, 2, 3, 1), strict=True):
        file = source / "images" / path
        for found in (pixels, predicted.read(file), alone.read(file)):
            np.testing.assert_array_equal(found, stored[path], err_msg=path)


def test_the_network_gets_the_same_numbers_and_gives_the_same_logits(source, stored, bundle):
    predicted, alone = Classifier(bundle), shipped(bundle).Classifier(bundle)
    squares = np.stack([stored[path] for path in sorted(stored)])
    prepared = predicted.prepare(squares)
    np.testing.assert_array_equal(prepared, alone.prepare(squares))
    np.testing.assert_array_equal(predicted.logits(prepared), alone.logits(prepared))
    evaluated = resize_normalize(
        torch.from_numpy(squares).permute(0, 3, 1, 2),
        resolution_px=12,
        normalization=Normalization(mean=(0.5,) * 3, std=(0.25,) * 3),
    )
    torch.testing.assert_close(evaluated, torch.from_numpy(prepared), rtol=0, atol=1e-5)


def test_values_of_deep_images_mean_the_same_everywhere(tmp_path):
    folder = write_bundle(tmp_path / "bundle", image_size_px=SIDE, value_range=(0, 4095))
    values = np.random.default_rng(0).integers(0, 4096, (SIDE, SIDE)).astype(np.uint16)
    for name in ("deep.png", "deep.tiff"):
        (tmp_path / "images" / name[5:]).mkdir(parents=True)
        file = tmp_path / "images" / name[5:] / name
        Image.fromarray(values).save(file)
        stored = square_pixels(file.read_bytes(), SIDE, value_range=(0, 4095))
        assert np.ptp(stored) > 250
        np.testing.assert_array_equal(Classifier(folder).read(file), stored)
        np.testing.assert_array_equal(shipped(folder).Classifier(folder).read(file), stored)
    images = SourceImages(
        "image_folder:images",
        base=tmp_path,
        image_size_px=SIDE,
        decoding=Decoding(as_stored=True, value_range=(0, 4095)),
    )
    [batch] = images.batches(2)
    for evaluated in batch.images.numpy().transpose(0, 2, 3, 1):
        np.testing.assert_array_equal(evaluated, stored)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"text", "not an image"),
        (b"", "not an image"),
        (encoded(noise(0))[:60], "not a readable image"),
        ("float", "32-bit floats without an agreed range"),
    ],
)
def test_what_the_pipeline_refuses_is_refused_by_the_shipped_code(
    bundle, tmp_path, content, reason
):
    if content == "float":
        buffer = io.BytesIO()
        Image.fromarray(np.array([[0.5]], dtype=np.float32)).save(buffer, format="TIFF")
        content = buffer.getvalue()
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    module = shipped(bundle)
    with pytest.raises(DatasetError, match=reason) as ours:
        Classifier(bundle).read(path)
    with pytest.raises(module.DatasetError, match=reason) as theirs:
        module.Classifier(bundle).read(path)
    assert str(ours.value) == str(theirs.value)


def test_shipped_program_goes_on_after_a_bad_image(bundle, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no")
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "blue.png")
    words = [str(tmp_path / name) for name in ("bad.png", "none.png", "blue.png")]
    command = [sys.executable, "-I", str(bundle / "classify.py"), *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout.split("\t")[1] == "blue"
    assert "bad.png: not an image" in ended.stderr
    assert "none.png cannot be read" in ended.stderr


def test_shipped_code_defines_every_name_once():
    """Two modules become one file: a name of both would be one value for both."""
    tree = ast.parse(classify_code())
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names += [part.id for part in ast.walk(node) if is_stored(part)]
    assert len(names) == len(set(names))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any(name.startswith("ofa_pipeline") for name in modules)


def is_stored(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def test_shipped_code_needs_only_what_it_says(bundle):
    probe = (
        "import json, sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); "
        "import classify; classify.Classifier(sys.argv[1]); "
        "print(json.dumps(sorted({n.partition('.')[0] for n in set(sys.modules) - before})))"
    )
    command = [sys.executable, "-I", "-c", probe, str(bundle)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(json.loads(shown.stdout))
    assert loaded.isdisjoint({"ofa_pipeline", "torch", "mlflow", "pydantic", "pandas", "scipy"})
