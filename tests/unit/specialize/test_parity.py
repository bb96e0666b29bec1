"""The exported file answers as its network."""

import numpy as np
import pytest
import torch

from ofa_pipeline.devices import FP32_TOLERANCE, export_onnx, inference_form
from ofa_pipeline.documents import ParityFigures
from ofa_pipeline.errors import ExportError
from ofa_pipeline.specialize.parity import answer_twice, require_parity, top_k_accuracy
from ofa_pipeline.supernet import build_subnet
from tests.support.synthetic import small_space

SPACE = small_space()


@pytest.fixture(scope="module")
def network():
    return inference_form(build_subnet(SPACE, SPACE.smallest, num_classes=4))


def batches(resolution_px, *, count=3):
    generator = torch.Generator().manual_seed(0)
    shape = (5, 3, resolution_px, resolution_px)
    return [(torch.randn(shape, generator=generator), torch.arange(5) % 4) for _ in range(count)]


def test_faithful_export_agrees_on_every_image(network, tmp_path):
    resolution_px = SPACE.smallest.resolution_px
    export_onnx(network, tmp_path / "model.onnx", resolution_px=resolution_px)
    answers = answer_twice(network, tmp_path / "model.onnx", batches(resolution_px))
    parity = answers.parity()
    assert answers.labels.shape == (15,)
    assert parity.max_relative_difference < 1e-4
    assert parity.top1_agreement == 1
    require_parity(parity, FP32_TOLERANCE, what="a subnet")


def test_export_of_another_network_is_refused(network, tmp_path):
    resolution_px = SPACE.smallest.resolution_px
    other = build_subnet(SPACE, SPACE.smallest, num_classes=4, seed=1)
    export_onnx(other, tmp_path / "model.onnx", resolution_px=resolution_px)
    answers = answer_twice(network, tmp_path / "model.onnx", batches(resolution_px))
    with pytest.raises(ExportError, match="subnet 42 must answer as its network"):
        require_parity(answers.parity(), FP32_TOLERANCE, what="subnet 42")


def test_few_agreements_are_refused_however_small_the_difference():
    parity = ParityFigures(
        max_abs_difference=0, max_relative_difference=0, top1_agreement=0.9, num_images=10
    )
    with pytest.raises(ExportError, match=r"90\.00%"):
        require_parity(parity, FP32_TOLERANCE, what="a subnet")


def test_no_image_is_an_error(network, tmp_path):
    resolution_px = SPACE.smallest.resolution_px
    export_onnx(network, tmp_path / "model.onnx", resolution_px=resolution_px)
    with pytest.raises(ExportError, match="needs images"):
        answer_twice(network, tmp_path / "model.onnx", [])


def test_top_k_counts_the_k_most_likely():
    logits = np.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], dtype=np.float32)
    labels = np.array([0, 1, 2])
    assert top_k_accuracy(logits, labels, k=1) == pytest.approx(1 / 3)
    assert top_k_accuracy(logits, labels, k=2) == pytest.approx(2 / 3)
    assert top_k_accuracy(logits, labels, k=5) == 1
