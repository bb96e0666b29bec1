"""Runtimes: how a network is loaded and called on a device.

A runtime is added as one class here and one name in `devices.RUNTIMES`; it inherits the tests of
``tests/support/runtime_contract.py``.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.devices.card import DeviceSettings, describe_device
from ofa_pipeline.devices.export import onnx_bytes
from ofa_pipeline.devices.quiet import torch_threads
from ofa_pipeline.documents import DeviceCard
from ofa_pipeline.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from ofa_pipeline.devices.network import Network

Images = NDArray[np.float32]
"""Shape (N, 3, H, W)."""


class LoadedNetwork(Protocol):
    """A network in a runtime, ready to be called."""

    def run(self) -> None:
        """Classify one batch of fixed noise; return when it is done."""

    def predict(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedNetwork:
    """A network in the form that a runtime loads, any number of times."""

    content: bytes
    """The file that the runtime loads: ONNX, or steps and weights."""
    resolution_px: int


class Runtime(Protocol):
    """What turns networks into calls that can be timed."""

    @property
    def card(self) -> DeviceCard:
        """The device that it stands for."""

    def prepare(self, network: "nn.Module | Path", *, resolution_px: int) -> PreparedNetwork:
        """Convert a network, or read a file of one; slow, done once.

        Raises:
            DeviceError: If the file is not one that this runtime loads.
        """

    def load(self, prepared: PreparedNetwork) -> LoadedNetwork:
        """Load a prepared network afresh, with memory of its own.

        Raises:
            DeviceError: If the runtime refuses it.
        """

    def threads_claimed(self) -> AbstractContextManager[None]:
        """Set the number of threads while networks are loaded and called; restore it after."""


def build_runtime(settings: DeviceSettings) -> Runtime:
    """Return the runtime of a device of this machine.

    Raises:
        DeviceError: If the machine cannot serve the settings; the message says what to do.
    """
    card = describe_device(settings)
    runtimes: dict[str, Callable[[DeviceCard], Runtime]] = {
        "pytorch": PyTorchRuntime,
        "onnxruntime": OnnxRuntime,
    }
    return runtimes[card.runtime](card)


class PyTorchRuntime:
    """Eager PyTorch in channels-last memory, batch norm folded, on the CPU or a CUDA GPU.

    It runs files of steps and weights (`ofa_pipeline.devices.network`), the candidates of a search
    in the same way as what ships.
    """

    def __init__(self, card: DeviceCard) -> None:
        """Compute as the card says."""
        self._card = card

    @property
    def card(self) -> DeviceCard:
        """The device that it stands for."""
        return self._card

    def prepare(self, network: "nn.Module | Path", *, resolution_px: int) -> PreparedNetwork:
        """Write a network as steps and weights, or read a file of them.

        Raises:
            DeviceError: If the file is missing.
            ExportError: If the network does something that such a file cannot say.
        """
        from ofa_pipeline.devices.lowering import network_bytes

        content = network_bytes(network) if not isinstance(network, Path) else _read(network)
        return PreparedNetwork(content=content, resolution_px=resolution_px)

    def load(self, prepared: PreparedNetwork) -> "LoadedNetwork":
        """Build the network on the device.

        Raises:
            DeviceError: If the file is none of steps and weights.
        """
        from safetensors import SafetensorError

        from ofa_pipeline.devices.network import Network

        try:
            network = Network(prepared.content, device=self._card.accelerator)
        except (ValueError, KeyError, SafetensorError) as error:
            raise DeviceError(f"PyTorch cannot load the network: {error}") from error
        return _PyTorchNetwork(network, noise_images(self._card.batch_size, prepared.resolution_px))

    def threads_claimed(self) -> AbstractContextManager[None]:
        """Let torch compute with the card's number of threads."""
        return torch_threads(self._card.threads)


class _PyTorchNetwork:
    def __init__(self, network: "Network", images: Images) -> None:
        import torch

        self._torch = torch
        self._network = network
        self._images = network.place(torch.from_numpy(images))

    def run(self) -> None:
        with self._torch.inference_mode():
            self._network(self._images)
        if self._network.device.type == "cuda":
            # Calls only queue work; what a caller waits for ends here.
            self._torch.cuda.synchronize(self._network.device)

    def predict(self, images: Images) -> Images:
        with self._torch.inference_mode():
            placed = self._network.place(self._torch.from_numpy(images))
            logits: Images = self._network(placed).float().cpu().numpy()
        return logits


class OnnxRuntime:
    """ONNX Runtime in float32, all graph optimisations, on the CPU or a CUDA GPU."""

    def __init__(self, card: DeviceCard) -> None:
        """Compute as the card says."""
        self._card = card

    @property
    def card(self) -> DeviceCard:
        """The device that it stands for."""
        return self._card

    def prepare(self, network: "nn.Module | Path", *, resolution_px: int) -> PreparedNetwork:
        """Export a network, or read an ONNX file.

        Raises:
            DeviceError: If the file is missing.
        """
        if not isinstance(network, Path):
            content = onnx_bytes(network, resolution_px=resolution_px)
            return PreparedNetwork(content=content, resolution_px=resolution_px)
        return PreparedNetwork(content=_read(network), resolution_px=resolution_px)

    def load(self, prepared: PreparedNetwork) -> "LoadedNetwork":
        """Open a session.

        Raises:
            DeviceError: If the bytes are not an ONNX model that the runtime supports.
        """
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._card.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors only
        provider = "CUDA" if self._card.accelerator == "cuda" else "CPU"
        try:
            session = onnxruntime.InferenceSession(
                prepared.content, options, providers=[f"{provider}ExecutionProvider"]
            )
        except (states.Fail, states.InvalidProtobuf, states.InvalidGraph) as error:
            raise DeviceError(f"ONNX Runtime cannot load the network: {error}") from error
        images = noise_images(self._card.batch_size, prepared.resolution_px)
        return _OnnxNetwork(session, images)

    def threads_claimed(self) -> AbstractContextManager[None]:
        """Do nothing: a session has threads of its own."""
        return nullcontext()


class _OnnxNetwork:
    def __init__(self, session: Any, images: Images) -> None:  # noqa: ANN401 - untyped package
        self._session = session
        self._feed = {session.get_inputs()[0].name: images}

    def run(self) -> None:
        self._session.run(None, self._feed)

    def predict(self, images: Images) -> Images:
        (name,) = self._feed
        logits: Images = self._session.run(None, {name: np.ascontiguousarray(images)})[0]
        return logits


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DeviceError(f"{path} must be the file of a network, but is missing") from error


def noise_images(batch_size: int, resolution_px: int) -> Images:
    """Return standard normal pixels (N, 3, H, W), the same ones every time."""
    rng = np.random.default_rng(0)
    shape = (batch_size, 3, resolution_px, resolution_px)
    return rng.standard_normal(shape, dtype=np.float32)
