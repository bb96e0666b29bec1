"""Eager PyTorch in channels-last memory, batch norm folded, on the CPU or a CUDA GPU.

It runs files of steps and weights (`ofa_pipeline.devices.network`), the candidates of a search in
the same way as what ships.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.devices.runtime import FP32_TOLERANCE, Images, Runtime, Tolerance

if TYPE_CHECKING:
    from torch import nn


class PyTorchNetwork:
    """A file of steps and weights in PyTorch, run by ``network.py`` beside this file."""

    file_name: ClassVar[str] = "network.safetensors"
    code_names: ClassVar[tuple[str, ...]] = ("network.py",)
    is_code: ClassVar[bool] = False

    def __init__(
        self, content: bytes, *, accelerator: str, threads: int, import_code: Callable[[str], Any]
    ) -> None:
        """Build the network on the device.

        Raises:
            ValueError: If the content is not that of a file with steps and weights.
        """
        import torch
        from safetensors import SafetensorError

        self._torch, self._threads = torch, threads
        try:
            self._network = import_code("network.py").Network(content, device=accelerator)
        except (KeyError, SafetensorError) as error:
            raise ValueError(f"not a file with a network: {error!r}") from error

    def __call__(self, images: Images) -> Images:
        """Return the logits; let torch compute with the network's threads meanwhile."""
        torch = self._torch
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                placed = self._network.place(torch.from_numpy(np.ascontiguousarray(images)))
                logits: Images = self._whole_float32(placed).float().cpu().numpy()
        finally:
            torch.set_num_threads(before)
        return logits

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Place the images; the call waits for the GPU, which only queues work."""
        torch, network = self._torch, self._network
        placed = network.place(torch.from_numpy(images))
        is_on_gpu = network.device.type == "cuda"

        def call() -> None:
            with torch.inference_mode():
                network(placed)

        def call_on_gpu() -> None:
            with torch.inference_mode():
                self._whole_float32(placed)
            torch.cuda.synchronize(network.device)

        return call_on_gpu if is_on_gpu else call

    def _whole_float32(self, placed: Any) -> Any:  # noqa: ANN401 - torch is imported late
        """Run the network in float32, as the card says: on a GPU, TF32 keeps 10 of 23 bits."""
        settings: Any = self._torch.backends.cudnn
        before, settings.allow_tf32 = settings.allow_tf32, False
        try:
            return self._network(placed)
        finally:
            settings.allow_tf32 = before

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether torch can compute on an accelerator of this machine."""
        if accelerator == "cpu":
            return True
        import torch

        return torch.cuda.is_available()


class PyTorchRuntime(Runtime):
    """PyTorch, whose files are lists of steps and weights."""

    package = "torch"
    requirements = ("safetensors", "torch")
    how_to_get: ClassVar[Mapping[str, str]] = {
        "cpu": "pip install torch",
        "cuda": "install a CUDA build of torch and an NVIDIA driver",
    }
    tolerances: ClassVar[Mapping[str, Tolerance]] = {"fp32": FP32_TOLERANCE}
    network = PyTorchNetwork

    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:  # noqa: ARG002
        """Return steps and weights, which do not depend on the resolution.

        Raises:
            ExportError: If the network does something that no step says.
        """
        from ofa_pipeline.devices.lowering import network_bytes

        return network_bytes(network)

    def threads_claimed(self) -> AbstractContextManager[None]:
        """Let torch compute with the card's number of threads."""
        return torch_threads(self.card.threads)


RUNTIME = PyTorchRuntime
