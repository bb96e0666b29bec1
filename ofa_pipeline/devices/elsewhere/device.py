"""A device elsewhere, as those who search for it and ship to it see it."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.devices.device import FilesOf
from ofa_pipeline.devices.elsewhere.results import card_of, measured, profiled_on
from ofa_pipeline.devices.elsewhere.store import ElsewhereStore
from ofa_pipeline.devices.machine import is_usable
from ofa_pipeline.devices.runtime import Images, Runtime
from ofa_pipeline.devices.runtimes import find_runtime
from ofa_pipeline.documents import Awaited, AwaitedFile, DeviceCard, LatencyMeasurement
from ofa_pipeline.errors import DeviceError

if TYPE_CHECKING:
    from torch import nn


class ElsewhereDevice:
    """A device whose latencies come from elsewhere; its files are written and evaluated here."""

    def __init__(
        self,
        card: DeviceCard,
        store: ElsewhereStore,
        *,
        reference_ms: float,
        num_classes: int,
        ask_for: Callable[[Awaited], object],
    ) -> None:
        """Look at what was measured already.

        Args:
            card: Of the profile: what another machine measured does not count.
            store: What is kept of the device.
            reference_ms: Latency of the reference network, of the profile.
            num_classes: Length of the logits.
            ask_for: Has something measured, and returns when it is in the store; or raises.
        """
        self._runtime = find_runtime(card.runtime)(card)
        self._store = store
        self._reference_ms = reference_ms
        self._num_classes = num_classes
        self._ask_for = ask_for
        self._found: dict[str, LatencyMeasurement] = {}
        self._look()

    @property
    def card(self) -> DeviceCard:
        """What it was when it was profiled."""
        return self._runtime.card

    @property
    def runtime(self) -> Runtime:
        """What writes the files that it runs."""
        return self._runtime

    def expect(
        self,
        archs: Sequence[Arch],
        *,
        files: FilesOf | None = None,
        are_candidates: bool = False,
    ) -> None:
        """Have what is missing of some subnets measured, all at once; see `Device`.

        Raises:
            AwaitedError: If somebody has to go there.
            DeviceError: If it cannot be measured, or was measured on another machine.
        """
        if files is None:
            wanted = {search_key(arch, num_classes=self._num_classes): arch for arch in archs}
            awaited = [arch for key, arch in wanted.items() if key not in self._found]
            self._have_measured(
                list(wanted),
                Awaited(round="search", archs=tuple(awaited), profiled_on=profiled_on(self.card)),
            )
        else:
            found = [self._awaited_file(arch, path) for arch in archs for path in files[arch]]
            missing = tuple(file for file in found if file.sha256 not in self._found)
            self._have_measured(
                [file.sha256 for file in found],
                Awaited(
                    round="search" if are_candidates else "ship",
                    files=missing,
                    profiled_on=profiled_on(self.card),
                ),
            )

    def _have_measured(self, keys: Sequence[str], awaited: Awaited) -> None:
        missing = [key for key in keys if key not in self._found]
        if not missing:
            return
        self._ask_for(awaited)
        self._look()
        if still := [key for key in missing if key not in self._found]:
            raise DeviceError(
                f"what is measured on {self._store.device} must come from the machine of its "
                f"profile ({self.card.hardware}, {self.card.runtime} {self.card.runtime_version}), "
                f"but {len(still)} of {len(missing)} networks came from another. Measure there, or "
                "profile the device again."
            )

    def measure(self, network: "nn.Module | Path", *, resolution_px: int) -> LatencyMeasurement:  # noqa: ARG002 - as it was measured
        """Return what was measured of a subnet, or of the file of one, that was expected.

        Raises:
            DeviceError: If it was not.
        """
        from ofa_pipeline.supernet import Subnet

        if not isinstance(network, Path | Subnet):
            raise DeviceError(f"only subnets are measured on {self._store.device}, elsewhere")
        key = self._key(network if isinstance(network, Path) else network.arch)
        if key not in self._found:
            raise DeviceError(f"{key} was not measured on {self._store.device}")
        return self._found[key]

    def predict(self, file: Path, images: Iterable[Images], *, resolution_px: int) -> Images:  # noqa: ARG002 - in the file
        """Run the file here, on the CPU: the runtime is the same, the machine is not.

        Raises:
            DeviceError: If the runtime is not installed here.
        """
        if not is_usable(type(self._runtime), "cpu"):
            raise DeviceError(
                f"the accuracy of what ships to {self._store.device} is computed here, and "
                f"{self.card.runtime} is not installed here: {self._runtime.how_to_get['cpu']}"
            )
        network = self._runtime.open(
            file.read_bytes(), accelerator="cpu", threads=1, options=self.card.options
        )
        return np.concatenate([network(batch) for batch in images])

    def _look(self) -> None:
        """Read what the machine of the profile has measured for searches and for what ships."""
        for result in self._store.results():
            if result.task.round != "profile" and not self.card.differences(card_of(result)):
                self._found |= measured(result, reference_ms=self._reference_ms)

    def _awaited_file(self, arch: Arch, path: Path) -> AwaitedFile:
        return AwaitedFile(
            path=self._store.layout.relative(path),
            sha256=digest_file(path),
            arch=arch,
        )

    def _key(self, network: Arch | Path) -> str:
        """Return the name of a measurement: that of a subnet, or the digest of a file."""
        if isinstance(network, Path):
            return digest_file(network)
        return search_key(network, num_classes=self._num_classes)


def search_key(arch: Arch, *, num_classes: int) -> str:
    """Return the name of the measurement of a subnet for a search."""
    return f"search {arch.arch_id} {num_classes}"
