"""Files that are written from steps: layers that the small space has not, and other families."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from ofa_pipeline.devices import build_runtime
from ofa_pipeline.devices.rounding import Quantization
from ofa_pipeline.errors import ExportError
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.spaces import proxyless, resnet50
from tests.support.runtimes import Settings, tiny_space

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 20, 20), dtype=np.float32)


def pixels_mean(*layers):
    """Return a network of some layers and the mean over pixels."""

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, images):
            return self.layers(images).mean((2, 3))

    torch.manual_seed(0)
    return Mean().eval()


def difference(network, *, runtime="litert", precision="fp32", images=IMAGES):
    """Return how far the logits of the file are from those of the network, relatively."""
    runtime = build_runtime(Settings(runtime=runtime, precision=precision))
    size = images.shape[-1]
    if precision == "int8":
        content = runtime.quantized_content_of(
            network, resolution_px=size, calibration=[np.tile(images, (16, 1, 1, 1))]
        )
    else:
        content = runtime.content_of(network, resolution_px=size)
    logits = runtime.open(content, accelerator="cpu", threads=1)(images)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    return np.abs(logits - expected).max() / np.abs(expected).max()


LAYERS = {
    "as large, stride 1": [nn.Conv2d(3, 8, 5, padding=2)],
    "stride 2 of even size": [nn.Conv2d(3, 8, 3, stride=2, padding=1)],
    "no padding": [nn.Conv2d(3, 8, 3)],
    "more padding than needed": [nn.Conv2d(3, 8, 3, padding=3)],
    "dilation": [nn.Conv2d(3, 8, 3, padding=2, dilation=2)],
    "without bias": [nn.Conv2d(3, 8, 1, bias=False)],
    "depthwise": [nn.Conv2d(3, 3, 3, padding=1, groups=3)],
    "two outputs a channel": [nn.Conv2d(3, 6, 3, padding=1, groups=3)],
    "in groups": [nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3, padding=1, groups=2)],
    "activations": [nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 8, 1), nn.ReLU()],
    "activation first": [nn.ReLU(), nn.Hardswish(), nn.Hardsigmoid()],
    "largest of negative numbers": [nn.Conv2d(3, 8, 1), nn.MaxPool2d(3, stride=2, padding=1)],
    "mean of whole windows": [nn.AvgPool2d(2)],
    "mean of cut windows": [nn.Conv2d(3, 8, 2), nn.AvgPool2d(2, ceil_mode=True)],
    "mean with zeros beyond the edge": [nn.AvgPool2d(3, stride=2, padding=1)],
    "mean without them": [nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_what_they_compute_in_pytorch(name):
    network = pixels_mean(*LAYERS[name])
    assert difference(network) < 1e-5
    assert difference(network, runtime="ncnn") < 1e-5
    assert difference(network, runtime="onnxruntime") < 1e-5
    assert difference(network, precision="int8") < 0.05
    assert difference(network, runtime="executorch") < 1e-5
    assert difference(network, runtime="executorch", precision="int8") < 0.05


@pytest.mark.parametrize("space", [resnet50, partial(proxyless, width_multiplier=1.0)])
def test_other_families_compute_what_they_compute_in_pytorch(space):
    space = space()
    subnet = build_measured_subnet(space, space.smallest, num_classes=3)
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)
    assert difference(subnet, images=images) < 1e-4
    assert difference(subnet, runtime="ncnn", images=images) < 1e-4
    assert difference(subnet, runtime="executorch", images=images) < 1e-4
    assert difference(subnet, runtime="onnxruntime", images=images) < 1e-4


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        nn.AvgPool2d(8, ceil_mode=True),
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True),
    ],
    ids=["zeros that do not count", "cut windows", "cut windows with zeros"],
)
def test_a_mean_that_it_cannot_say_is_refused(pool):
    network = pixels_mean(pool)
    with pytest.raises(ExportError, match=r"the network must .*no mean over pixels"):
        difference(network)


def test_a_channel_of_zeros_and_a_value_of_one_number_are_rounded_to_themselves():
    network = pixels_mean(nn.Conv2d(3, 2, 1), nn.ReLU())
    network.layers[0].weight.data[0], network.layers[0].bias.data[:] = 0, 1
    assert difference(network, precision="int8") < 0.02


@pytest.mark.parametrize("weight", [0.0, 1e-9, 1e-30])
def test_a_channel_of_about_zero_keeps_its_bias_in_int8(weight):
    network = pixels_mean(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))
    before, last = network.layers
    before.weight.data *= 20
    last.weight.data[:] = weight
    last.bias.data[:] = torch.tensor([0.3, -0.2, 0.1])
    assert difference(network, precision="int8") < 0.01


def test_zero_is_a_number_of_every_range():
    for limits in ((0.5, 2.0), (-3.0, -1.0), (0.0, 0.0), (-1.0, 3.0)):
        found = Quantization.of_range(limits)
        assert -128 <= found.zero_point <= 127
        assert found.scale[0] > 0


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.MaxPool2d(2, dilation=2)], "no pool with gaps"),
        ([nn.AvgPool2d(3, padding=1, ceil_mode=True)], "no mean of cut windows"),
    ],
)
def test_a_layer_that_ncnn_lacks_is_named_with_the_subnet(layers, message):
    network = pixels_mean(*layers)
    network.arch = tiny_space().smallest
    expected = rf"subnet {network.arch.arch_id} must .*ncnn has {message}.*runtime pytorch"
    with pytest.raises(ExportError, match=expected):
        difference(network, runtime="ncnn")


ONNX_ONLY = {
    "gaps in a pool": [nn.MaxPool2d(2, dilation=2)],
    "mean of cut windows with zeros": [nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)],
    "mean of cut windows without": [
        nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)
    ],
    "linear layers of each pixel": [nn.Linear(20, 7), nn.Linear(7, 20, bias=False)],
}


@pytest.mark.parametrize("name", ONNX_ONLY)
def test_onnx_says_what_other_formats_lack(name):
    assert difference(pixels_mean(*ONNX_ONLY[name]), runtime="onnxruntime") < 1e-5


@pytest.mark.parametrize(
    ("runtime", "name"), [("ncnn", "ncnn"), ("litert", "LiteRT"), ("executorch", "XNNPACK")]
)
def test_a_linear_layer_of_each_pixel_is_refused(runtime, name):
    network = nn.Sequential(nn.Linear(20, 3))
    with pytest.raises(ExportError, match=f"{name} has no linear layer of each pixel"):
        difference(network, runtime=runtime)
