"""The device that networks are trained and evaluated on."""

from typing import Literal


def compute_device() -> Literal["cuda", "cpu"]:
    """Return the device of this machine that networks are trained and evaluated on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
