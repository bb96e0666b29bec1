import os

import pytest
import torch

from ofa_pipeline.errors import DeviceError
from ofa_pipeline.training import deterministic
from ofa_pipeline.training.deterministic import CUBLAS_WORKSPACES


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
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == CUBLAS_WORKSPACES[0]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic(threads=1):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_where_it_is_not_wanted_kernels_are_free_and_float32_is_not(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with deterministic(threads=1, is_wanted=False):
        assert not torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.allow_tf32
        assert torch.get_num_threads() == 1
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_on_cuda_what_cannot_be_deterministic_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic(threads=1):
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with deterministic(threads=1):
        assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_a_workspace_that_would_not_do_is_refused_where_it_matters(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with deterministic(threads=1):
        pass
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    expected = r"must be :4096:8 or :16:8 .* found ':0:0'.* Unset it"
    with pytest.raises(DeviceError, match=expected), deterministic(threads=1):
        pytest.fail("it began")
    with deterministic(threads=1, is_wanted=False):
        pass
