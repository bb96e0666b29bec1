"""A card of fp32 is served in float32: torch would use TF32 in convolutions on a GPU."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ofa_pipeline.devices.runtimes.pytorch import PyTorchNetwork


class GpuNetwork:
    """A network that says it is on a GPU, and notes whether TF32 was allowed."""

    device = SimpleNamespace(type="cuda")

    def __init__(self, content, *, device):
        self.allowed = []

    def place(self, images):
        return images

    def __call__(self, images):
        self.allowed.append(torch.backends.cudnn.allow_tf32)
        return images


@pytest.mark.parametrize("how", ["call", "prepared"])
def test_a_gpu_computes_without_tf32_and_the_setting_comes_back(monkeypatch, how):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    runs = PyTorchNetwork(
        b"",
        accelerator="cuda",
        threads=1,
        import_code=lambda _: SimpleNamespace(Network=GpuNetwork),
    )
    images = np.zeros((1, 3, 2, 2), dtype=np.float32)
    if how == "call":
        runs(images)
    else:
        runs.prepared_call(images)()
    assert runs._network.allowed == [False]
    assert torch.backends.cudnn.allow_tf32
