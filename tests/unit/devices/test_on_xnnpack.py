"""The runtimes that compute with XNNPACK: LiteRT and ExecuTorch."""

import gc
import importlib.metadata
import json
import subprocess
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from ofa_pipeline.devices import build_runtime
from ofa_pipeline.errors import DeviceError, ExportError
from tests.support.runtimes import (
    QuantizedContract,
    RuntimeContract,
    Settings,
    tiny_space,
)


class OnXnnpack(RuntimeContract):
    """What both runtimes that compute with XNNPACK must do besides."""

    refusal: str
    """What they say of images of another size than the file's."""

    @pytest.fixture
    def network(self, runtime, subnet):
        content = runtime.content_of(subnet, resolution_px=20)
        return runtime.open(content, accelerator="cpu", threads=1)

    def test_a_batch_is_as_long_as_the_caller_wants(self, network):
        images = np.random.default_rng(0).standard_normal((5, 3, 20, 20), dtype=np.float32)
        alone = np.concatenate([network(images[i : i + 1]) for i in range(5)])
        np.testing.assert_allclose(network(images), alone, rtol=1e-5, atol=1e-6)

    def test_the_calling_thread_does_the_work(self, runtime, subnet):
        """The meter takes its CPU time for that of the network."""
        loaded = runtime.load(runtime.prepare(subnet, resolution_px=20))
        loaded.run()
        of_thread, of_process = time.thread_time(), time.process_time()
        for _ in range(200):
            loaded.run()
        assert time.thread_time() - of_thread > 0.8 * (time.process_time() - of_process)

    @pytest.mark.parametrize("count", [1, 2])
    def test_images_of_another_size_are_refused(self, network, count):
        """The pixels that a file adds at the edges are those of its own size."""
        with pytest.raises(ValueError, match=self.refusal):
            network(np.zeros((count, 3, 21, 21), np.float32))

    def test_threads_that_call_at_once_get_their_own_answers(self, network):
        """As those of a server that runs a registered model."""
        rng = np.random.default_rng(0)
        asked = [rng.standard_normal((1, 3, 20, 20), dtype=np.float32) for _ in range(8)]
        alone = [network(images) for images in asked]
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(network, asked * 100))
        for number, logits in enumerate(found):
            np.testing.assert_array_equal(logits, alone[number % 8])


class TestLiteRt(OnXnnpack):
    refusal = "Dimension mismatch"

    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="litert"))

    def test_a_truncated_file_is_refused(self, runtime, subnet, tmp_path):
        path = tmp_path / "model.tflite"
        path.write_bytes(runtime.content_of(subnet, resolution_px=20)[:10_000])
        with pytest.raises(DeviceError, match=r"litert cannot load .*model\.tflite"):
            runtime.load(runtime.prepare(path, resolution_px=20))

    def test_a_file_cannot_be_written_without_the_package(self, runtime, subnet, monkeypatch):
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
        with pytest.raises(DeviceError, match=r"pip install 'ofa-pipeline\[litert\]'"):
            runtime.content_of(subnet, resolution_px=20)

    def test_an_operator_that_it_lacks_is_named_with_the_subnet(self, runtime):
        network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2, dilation=2))
        network.arch = tiny_space().smallest
        expected = rf"subnet {network.arch.arch_id} must .*no pool with gaps.*runtime pytorch"
        with pytest.raises(ExportError, match=expected):
            runtime.content_of(network, resolution_px=20)


