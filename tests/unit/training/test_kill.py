import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ofa_pipeline.supernet import load_supernet
from ofa_pipeline.training.checkpoint import FILE_NAME
from tests.support import train_until_killed

ROOT = Path(__file__).parents[3]


def killed_run(folder, result, *, after_lines):
    command = [sys.executable, "-m", "tests.support.train_until_killed", folder, result]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for count, _ in enumerate(process.stdout, start=1):
            if count == after_lines:
                process.kill()
        return process.wait()


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    train_until_killed.main(tmp_path / "whole", whole)
    for lines in (3, 12):  # within an epoch, and beyond the end of one
        assert killed_run(tmp_path / "cut", cut, after_lines=lines) == -signal.SIGKILL
    assert not cut.exists()
    train_until_killed.main(tmp_path / "cut", cut)
    expected, found = load_supernet(whole).state_dict(), load_supernet(cut).state_dict()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


@pytest.mark.slow
def test_a_run_whose_checkpoint_rots_goes_on_from_the_one_before_with_the_same_bits(tmp_path):
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    train_until_killed.main(tmp_path / "whole", whole)
    assert killed_run(tmp_path / "cut", cut, after_lines=9) == -signal.SIGKILL
    path = tmp_path / "cut" / FILE_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)
    train_until_killed.main(tmp_path / "cut", cut)
    assert (tmp_path / "cut" / f"{FILE_NAME}.bad").read_bytes() == content
    assert cut.read_bytes() == whole.read_bytes()
