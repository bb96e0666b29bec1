"""Subnets that are measured elsewhere: what is exported, and how stages get the results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.cost import arch_cost
from ofa_pipeline.devices import DeviceCard, DeviceSettings
from ofa_pipeline.devices.elsewhere import (
    ElsewhereStore,
    LostError,
    NetworkToMeasure,
    ask_over_ssh,
    card_of,
    card_said,
    check_node,
    check_on_node,
    check_over_ssh,
    check_result,
    measure_on_node,
    measure_over_ssh,
    measured,
    read_result,
    search_key,
    write_folder,
)
from ofa_pipeline.documents import Awaited, CardElsewhere, MeasurementSettings, MeasuringTask
from ofa_pipeline.errors import AwaitedError, DeviceError, ManifestMismatchError
from ofa_pipeline.latency.bench import LatencyTask
from ofa_pipeline.latency.noise import MachineNoise, noise_tasks
from ofa_pipeline.latency.profile import build_measured_subnet, reference_arch
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.temporary import temporary_folder

_WHAT = {
    "profile": "the networks of its latency model",
    "search": "candidates of its search",
    "ship": "files that are to ship",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElsewhereBench:
    """Has subnets measured on a device elsewhere: on a node, over ssh, or by who goes there."""

    store: ElsewhereStore
    settings: DeviceSettings
    space: SearchSpace
    num_classes: int
    warmup_runs: int
    timed_runs: int
    reporter: Reporter = SILENT

    def profile(self, tasks: Sequence[LatencyTask]) -> tuple[DeviceCard, list[dict[str, Any]]]:
        """Return the card of the device, and what was measured of each task.

        Args:
            tasks: In the order of `plan_latency_tasks`.

        Raises:
            AwaitedError: If somebody has to go there.
            DeviceError: If the host cannot be measured on, or what was imported is of other
                subnets than the tasks, or of other settings.
        """
        awaited = Awaited(round="profile")
        digest = self.settings.measured
        if digest is None:
            digest = self.ask_for(awaited, tasks)
        result = self.store.result(digest)
        found = measured(result)
        if missing := [task.key for task in tasks if task.key not in found]:
            self.store.wait_for(awaited)
            raise DeviceError(
                f"what was measured on {self.store.device} must hold the {len(tasks)} networks "
                "that params.yaml asks for (space, latency.num_subnets, num_holdout, seed), but "
                f"{len(missing)} are others. Measure again: {self.store.remake}"
            )
        card = card_of(result)
        for key in CardElsewhere.model_fields:
            was, wanted = getattr(card, key), getattr(self.settings, key)
            if was != wanted:
                self.store.wait_for(awaited)
                raise DeviceError(
                    f"{self.store.device} was measured with {key} {was}, but params.yaml now has "
                    f"{key} {wanted}. Measure again: {self.store.remake}, or put {key} back."
                )
        return card, [found[task.key].to_dict() for task in tasks]

    def ask_for(self, awaited: Awaited, tasks: Sequence[LatencyTask] = ()) -> str:
        """Have networks measured now; return the digest of the result, which is in the store.

        Raises:
            AwaitedError: If somebody has to go there.
            ClusterError: If the cluster that it is a node of cannot be used.
            DeviceError: If the host cannot be measured on.
        """
        scheme = (self.settings.location or "").partition("://")[0]
        if scheme not in ("ssh", "ray"):
            self.store.wait_for(awaited)
            raise AwaitedError(self._what_to_do(awaited, len(tasks)))
        if scheme == "ray":  # before minutes go into the networks
            check_node(self.settings, self.store.cluster)
        with temporary_folder("elsewhere") as folder:
            task = self.export(folder, awaited, tasks)
            path = self._measure(folder, task)
            result = read_result(path)
            check_result(result, task, path=path)
            digest = digest_file(path)
            self.store.keep_result(path.read_bytes(), digest=digest)
        self.store.saw(card_of(result), self.settings.location or "")
        return digest

    def check(self) -> tuple[DeviceCard, MachineNoise]:
        """Measure how noisy a host or a node is, as `measure_noise` does here; it keeps nothing.

        Returns:
            What the machine is, and its noise.

        Raises:
            ClusterError: If the cluster that it is a node of cannot be used.
            DeviceError: If it cannot be measured on; says what is missing and what to do.
        """
        if (self.settings.location or "").startswith("ray://"):
            check_node(self.settings, self.store.cluster)
        with temporary_folder("check") as folder:
            task = self.export(folder, Awaited(round="check"), noise_tasks(self.space))
            path = self._measure(folder, task)
            result = read_result(path)
            check_result(result, task, path=path)
        card = card_of(result)
        self.store.saw(card, self.settings.location or "")
        return card, MachineNoise(
            measurements=tuple(measured(result).values()),
            busy_cores=result.load.busy_cores if result.load else None,
            num_cores=result.load.num_cores if result.load else 1,
            threads=self.settings.threads,
        )

    def ask(self) -> DeviceCard | None:
        """Return what a host is, without measuring; None if it cannot be reached.

        Raises:
            DeviceError: If it cannot be measured on; says what is missing and what to do.
        """
        location, python = self.settings.location or "", self.settings.python or "python3"
        with temporary_folder("ask") as folder:
            nothing = folder / "nothing"
            nothing.touch()
            task = self._write(
                folder / "exported",
                [NetworkToMeasure(keys=("none",), network=nothing, resolution_px=1, macs=0)],
                Awaited(round="check"),
            )
            try:
                said = ask_over_ssh(location, folder / "exported", python=python)
            except LostError:
                return None
        card = card_said(said, task)
        self.store.saw(card, location)
        return card

    def _measure(self, folder: Path, task: MeasuringTask) -> Path:
        """Have a folder measured where the device is; return the path of its result."""
        location, is_check = self.settings.location or "", task.round == "check"
        if location.startswith("ray://"):
            on_node = check_on_node if is_check else measure_on_node
            return on_node(
                self.settings, folder, task, cluster=self.store.cluster, reporter=self.reporter
            )
        over_ssh = check_over_ssh if is_check else measure_over_ssh
        python = self.settings.python or "python3"
        return over_ssh(location, folder, task, python=python, reporter=self.reporter)

    def export(
        self, folder: Path, awaited: Awaited, tasks: Sequence[LatencyTask] = ()
    ) -> MeasuringTask:
        """Write the folder that is measured elsewhere.

        Args:
            folder: New or empty.
            awaited: What is to be measured.
            tasks: What a profile is made of.

        Raises:
            DeviceError: If the folder is not empty, or a file that is to ship is not there any
                more as it was.
        """
        of_tasks = awaited.round in ("check", "profile")
        networks = self._of_tasks(tasks) if of_tasks else self._of_awaited(awaited)
        reference = self._network(reference_arch(self.space), ["reference"])
        return self._write(folder, [reference, *networks], awaited)

    def _write(
        self, folder: Path, networks: Sequence[NetworkToMeasure], awaited: Awaited
    ) -> MeasuringTask:
        return write_folder(
            folder,
            networks,
            device=self.store.device,
            awaited=awaited,
            settings=self.settings,
            measurement=MeasurementSettings(
                warmup_runs=self.warmup_runs, timed_runs=self.timed_runs
            ),
        )

    def _of_tasks(self, tasks: Sequence[LatencyTask]) -> Iterator[NetworkToMeasure]:
        keys: dict[Arch, list[str]] = {}
        for task in tasks:
            keys.setdefault(task.arch, []).append(task.key)
        for arch, of_arch in keys.items():
            yield self._network(arch, of_arch)

    def _of_awaited(self, awaited: Awaited) -> Iterator[NetworkToMeasure]:
        for arch in awaited.archs:
            yield self._network(arch, [search_key(arch, num_classes=self.num_classes)])
        for file in awaited.files:
            path = self.store.layout.root / file.path
            if not path.is_file() or digest_file(path) != file.sha256:
                raise ManifestMismatchError(
                    f"{path} is not there any more as it was when it was to be measured. Run "
                    f"again: ofa-pipeline run --device {self.store.device}"
                )
            yield NetworkToMeasure(
                keys=(file.sha256,),
                network=path,
                resolution_px=file.arch.resolution_px,
                macs=self._macs(file.arch),
            )

    def _network(self, arch: Arch, keys: Sequence[str]) -> NetworkToMeasure:
        """Return a subnet with the same random weights every time."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_measured_subnet(self.space, arch, num_classes=self.num_classes)
        return NetworkToMeasure(
            keys=tuple(keys),
            network=network,
            resolution_px=arch.resolution_px,
            macs=self._macs(arch),
        )

    def _macs(self, arch: Arch) -> int:
        return arch_cost(self.space, arch, num_classes=self.num_classes).macs

    def _what_to_do(self, awaited: Awaited, num_tasks: int) -> str:
        device = self.store.device
        count = len(awaited.archs) or len(awaited.files) or num_tasks
        return (
            f"{count} networks are to be measured on {device}, which is elsewhere: "
            f"{_WHAT[awaited.round]}. Export them: ofa-pipeline device export {device} --to FOLDER "
            "; there, in the folder: python measure.py ; then bring the result back: ofa-pipeline "
            f"device import {device} FILE ; and go on: ofa-pipeline run --device {device}"
        )
