import os

import torch

from ofa_pipeline.training import deterministic
from ofa_pipeline.training.deterministic import CUBLAS_WORKSPACE


def test_float32_is_float32_on_cuda_and_settings_come_back():
    before = torch.backends.cudnn.allow_tf32, torch.get_num_threads()
    with deterministic(threads=1):
        assert not torch.backends.cudnn.allow_tf32
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 1
    assert (torch.backends.cudnn.allow_tf32, torch.get_num_threads()) == before


def test_cublas_is_asked_for_a_fixed_workspace_unless_the_user_has(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with deterministic(threads=1):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == CUBLAS_WORKSPACE
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic(threads=1):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
