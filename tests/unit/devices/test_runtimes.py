import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from ofa_pipeline.devices import build_runtime, export_onnx, find_runtime
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.supernet import save_subnet
from tests.support.runtimes import (
    QuantizedContract,
    RuntimeContract,
    Settings,
    tiny_space,
    tiny_subnet,
)

ROOT = Path(__file__).parents[3]


class TestPyTorch(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="pytorch"))

    def test_weights_that_are_no_network_are_refused(self, runtime, subnet, tmp_path):
        save_subnet(subnet, tmp_path / "weights.safetensors")
        prepared = runtime.prepare(tmp_path / "weights.safetensors", resolution_px=20)
        with pytest.raises(DeviceError, match="not a file with a network"):
            runtime.load(prepared)

    def test_the_cards_threads_are_used_while_claimed(self):
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            with build_runtime(Settings(runtime="pytorch")).threads_claimed():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(before)


class TestOnnxRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="onnxruntime"))

    def test_a_truncated_file_is_refused(self, runtime, tmp_path):
        path = tmp_path / "model.onnx"
        export_onnx(tiny_subnet(), path, resolution_px=16)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(DeviceError, match="cannot load"):
            runtime.load(runtime.prepare(path, resolution_px=16))


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available")
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_onnx_runtime_that_would_compute_on_the_cpu_instead_of_cuda_is_refused():
    content = build_runtime(Settings()).content_of(tiny_subnet(), resolution_px=16)
    expected = "must compute with CUDAExecutionProvider, but does with CPUExecutionProvider"
    with pytest.raises(ValueError, match=expected):
        find_runtime("onnxruntime").open(content, accelerator="cuda", threads=1)


@pytest.mark.gpu
@pytest.mark.skipif(
    not find_runtime("onnxruntime").network.supports("cuda") or not torch.cuda.is_available(),
    reason="no CUDA device, or no ONNX Runtime for it",
)
class TestOnnxRuntimeOnCuda(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(accelerator="cuda"))


class TestOpenVino(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="openvino"))

    def test_a_truncated_file_is_refused(self, runtime, tmp_path):
        path = tmp_path / "model.onnx"
        export_onnx(tiny_subnet(), path, resolution_px=16)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(DeviceError, match=r"openvino cannot load .*model\.onnx"):
            runtime.load(runtime.prepare(path, resolution_px=16))

    def test_the_calling_thread_does_the_work(self, runtime):
        """The meter takes its CPU time for that of the network."""
        space = tiny_space()
        loaded = runtime.load(runtime.prepare(tiny_subnet(space.largest), resolution_px=20))
        loaded.run()
        of_thread, of_process = time.thread_time(), time.process_time()
        for _ in range(200):
            loaded.run()
        assert time.thread_time() - of_thread > 0.8 * (time.process_time() - of_process)

    def test_it_computes_in_float32(self, runtime):
        subnet = tiny_subnet(tiny_space().largest)
        network = runtime.open(
            runtime.content_of(subnet, resolution_px=20), accelerator="cpu", threads=1
        )
        assert network._compile(None).get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"

    def test_importing_it_reports_to_nobody(self, tmp_path):
        code = (
            "from ofa_pipeline.devices import build_runtime, export_onnx\n"
            "from tests.support.runtimes import Settings, tiny_subnet\n"
            "runtime = build_runtime(Settings(runtime='openvino'))\n"
            "runtime.load(runtime.prepare(tiny_subnet(), resolution_px=16)).run()\n"
        )
        environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        assert not (tmp_path / "intel").exists()


class TestNcnn(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="ncnn"))

    def test_a_truncated_file_is_refused(self, runtime, subnet, tmp_path):
        path = tmp_path / "model.ncnn.zip"
        path.write_bytes(runtime.content_of(subnet, resolution_px=20)[:10_000])
        with pytest.raises(DeviceError, match=r"ncnn cannot load .*model\.ncnn\.zip"):
            runtime.load(runtime.prepare(path, resolution_px=20))

    def test_a_layer_that_it_does_not_know_is_refused(self, runtime, subnet, tmp_path):
        content = runtime.content_of(subnet, resolution_px=20)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        files["network.param"] = files["network.param"].replace(b"HardSwish", b"HardSwoosh")
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            for name, found in files.items():
                archive.writestr(name, found)
        with pytest.raises(DeviceError, match="ncnn refuses its layers or its weights"):
            runtime.load(runtime.prepare(tmp_path / "other.zip", resolution_px=20))

    def test_images_are_left_as_they_are(self, runtime, subnet, images):
        network = runtime.open(
            runtime.content_of(subnet, resolution_px=20), accelerator="cpu", threads=1
        )
        before = images.copy()
        first, call = network(images), network.prepared_call(images)
        call()
        np.testing.assert_array_equal(images, before)
        np.testing.assert_array_equal(network(images), first)


class TestOnnxRuntimeInInt8(QuantizedContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="onnxruntime", precision="int8"))

    def test_weights_have_a_scale_for_each_channel(self, runtime, subnet, images):
        content = runtime.quantized_content_of(subnet, resolution_px=20, calibration=[images])
        model = onnx.load_from_string(content)
        weights = [item for item in model.graph.initializer if item.data_type == TensorProto.INT8]
        scales = {item.name: item for item in model.graph.initializer}
        kernels = [
            item for item in weights if item.name.endswith("_quantized") and len(item.dims) == 4
        ]
        assert kernels
        for kernel in kernels:
            scale = scales[kernel.name.replace("_quantized", "_scale")]
            assert list(scale.dims) == [kernel.dims[0]]


class TestOpenVinoInInt8(QuantizedContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="openvino", precision="int8"))

    def test_nothing_is_rounded_between_convolution_and_activation(self, runtime, subnet, images):
        content = runtime.quantized_content_of(subnet, resolution_px=20, calibration=[images])
        nodes = onnx.load_from_string(content).graph.node
        made_by = {name: node.op_type for node in nodes for name in node.output}
        before = [made_by[node.input[0]] for node in nodes if node.op_type == "HardSwish"]
        *of_convolutions, of_linear_layer = before
        assert of_convolutions
        assert set(of_convolutions) == {"Conv"}
        assert of_linear_layer == "DequantizeLinear"


def test_int8_where_a_runtime_has_none_names_those_that_have_it():
    expected = "must be one of fp32, got 'int8'.*on cpu: executorch, litert, onnxruntime, openvino"
    with pytest.raises(DeviceError, match=expected):
        build_runtime(Settings(runtime="pytorch", precision="int8"))


def test_int8_on_cuda_is_refused():
    with pytest.raises(DeviceError, match="onnxruntime must be one of fp32, got 'int8'"):
        build_runtime(Settings(accelerator="cuda", precision="int8"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestPyTorchOnCuda(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="pytorch", accelerator="cuda"))


def test_a_batch_has_the_cards_size():
    runtime = build_runtime(Settings(batch_size=5))
    space = tiny_space()
    runtime.load(runtime.prepare(tiny_subnet(space.smallest), resolution_px=16)).run()
