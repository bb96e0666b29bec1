"""The examples run as their pages say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_pipeline.reference.checkpoints import write_reference_checkpoint
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_supernet

CLONE = Path(__file__).parents[2]


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_image_is_classified_through_torch_hub(tmp_path: Path, with_checkpoint: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    options = []
    if with_checkpoint:
        space = reference_space("ofa_mbv3_d234_e346_k357_w1.0")
        network = build_supernet(space, num_classes=1000, seed=4)
        write_reference_checkpoint(network, tmp_path / "weights.pth")
        options = ["--checkpoint", str(tmp_path / "weights.pth")]
    result = subprocess.run(
        [sys.executable, str(CLONE / "examples" / "classify_image.py"), "image.png", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.strip().splitlines()[-5:]
    values = [float(line.split()[-1]) for line in lines]
    assert values == sorted(values, reverse=True)
    assert 0 < sum(values) <= 1
