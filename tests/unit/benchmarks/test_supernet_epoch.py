"""The benchmark of an epoch says what it needs before it works."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import supernet_epoch


def test_a_gpu_that_is_not_there_is_named_before_anything_is_built(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["supernet_epoch.py", "--device", "cuda"])
    with pytest.raises(SystemExit):
        supernet_epoch.main()
    assert "--device cuda needs a CUDA device, torch sees none" in capsys.readouterr().err