class TestExecuTorch(OnXnnpack):
    refusal = (
        r"must be of shape \(N, 3, 20, 20\), as the file was written for, got \(., 3, 21, 21\)"
    )

    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="executorch"))

    @pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.9999])
    def test_a_truncated_or_changed_file_is_refused(self, runtime, subnet, tmp_path, part):
        """ExecuTorch would hang with some of these."""
        path, content = tmp_path / "model.pte", runtime.content_of(subnet, resolution_px=20)
        place = int(part * len(content))
        changed = bytearray(content)
        changed[place] ^= 0xFF
        for spoiled in (content[:place], bytes(changed)):
            path.write_bytes(spoiled)
            with pytest.raises(
                DeviceError, match=r"executorch cannot load .*model\.pte: .*cut off"
            ):
                runtime.load(runtime.prepare(path, resolution_px=20))

    def test_an_installation_for_another_torch_is_said(self, runtime, subnet, monkeypatch):
        prepared = runtime.prepare(subnet, resolution_px=20)
        without = types.ModuleType("executorch.extension.pybindings")
        monkeypatch.setitem(sys.modules, without.__name__, without)
        monkeypatch.delitem(sys.modules, f"{without.__name__}._C", raising=False)
        expected = rf"must be one for torch {torch.__version__}, but .*cannot import name '_C'"
        with pytest.raises(DeviceError, match=expected.replace("+", r"\+")):
            runtime.load(prepared)

    def test_more_images_than_a_call_takes_are_called_in_parts(self, network):
        images = np.random.default_rng(0).standard_normal((300, 3, 20, 20), dtype=np.float32)
        found = network(images)
        assert found.shape == (300, 3)
        np.testing.assert_allclose(found[-2:], network(images[-2:]), rtol=1e-5, atol=1e-6)

    def test_a_file_cannot_be_written_without_the_package(self, runtime, subnet, monkeypatch):
        def missing(name):
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "distribution", missing)
        with pytest.raises(DeviceError, match=r"pip install 'ofa-pipeline\[executorch\]'"):
            runtime.content_of(subnet, resolution_px=20)

    def test_an_operator_that_it_lacks_is_named_with_the_subnet(self, runtime):
        pool = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)
        network = nn.Sequential(nn.Conv2d(3, 4, 1), pool)
        network.arch = tiny_space().smallest
        expected = rf"subnet {network.arch.arch_id} must .*no mean of cut windows.*runtime pytorch"
        with pytest.raises(ExportError, match=expected):
            runtime.content_of(network, resolution_px=20)

    def test_networks_with_two_numbers_of_threads_are_not_open_at_once(self, runtime, subnet):
        """ExecuTorch would take the threads of the first one away: its next call would crash."""
        content = runtime.content_of(subnet, resolution_px=20)
        network = runtime.open(content, accelerator="cpu", threads=1)
        with pytest.raises(ValueError, match="networks with 1 are open in this one"):
            runtime.open(content, accelerator="cpu", threads=2)
        del network
        gc.collect()
        assert runtime.open(content, accelerator="cpu", threads=2) is not None


class TestExecuTorchInInt8(QuantizedContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="executorch", precision="int8"))

    def test_weights_have_a_scale_for_each_channel_and_values_one(
        self, runtime, subnet, images, tmp_path
    ):
        content = runtime.quantized_content_of(subnet, resolution_px=20, calibration=[images])
        graph = xnnpack_graph(content, tmp_path)
        weights, values, in_float32 = [], [], []
        for value in graph["xvalues"]:
            content = value["xvalue_union"]
            if value["xvalue_union_type"] == "XNNTensorValue":
                in_float32.append(content["dims"])
            elif content["quant_params_type"] == "PerChannelQuant":
                weights.append((content["tensor_value"], content["quant_params"]))
            else:
                values.append(content["tensor_value"]["datatype"])
        kernels = [
            (tensor["dims"][scales.get("channel_dim", 0)], len(scales["scale"]))
            for tensor, scales in weights
        ]
        assert kernels
        assert all(channels == scales for channels, scales in kernels)
        assert set(values) == {"xnn_datatype_qint8"}
        # Images, logits as they are computed and as they are returned.
        assert in_float32 == [[1, 3, 20, 20], [1, 1, 1, 3], [1, 3]]


def xnnpack_graph(content, folder):
    """Return what XNNPACK is told by a program, as its schema calls it."""
    segment = int.from_bytes(content[24:32], "little")  # behind the root, a name and "eh00"
    start, size = (
        int.from_bytes(content[segment + at : segment + at + 4], "little") for at in (10, 14)
    )
    package = importlib.metadata.distribution("executorch")
    compiler, schema = (
        str(package.locate_file(f"executorch/{name}"))
        for name in ("data/bin/flatc", "backends/xnnpack/serialization/schema.fbs")
    )
    (folder / "graph.bin").write_bytes(content[segment + start : segment + start + size])
    said = [compiler, "--json", "--strict-json", "--raw-binary", "-o", str(folder), schema]
    subprocess.run([*said, "--", str(folder / "graph.bin")], check=True)
    text = (folder / "graph.json").read_text()
    return json.loads(text.replace(": inf", ": Infinity"))


class TestLiteRtInInt8(QuantizedContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="litert", precision="int8"))

    def test_all_but_images_and_logits_is_computed_in_int8(self, runtime, subnet, images):
        from ai_edge_litert.schema_py_generated import ModelT, TensorType

        content = runtime.quantized_content_of(subnet, resolution_px=20, calibration=[images])
        [graph] = ModelT.InitFromPackedBuf(content).subgraphs
        in_float32 = [t.name.decode() for t in graph.tensors if t.type == TensorType.FLOAT32]
        assert sorted(in_float32) == ["dequantized", "images", "logits", "pixels"]

    def test_weights_have_a_scale_for_each_channel(self, runtime, subnet, images):
        from ai_edge_litert.schema_py_generated import ModelT

        content = runtime.quantized_content_of(subnet, resolution_px=20, calibration=[images])
        [graph] = ModelT.InitFromPackedBuf(content).subgraphs
        kernels = [t for t in graph.tensors if t.name.endswith(b".weight")]
        assert kernels
        for kernel in kernels:
            quantization = kernel.quantization
            assert len(quantization.scale) == kernel.shape[quantization.quantizedDimension]
            assert not any(quantization.zeroPoint)
