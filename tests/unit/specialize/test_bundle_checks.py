"""What is no bundle is refused in a sentence, by the package and by the code that ships."""

import json

import numpy as np
import pytest

from ofa_pipeline.errors import ManifestMismatchError, OfaPipelineError
from ofa_pipeline.specialize import Classifier, load_bundle, write_bundle
from tests.support import documents as samples
from tests.support import registry as support
from tests.support.synthetic import small_space


@pytest.fixture
def bundle(tmp_path):
    made = support.write_bundle(tmp_path / "made")
    (made / "weights.safetensors").write_bytes(b"weights")
    subnet = samples.subnet_description(space=small_space(resolutions_px=(8,)))
    write_bundle(tmp_path / "bundle", files_from=made, subnet=subnet, card=samples.card())
    return tmp_path / "bundle"


def edit(bundle, name, **changes):
    """Change a document, and what the card says of it, as somebody with intent would."""
    path = bundle / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    if name == "subnet.json":
        card = json.loads((bundle / "card.json").read_text())
        card["files"].pop(name)
        (bundle / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image_size_px": 200_000}, "image_size_px must be a whole number from 1 to 1024"),
        ({"image_size_px": 0}, "image_size_px"),
        ({"image_size_px": "16"}, "image_size_px"),
        ({"image_size_px": True}, "image_size_px"),
        ({"arch": {"resolution_px": 10**9}}, r"arch\.resolution_px"),
        ({"arch": None}, r"arch\.resolution_px"),
        ({"std": [0, 0, 0]}, "std must be three numbers from 1e-06 to 1"),
        ({"std": [1e-40] * 3}, "std"),
        ({"std": [float("nan")] * 3}, "std"),
        ({"std": [float("inf")] * 3}, "std"),
        ({"std": 0.5}, "std"),
        ({"mean": [0.5, 0.5]}, "mean must be three numbers"),
        ({"mean": [0.5, 0.5, -1]}, "mean"),
        ({"mean": None}, "mean"),
        (
            {"runs": {"runtime": "tflite"}},
            "runs.runtime must be one of aotinductor, executorch, litert, ncnn, onnxruntime, "
            "openvino, pytorch",
        ),
        ({"runs": []}, "runs"),
        ({"runs": {"file": "../../etc/passwd"}}, "runs must name the file"),
        ({"runs": {"threads": 10**9}}, "runs"),
        ({"runs": {"accelerator": "tpu"}}, "runs"),
        ({"class_names": []}, "class_names"),
        ({"class_names": "abc"}, "class_names"),
        ({"class_names": ["a", "a", "b"]}, "class_names"),
        ({"class_names": ["a", "b", 3]}, "class_names"),
        ({"value_range": [5, 5]}, "value_range must be two finite numbers"),
        ({"value_range": [0, float("inf")]}, "value_range"),
        ({"value_range": 3}, "value_range"),
        ({"num_classes": 4}, "num_classes must be the number of class_names"),
    ],
)
def test_description_out_of_bounds_is_refused(bundle, changes, named):
    edit(bundle, "subnet.json", **changes)
    for use in (Classifier, load_bundle):
        with pytest.raises(ManifestMismatchError, match=named) as raised:
            use(bundle)
        assert "subnet.json" in str(raised.value)
        assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"arch": {"resolution_px": 8}}, "arch"),
        ({"space": small_space().to_dict(), "num_classes": 3}, "architecture of its space"),
    ],
)
def test_architecture_must_be_whole_and_of_its_space(bundle, changes, named):
    edit(bundle, "subnet.json", **changes)
    with pytest.raises(ManifestMismatchError, match=named):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"accuracy": {"accuracy_top1": 7, "accuracy_top5": 1, "num_test_images": 9}}, "top1"),
        ({"budgets_ms": [float("nan")]}, "budgets_ms"),
        ({"latency": {"cpu": {"p50_ms": -1}}}, r"latency\.cpu"),
        ({"cost": {"macs": -1}}, r"cost\.macs"),
        ({"lineage": [1]}, "lineage"),
        ({"files": {"model.onnx": "zz"}}, "files"),
    ],
)
def test_card_out_of_bounds_is_refused(bundle, changes, named):
    edit(bundle, "card.json", **changes)
    with pytest.raises(ManifestMismatchError, match=named):
        load_bundle(bundle)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'"' + b"x" * 99])
@pytest.mark.parametrize("name", ["subnet.json", "card.json"])
def test_document_that_is_none_is_refused(bundle, name, content):
    (bundle / name).write_bytes(content)
    for use in (Classifier, load_bundle):
        with pytest.raises(ManifestMismatchError, match=f"{name} must be"):
            use(bundle)


@pytest.mark.parametrize(
    "name", ["subnet.json", "model.onnx", "weights.safetensors", "classify.py"]
)
def test_flipped_bit_is_found(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    place = content.index(b'"std"') + 20 if name == "subnet.json" else len(content) // 2
    content[place] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(ManifestMismatchError):
        load_bundle(bundle)
    if name in ("subnet.json", "model.onnx"):
        with pytest.raises(ManifestMismatchError):
            Classifier(bundle)


def test_network_is_compared_with_the_certificate_of_an_older_card(bundle):
    digest = "0" * 64
    path = bundle / "card.json"
    path.write_text(json.dumps({"latency": {"d": {"file": "model.onnx", "file_digest": digest}}}))
    with pytest.raises(ManifestMismatchError, match="was changed after it was written"):
        Classifier(bundle)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x08" * 500])
def test_malformed_network_is_a_sentence(bundle, content):
    (bundle / "card.json").unlink()
    (bundle / "model.onnx").write_bytes(content)
    with pytest.raises(ManifestMismatchError, match="that onnxruntime can run"):
        Classifier(bundle)


def test_huge_file_in_place_is_a_sentence_and_is_not_read(bundle):
    (bundle / "card.json").unlink()
    for name, size in (("model.onnx", 2 * 2**30), ("subnet.json", 2**30)):
        with (bundle / name).open("r+b") as file:
            file.truncate(size)  # sparse: it takes no space
        with pytest.raises(ManifestMismatchError, match="must have at most"):
            Classifier(bundle)


def test_network_of_other_shapes_is_refused(bundle, tmp_path):
    other = support.write_bundle(tmp_path / "other", resolution_px=12)
    (bundle / "card.json").unlink()
    (other / "model.onnx").replace(bundle / "model.onnx")
    classifier = Classifier(bundle)
    with pytest.raises(OfaPipelineError, match=r"must take images \(1, 3, 8, 8\) and give 3"):
        classifier.predict(np.zeros((9, 9, 3), np.uint8))
