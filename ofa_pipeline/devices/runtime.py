"""What a runtime is: it turns networks into files, and runs the files on a device.

Each runtime is one file in ``devices/runtimes`` with two classes: a `Runtime`, named `RUNTIME`
there, and the `RunningNetwork` that bundles carry. Its tests are those of `RuntimeContract` in
``tests/support/runtimes.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.devices.export import name_of
from ofa_pipeline.documents import DeviceCard
from ofa_pipeline.errors import DeviceError

if TYPE_CHECKING:
    from torch import nn

Images = NDArray[np.float32]
"""Images (N, 3, H, W), or their logits (N, classes)."""
MIN_CALIBRATION_IMAGES = 32
"""To quantise on; with fewer, the range of an activation is a matter of luck."""
CODE_FOLDER = Path(__file__).parent
"""Holds the files that `RunningNetwork.code_names` names; they lie beside it in a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far the answers of a runtime may be from those of the network in PyTorch."""

    max_relative_difference: float
    """Largest difference of a logit, over the largest logit."""
    min_top1_agreement: float
    """Fraction of images with the same most likely class."""


FP32_TOLERANCE = Tolerance(max_relative_difference=1e-3, min_top1_agreement=0.99)
"""Exports in float32 differ by about 1e-6; ties may be rounded either way."""


INT8_TOLERANCE = Tolerance(max_relative_difference=0.3, min_top1_agreement=0.8)
"""Of rounded values. What counts is the accuracy that is lost, and that is measured."""


def file_in(precision: str, file_name: str) -> str:
    """Return the name of a file in a precision: ``model.onnx`` is ``model.int8.onnx`` in int8."""
    stem, _, suffix = file_name.rpartition(".")
    return file_name if precision == "fp32" else f"{stem}.{precision}.{suffix}"


class RunningNetwork(Protocol):
    """The file of a network, opened by a runtime.

    Bundles carry a copy of the class, which works where this package is not installed: besides
    what its methods import, it uses `np`, `Any`, `Callable`, `ClassVar`, `Images` and nothing else.
    """

    file_name: ClassVar[str]
    """The file of a bundle that it runs in float32; see `file_in`."""
    code_names: ClassVar[tuple[str, ...]]
    """Files in `CODE_FOLDER` that it needs; each stands beside the network in a bundle."""
    is_code: ClassVar[bool]
    """Whether opening a file runs what is in it: then it is opened only where that is wanted."""

    def __init__(
        self,
        content: bytes,
        *,
        accelerator: str,
        threads: int,
        import_code: Callable[[str], Any],
    ) -> None:
        """Open a file; where the runtime has options, ``options`` come, too, if some are set.

        Args:
            content: What the file holds.
            accelerator: One that it supports.
            threads: CPU threads that one call computes with.
            import_code: Returns the module of one of `code_names`.

        Raises:
            ValueError: If the runtime cannot run such a file.
        """

    def __call__(self, images: Images) -> Images:
        """Return the logits (N, classes) of images (N, 3, H, W)."""

    def prepared_call(self, images: Images) -> Callable[[], None]:
        """Return what a measurement times: it classifies the images and returns when done."""

    @staticmethod
    def supports(accelerator: str) -> bool:
        """Tell whether the installed runtime can compute on an accelerator of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedNetwork:
    """A network in the form that a runtime loads, any number of times."""

    content: bytes
    """The file that the runtime loads."""
    resolution_px: int
    name: str = "the network"
    """What messages call it: the subnet, or the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedNetwork:
    """A network in a runtime, ready to be called."""

    run: Callable[[], None]
    """Classifies one batch of fixed images; returns when it is done."""
    predict: Callable[[Images], Images]
    """Returns the logits (N, classes) of images (N, 3, H, W)."""


class Runtime(ABC):
    """What turns networks into files and runs them on a device of this machine."""

    package: ClassVar[str]
    """Python package whose version stands in the device card."""
    requirements: ClassVar[tuple[str, ...]]
    """Python packages that run a bundle, besides numpy and Pillow."""
    how_to_get: ClassVar[Mapping[str, str]]
    """What to do where an accelerator does not work, by each that the runtime can compute on."""
    tolerances: ClassVar[Mapping[str, Tolerance]]
    """How exact it must be, by each precision that it can compute in."""
    options: ClassVar[Mapping[str, tuple[bool | str, ...]]] = {}
    """What it can be told besides, by its own names: the values of each, what it does untold first.
    Where there are some, its network takes ``options``: those of a card, or None."""
    network: ClassVar[type[RunningNetwork]]
    """Opens its files, here and in bundles."""
    phone_script: ClassVar[str | None] = None
    """File in `ofa_pipeline.devices.elsewhere` that measures on a phone by the runtime's own tool;
    None: there is none."""

    def __init__(self, card: DeviceCard) -> None:
        """Compute as the card says."""
        self._card = card

    @property
    def card(self) -> DeviceCard:
        """The device that it stands for."""
        return self._card

    @property
    def tolerance(self) -> Tolerance:
        """How exact it must be in the precision of the card."""
        return self.tolerances[self._card.precision]

    @property
    def file_name(self) -> str:
        """Name of the file that it runs in the precision of the card."""
        return file_in(self._card.precision, self.network.file_name)

    @classmethod
    def precisions(cls, accelerator: str) -> tuple[str, ...]:  # noqa: ARG003 - others may differ
        """Return the precisions that it can compute in on an accelerator."""
        return tuple(cls.tolerances)

    @classmethod
    def can_write(cls) -> bool:
        """Tell whether its files can be written here, where that needs more than its package."""
        return True

    @abstractmethod
    def content_of(self, network: "nn.Module", *, resolution_px: int) -> bytes:
        """Return the content of the file of a network; the same bytes for the same network.

        It is in float32, whatever the card says.

        Args:
            network: From images (N, 3, H, W) to logits; not changed.
            resolution_px: H and W.

        Raises:
            ExportError: If the network does something that such a file cannot say.
        """

    def quantized_content_of(
        self,
        network: "nn.Module",  # noqa: ARG002
        *,
        resolution_px: int,  # noqa: ARG002
        calibration: Sequence[Images],  # noqa: ARG002
    ) -> bytes:
        """Return the content of the file in int8; the same bytes for the same arguments.

        Args:
            network: From images (N, 3, H, W) to logits; not changed.
            resolution_px: H and W.
            calibration: Prepared images, in batches (N, 3, H, W), to find ranges of values on.

        Raises:
            DeviceError: If there are too few images, or the runtime has no int8.
            ExportError: If the network does something that such a file cannot say.
        """
        raise DeviceError(f"the runtime {self._card.runtime} has no int8")

    def threads_claimed(self) -> AbstractContextManager[None]:
        """Set the number of threads while networks are loaded and called; restore it after."""
        return nullcontext()

    def write(
        self,
        network: "nn.Module",
        path: Path,
        *,
        resolution_px: int,
        calibration: Sequence[Images] = (),
    ) -> None:
        """Write the file of a network in the precision of the card, whole or not at all.

        The arguments are those of `content_of` and `quantized_content_of`; without calibration
        images, see `prepare`.
        """
        write_bytes(path, self._content(network, resolution_px, calibration))

    def prepare(
        self, network: "nn.Module | Path | PreparedNetwork", *, resolution_px: int
    ) -> PreparedNetwork:
        """Convert a network, or read a file of one; slow, done once: a prepared one stays as it is.

        In int8 a network is quantised on noise: its latency does not depend on the ranges of its
        values. Its accuracy does, so write a file with calibration images for that.

        Raises:
            DeviceError: If the file is missing.
            ExportError: If the network does something that such a file cannot say.
        """
        if isinstance(network, PreparedNetwork):
            return network
        if isinstance(network, Path):
            content = _read(network)
        else:
            content = self._content(network, resolution_px, ())
        return PreparedNetwork(content=content, resolution_px=resolution_px, name=name_of(network))

    def _content(
        self, network: "nn.Module", resolution_px: int, calibration: Sequence[Images]
    ) -> bytes:
        if self._card.precision != "int8":
            return self.content_of(network, resolution_px=resolution_px)
        images = calibration or [noise_images(MIN_CALIBRATION_IMAGES, resolution_px)]
        return self.quantized_content_of(network, resolution_px=resolution_px, calibration=images)

    def import_code(self) -> None:
        """Import the files of code that its networks need; seconds where they need torch."""
        for name in self.network.code_names:
            _import_code(name)

    def load(self, prepared: PreparedNetwork, *, images: Images | None = None) -> LoadedNetwork:
        """Load a prepared network afresh, with memory of its own.

        Args:
            prepared: What to load.
            images: What its call classifies; made here unless given.

        Raises:
            DeviceError: If the runtime cannot run such a file.
        """
        card = self._card
        if images is None:
            images = noise_images(card.batch_size, prepared.resolution_px)
        try:
            network = self.open(
                prepared.content,
                accelerator=card.accelerator,
                threads=card.threads,
                options=card.options,
            )
            run = network.prepared_call(images)
        except ValueError as error:
            raise DeviceError(f"{card.runtime} cannot load {prepared.name}: {error}") from error
        return LoadedNetwork(run=run, predict=network)

    @classmethod
    def open(
        cls,
        content: bytes,
        *,
        accelerator: str,
        threads: int,
        options: Mapping[str, bool | str] | None = None,
    ) -> RunningNetwork:
        """Open the content of a file; see `RunningNetwork`.

        Raises:
            ValueError: If the runtime cannot run such a file.
        """
        given: dict[str, Any] = {"options": options} if options else {}
        return cls.network(
            content, accelerator=accelerator, threads=threads, import_code=_import_code, **given
        )


def noise_images(batch_size: int, resolution_px: int) -> Images:
    """Return standard normal pixels (N, 3, H, W), the same ones every time."""
    rng = np.random.default_rng(0)
    shape = (batch_size, 3, resolution_px, resolution_px)
    return rng.standard_normal(shape, dtype=np.float32)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DeviceError(f"{path} must be the file of a network, but is missing") from error


def _import_code(name: str) -> Any:  # noqa: ANN401 - a module
    from importlib import import_module

    return import_module(f"ofa_pipeline.devices.{name.removesuffix('.py')}")
