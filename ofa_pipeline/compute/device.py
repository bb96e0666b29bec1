"""The device that networks are trained and evaluated on."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


def compute_device() -> Literal["cuda", "cpu"]:
    """Return the device of this machine that networks are trained and evaluated on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def copied_to(device: "torch.device", tensor: "torch.Tensor") -> "torch.Tensor":
    """Return a tensor on a device, without waiting for what the device does at the moment.

    A copy from ordinary memory would wait for all of it; one from pinned memory takes its turn.

    Args:
        device: Where to.
        tensor: On the device already, which returns itself, or on the CPU.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
