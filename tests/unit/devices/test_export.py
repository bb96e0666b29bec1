import collections

import numpy as np
import onnx
import pytest
import torch

from ofa_pipeline.devices import build_runtime, export_onnx, inference_form
from ofa_pipeline.devices.export import OPSET, onnx_bytes
from ofa_pipeline.errors import DeviceError, ExportError
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.spaces import mobilenet_v3
from tests.support.runtimes import Settings, tiny_space, tiny_subnet


def operators(content):
    return collections.Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def test_the_same_network_gives_the_same_bytes():
    assert onnx_bytes(tiny_subnet(), resolution_px=16) == onnx_bytes(
        tiny_subnet(), resolution_px=16
    )


def test_batch_norm_is_folded_and_activations_stay_single_operators():
    found = operators(onnx_bytes(tiny_subnet(tiny_space().largest), resolution_px=20))
    assert "BatchNormalization" not in found
    assert found["HardSwish"] > 0
    assert found["HardSigmoid"] > 0
    assert "Clip" not in found
    assert set(found) == {
        *("Add", "Conv", "Gemm", "HardSigmoid", "HardSwish", "MatMul", "Mul", "ReduceMean", "Relu"),
        "Unsqueeze",
    }


def test_the_batch_is_left_to_the_caller():
    model = onnx.load_from_string(onnx_bytes(tiny_subnet(), resolution_px=16))
    [images], [logits] = model.graph.input, model.graph.output
    assert [images.name, logits.name] == ["images", "logits"]
    assert [d.dim_param or d.dim_value for d in images.type.tensor_type.shape.dim] == [
        *("batch", 3, 16, 16)
    ]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 3]


def test_weights_and_operators_have_the_names_of_their_layers():
    graph = onnx.load_from_string(onnx_bytes(tiny_subnet(), resolution_px=16)).graph
    weights = {item.name for item in graph.initializer}
    assert {"stem.conv.weight", "stem.conv.bias", "classifier.weight"} <= weights
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"stem.conv", "classifier"} <= set(names)


def test_every_value_has_its_shape():
    graph = onnx.load_from_string(onnx_bytes(tiny_subnet(), resolution_px=16)).graph
    described = {item.name for item in [*graph.value_info, *graph.output]}
    assert described == {name for node in graph.node for name in node.output}


def test_layers_that_do_not_fit_the_images_are_refused_with_the_layer():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(9, 3))
    with pytest.raises(ExportError, match=r"the network must .*for 8 px: .*name: 1.product"):
        onnx_bytes(network, resolution_px=8)


def test_the_operator_set_is_pinned_and_the_file_valid(tmp_path):
    export_onnx(tiny_subnet(), tmp_path / "model.onnx", resolution_px=16)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_inference_form_computes_the_same_and_leaves_the_network_alone():
    subnet = tiny_subnet()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = inference_form(subnet)(images), subnet(images)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in subnet.modules())


def test_inference_form_of_another_network_is_a_copy_in_evaluation_mode():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Dropout())
    form = inference_form(network)
    assert not form.training
    assert network.training
    assert form is not network


@pytest.mark.parametrize("space", [tiny_space(), mobilenet_v3(width_multiplier=1.0)])
def test_weights_of_a_measured_subnet_keep_activations_far_from_denormal_numbers(space):
    arch = space.archs(space.genes([space.largest]))[0]
    subnet = build_measured_subnet(space, arch, num_classes=10)
    largest = []
    for module in subnet.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda *call: largest.append(call[2].abs().max().item()))
    with torch.no_grad():
        subnet(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert min(largest) > 1e-3
    assert max(largest) < 1e4
    assert np.isfinite(largest).all()


def test_a_layer_that_onnx_lacks_is_named_with_its_subnet():
    subnet = tiny_subnet()
    subnet.register_module("classifier", Angles())
    expected = rf"subnet {subnet.arch.arch_id}: .* must consist of .*found the function angle"
    with pytest.raises(ExportError, match=expected):
        onnx_bytes(subnet, resolution_px=16)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_operator_that_a_runtime_lacks_is_named_with_its_file(name, tmp_path):
    model = onnx.load_from_string(onnx_bytes(tiny_subnet(), resolution_px=16))
    model.graph.node[0].op_type = "Frobnicate"
    onnx.save(model, tmp_path / "odd.onnx")
    runtime = build_runtime(Settings(runtime=name))
    with pytest.raises(DeviceError, match=rf"{name} cannot load .*odd.onnx: [\s\S]*Frobnicate"):
        runtime.load(runtime.prepare(tmp_path / "odd.onnx", resolution_px=16))


class Angles(torch.nn.Module):
    def forward(self, values):
        return torch.angle(values)
