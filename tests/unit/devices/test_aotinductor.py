"""Compiled PyTorch. Tests share what was compiled: it takes ten seconds a network."""

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ofa_pipeline.devices import build_runtime, compiled, find_runtime
from ofa_pipeline.errors import DeviceError, ExportError, MissingArtifactError
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.params import load_params
from ofa_pipeline.service.shelf import Shelf
from ofa_pipeline.specialize import Classifier
from tests.support.registry import write_bundle
from tests.support.runtimes import RuntimeContract, Settings, tiny_space, tiny_subnet

ROOT = Path(__file__).parents[3]
needs_compiler = pytest.mark.skipif(not compiled.has_tools(), reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _nobody_else_measures():
    """Nothing is measured here, and what the compiler keeps between networks stays where it is."""


@pytest.fixture
def runtime():
    return build_runtime(Settings(runtime="aotinductor"))


@pytest.fixture
def content(runtime):
    return runtime.content_of(tiny_subnet(tiny_space().largest), resolution_px=20)


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(300)
class TestAotInductor(RuntimeContract):
    @pytest.fixture
    def runtime(self):
        return build_runtime(Settings(runtime="aotinductor"))


def opened(content, **given):
    return find_runtime("aotinductor").open(content, accelerator="cpu", **{"threads": 1, **given})


def changed(content, **facts):
    """Return a file that says something else of what it was compiled for."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            found = old.read(name)
            if name.endswith("_metadata.json"):
                found = json.dumps(json.loads(found) | facts).encode()
            new.writestr(name, found)
    return written.getvalue()


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(300)
class TestItsFile:
    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"torch": "2.8.0"}, r"compiled for torch 2\.8\.0, and .*pip install torch==2\.8\.0"),
            ({"machine": "riscv64"}, "compiled for a processor with riscv64"),
            ({"cpu": "AVX1024"}, "AVX1024, and this one has .*Compile it on a machine of this"),
        ],
    )
    def test_one_for_another_torch_or_processor_is_refused(self, content, facts, message):
        with pytest.raises(ValueError, match=message):
            opened(changed(content, **facts))

    @pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.9999])
    def test_a_truncated_or_changed_file_is_refused(self, runtime, content, tmp_path, part):
        place = int(part * len(content))
        spoiled = bytearray(content)
        spoiled[place] ^= 0xFF
        for bad in (content[:place], bytes(spoiled)):
            (tmp_path / "model.pt2").write_bytes(bad)
            prepared = runtime.prepare(tmp_path / "model.pt2", resolution_px=20)
            with pytest.raises(DeviceError, match=r"aotinductor cannot load .*model\.pt2"):
                runtime.load(prepared)

    def test_images_of_another_size_are_refused(self, content):
        with pytest.raises(ValueError, match=r"\(N, 3, 20, 20\), as the file was compiled for"):
            opened(content)(np.zeros((1, 3, 21, 21), np.float32))

    def test_it_names_nothing_of_the_machine_and_holds_no_source(self, content):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names, everything = archive.namelist(), b"".join(map(archive.read, archive.namelist()))
        assert not any(name.endswith(".cpp") for name in names)
        for place in (Path(tempfile.gettempdir()), Path.home(), Path(torch.__file__).parent):
            assert os.fsencode(place) + b"/" not in everything

    def test_threads_are_those_that_are_asked_for(self, content, monkeypatch):
        network, asked = opened(content, threads=2), []
        monkeypatch.setattr(torch, "set_num_threads", asked.append)
        monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
        network(np.zeros((1, 3, 20, 20), np.float32))
        assert asked == [2, 7]

    def test_the_same_network_gives_the_same_bytes_and_no_time_is_spent_twice(
        self, runtime, content, monkeypatch
    ):
        subnet = tiny_subnet(tiny_space().largest)
        assert runtime.content_of(subnet, resolution_px=20) is content
        monkeypatch.setattr(compiled, "_recent", {})
        assert runtime.content_of(subnet, resolution_px=20) == content


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_logits_of_the_demo_are_those_of_pytorch(which):
    """Two images of a batch of two, and one that is filled up."""
    space = load_params(ROOT / "params.yaml").space.build()
    arch = getattr(space, which)
    subnet = build_measured_subnet(space, arch, num_classes=10)
    images = np.random.default_rng(0).standard_normal((3, 3, *2 * [arch.resolution_px]))
    images = images.astype(np.float32)
    with torch.no_grad():
        expected = subnet(torch.from_numpy(images)).numpy()
    runtime = build_runtime(Settings(runtime="aotinductor", batch_size=2))
    found = opened(runtime.content_of(subnet, resolution_px=arch.resolution_px))(images)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


class TestWhereItCannotBeWritten:
    def test_a_missing_compiler_is_said_before_any_work(self, monkeypatch):
        monkeypatch.setenv("CXX", "no-such-compiler --fast")
        expected = r"aotinductor on cpu is not usable here.*apt-get install g\+\+"
        with pytest.raises(DeviceError, match=expected):
            build_runtime(Settings(runtime="aotinductor"))
        with pytest.raises(DeviceError, match=r"compiles with a C\+\+ compiler and binutils"):
            compiled.pt2_bytes(tiny_subnet(), resolution_px=16, batch_size=1, threads=1)

    @needs_compiler
    def test_what_no_step_says_is_named_with_the_subnet(self, runtime):
        network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(dim=1))
        network.arch = tiny_space().smallest
        with pytest.raises(ExportError, match=f"subnet {network.arch.arch_id}"):
            runtime.content_of(network, resolution_px=20)

    @needs_compiler
    def test_code_of_the_compiler_that_others_may_change_is_not_used(self, runtime, monkeypatch):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", folder)
            with pytest.raises(DeviceError, match="must be yours alone, as torch keeps code there"):
                runtime.content_of(tiny_subnet(), resolution_px=16)

    @needs_compiler
    def test_what_the_compiler_refuses_is_named(self, runtime, monkeypatch):
        def refuse(*_, **__):
            raise RuntimeError("C++ compile error\nand pages of it")

        monkeypatch.setattr("torch._inductor.aot_compile", refuse)
        expected = "the network must be what AOTInductor compiles, but: C.. compile error. Use"
        network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
        with pytest.raises(ExportError, match=expected):
            runtime.content_of(network, resolution_px=8)


class TestWhereNothingForeignMayRun:
    """`ofa-pipeline predict` and the service open no library that came with a bundle."""

    @pytest.mark.parametrize("accelerator", ["cpu", "cuda"])
    def test_the_onnx_file_answers(self, tmp_path, accelerator):
        folder = self.bundle(tmp_path, accelerator)
        classifier = Classifier(folder, prefer_onnx=True)
        assert classifier.file.name == "model.onnx"
        assert classifier.predict(np.zeros((1, 9, 9, 3), np.uint8)).shape == (1, 3)

    def test_the_service_opens_no_library(self, tmp_path):
        bundle = self.bundle(tmp_path, "cpu")
        shelf = Shelf(SimpleNamespace(download=lambda subnet, folder: bundle))
        subnet = SimpleNamespace(record=SimpleNamespace(bundle_digest="d"))
        assert shelf.classifier(subnet).file.name == "model.onnx"

    def test_without_one_it_ends(self, tmp_path):
        folder = self.bundle(tmp_path, "cpu")
        (folder / "model.onnx").unlink()
        with pytest.raises(MissingArtifactError, match=r"holds no model\.onnx"):
            Classifier(folder, prefer_onnx=True)

    @staticmethod
    def bundle(tmp_path, accelerator):
        folder = write_bundle(tmp_path / "bundle")
        description = json.loads((folder / "subnet.json").read_text())
        description["runs"] = {
            "runtime": "aotinductor",
            "file": "model.pt2",
            "accelerator": accelerator,
            "precision": "fp32",
            "threads": 1,
        }
        (folder / "subnet.json").write_text(json.dumps(description))
        (folder / "card.json").unlink(missing_ok=True)
        (folder / "model.pt2").write_bytes(b"not to be opened")
        return folder
