"""What a device is to those who search for it and ship to it, and this machine as a device."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ofa_pipeline.arch import Arch
from ofa_pipeline.devices.meter import Clock, LatencyMeter, ReferenceNetwork
from ofa_pipeline.devices.runtime import Images, Runtime
from ofa_pipeline.documents import DeviceCard, LatencyMeasurement

if TYPE_CHECKING:
    from torch import nn

FilesOf = Mapping[Arch, Sequence[Path]]
"""The files of each subnet that are measured as they are."""


class Device(Protocol):
    """What runs networks: a runtime on this machine, or elsewhere behind the same interface."""

    @property
    def card(self) -> DeviceCard:
        """What it is: runtime, hardware, settings."""

    @property
    def runtime(self) -> Runtime:
        """What writes the files that it runs."""

    def expect(
        self,
        archs: Sequence[Arch],
        *,
        files: FilesOf | None = None,
        are_candidates: bool = False,
    ) -> None:
        """Say which subnets are going to be measured: a device elsewhere measures them all now.

        Args:
            archs: The subnets.
            files: The files of each, where these are what is measured.
            are_candidates: Whether a search may still drop them; files ship otherwise.

        Raises:
            AwaitedError: If somebody has to go there, and come back.
            DeviceError: If the device cannot run one.
        """

    def measure(self, network: "nn.Module | Path", *, resolution_px: int) -> LatencyMeasurement:
        """Measure a network, or the file of one as it is.

        Args:
            network: From images (N, 3, H, W) to logits, or a file that the runtime wrote.
            resolution_px: H and W.

        Raises:
            DeviceError: If the device cannot run it.
        """

    def predict(self, file: Path, images: Iterable[Images], *, resolution_px: int) -> Images:
        """Run the file of a network over batches of prepared images.

        Args:
            file: A file that the runtime wrote.
            images: Batches (N, 3, H, W), at least one.
            resolution_px: H and W.

        Returns:
            The logits of all images, shape (images, classes).

        Raises:
            DeviceError: If the device cannot run the file.
        """


class LocalDevice:
    """A runtime on this machine, in this process."""

    def __init__(
        self,
        runtime: Runtime,
        reference: ReferenceNetwork,
        *,
        warmup_runs: int = 5,
        timed_runs: int = 60,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the reference network; see `LatencyMeter`."""
        self._runtime = runtime
        self._meter = LatencyMeter(
            runtime, reference, warmup_runs=warmup_runs, timed_runs=timed_runs, clock=clock
        )

    @property
    def card(self) -> DeviceCard:
        """What it is: runtime, hardware, settings."""
        return self._runtime.card

    @property
    def runtime(self) -> Runtime:
        """What writes the files that it runs, and runs them."""
        return self._runtime

    def expect(
        self,
        archs: Sequence[Arch],
        *,
        files: FilesOf | None = None,
        are_candidates: bool = False,
    ) -> None:
        """Do nothing: what is here is measured when it is asked for."""

    def measure(self, network: "nn.Module | Path", *, resolution_px: int) -> LatencyMeasurement:
        """Measure a network, or the file of one, between calls of the reference network.

        Raises:
            DeviceError: If the runtime cannot run it.
        """
        return self._meter.measure(network, resolution_px=resolution_px)

    def predict(self, file: Path, images: Iterable[Images], *, resolution_px: int) -> Images:
        """Return the logits of all images, computed with the threads of the card.

        Raises:
            DeviceError: If the file is missing, or the runtime cannot run it.
        """
        with self._runtime.threads_claimed():
            prepared = self._runtime.prepare(file, resolution_px=resolution_px)
            loaded = self._runtime.load(prepared)
            return np.concatenate([loaded.predict(batch) for batch in images])
