"""The latency profile of a device: what later stages need to estimate and to measure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.devices import (
    Device,
    DeviceCard,
    DeviceSettings,
    ReferenceNetwork,
    describe_device,
    noise_images,
    open_device,
    torch_threads,
)
from ofa_pipeline.devices.elsewhere import ElsewhereDevice, ElsewhereStore
from ofa_pipeline.documents import CardElsewhere, DeviceProfile, ReferenceSubnet, read_document
from ofa_pipeline.errors import DeviceError
from ofa_pipeline.latency.model import LatencyModel, load_latency_model
from ofa_pipeline.progress import SILENT, Reporter

if TYPE_CHECKING:
    from ofa_pipeline.supernet import Subnet

MADE_BY = "ofa-pipeline stage profile_latency --item {device}"
BUDGET_STEPS = 100
"""A budget is rounded up to a round number at most this part of the range away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyProfile:
    """What profiling a device found."""

    card: DeviceCard
    model: LatencyModel
    reference: Arch
    """The network that everything is compared with on this device."""
    reference_ms: float
    """Its latency on the quiet machine."""
    smallest_ms: float
    """Measured latency of the smallest subnet of the space."""
    largest_ms: float

    def open_device(
        self,
        settings: DeviceSettings,
        space: SearchSpace,
        *,
        warmup_runs: int = 5,
        timed_runs: int = 60,
        store: ElsewhereStore | None = None,
        reporter: Reporter = SILENT,
    ) -> Device:
        """Return the device; its figures may be compared with those of the profile.

        Args:
            settings: The settings that the device was profiled with.
            space: The space that the device was profiled for.
            warmup_runs: Calls after loading that do not count.
            timed_runs: Visits to a network, at least.
            store: What is kept of a device elsewhere.
            reporter: Told of the progress of measurements elsewhere.

        Raises:
            DeviceError: If this machine is not the device that was profiled.
        """
        if settings.location is not None:
            assert store is not None
            return self._open_elsewhere(
                settings,
                space,
                store,
                warmup_runs=warmup_runs,
                timed_runs=timed_runs,
                reporter=reporter,
            )
        differences = self.card.differences(describe_device(settings))
        if differences:
            raise DeviceError(
                "this machine is not the device that was profiled: "
                f"{'; '.join(differences)}. Run the stage profile_latency again here."
            )
        network = build_measured_subnet(space, self.reference, num_classes=self.model.num_classes)
        reference = ReferenceNetwork(
            network=network,
            resolution_px=self.reference.resolution_px,
            latency_ms=self.reference_ms,
        )
        return open_device(settings, reference, warmup_runs=warmup_runs, timed_runs=timed_runs)

    def _open_elsewhere(
        self,
        settings: DeviceSettings,
        space: SearchSpace,
        store: ElsewhereStore,
        *,
        warmup_runs: int,
        timed_runs: int,
        reporter: Reporter,
    ) -> Device:
        from ofa_pipeline.latency.elsewhere import ElsewhereBench

        bench = ElsewhereBench(
            store=store,
            settings=settings,
            space=space,
            num_classes=self.model.num_classes,
            warmup_runs=warmup_runs,
            timed_runs=timed_runs,
            reporter=reporter,
        )
        return ElsewhereDevice(
            self.card,
            store,
            reference_ms=self.reference_ms,
            num_classes=self.model.num_classes,
            ask_for=bench.ask_for,
        )

    def budgets_ms(
        self, budgets_ms: Sequence[float] | None, budget_fractions: Sequence[float] | None
    ) -> tuple[float, ...]:
        """Return the budgets of the device in milliseconds, see `resolve_budgets_ms`."""
        return resolve_budgets_ms(
            budgets_ms,
            budget_fractions,
            smallest_ms=self.smallest_ms,
            largest_ms=self.largest_ms,
        )


def stale_reasons(
    folder: Path, settings: DeviceSettings, *, found: DeviceCard | None = None
) -> tuple[str, ...]:
    """Say in what a device differs from what it was when it was profiled; nothing if in nothing.

    Args:
        folder: Folder of the latency artifact; where it is not there, nothing is stale.
        settings: The device as params.yaml describes it.
        found: What a device elsewhere is; None: not known, only the settings are compared.

    Raises:
        DeviceError: If the machine cannot serve the settings any more.
        ManifestMismatchError: If a file is not what the stage writes.
    """
    path = folder / Layout.DEVICE_PROFILE
    if not path.exists():
        return ()
    remake = MADE_BY.format(device=folder.name)
    profiled = read_document(path, DeviceProfile, remake=remake).device
    if settings.location is None:
        return profiled.differences(describe_device(settings))
    now = {key: getattr(settings, key) for key in CardElsewhere.model_fields}
    return profiled.differences((found or profiled).model_copy(update=now))


def save_profile_card(
    profile: LatencyProfile, folder: Path, *, settings: dict[str, Any] | None = None
) -> None:
    """Write the device, the reference network and the range of the space.

    Args:
        profile: The model is written by `save_latency_model`.
        folder: Folder of the latency artifact.
        settings: More that describes how the device was measured.
    """
    document = DeviceProfile(
        device=profile.card,
        fingerprint=profile.card.fingerprint,
        reference=ReferenceSubnet(arch=profile.reference, latency_ms=profile.reference_ms),
        smallest_ms=profile.smallest_ms,
        largest_ms=profile.largest_ms,
        measurement=settings or {},
    )
    write_json(folder / Layout.DEVICE_PROFILE, document.to_dict())


def load_latency_profile(folder: Path) -> LatencyProfile:
    """Read the artifact of the stage profile_latency.

    Raises:
        MissingArtifactError: If a file is not there.
        ManifestMismatchError: If a file is not what the stage writes.
    """
    remake = MADE_BY.format(device=folder.name)
    document = read_document(folder / Layout.DEVICE_PROFILE, DeviceProfile, remake=remake)
    return LatencyProfile(
        card=document.device,
        model=load_latency_model(folder),
        reference=document.reference.arch,
        reference_ms=document.reference.latency_ms,
        smallest_ms=document.smallest_ms,
        largest_ms=document.largest_ms,
    )


def resolve_budgets_ms(
    budgets_ms: Sequence[float] | None,
    budget_fractions: Sequence[float] | None,
    *,
    smallest_ms: float,
    largest_ms: float,
) -> tuple[float, ...]:
    """Return budgets in milliseconds, from milliseconds or from fractions of the device's range.

    Args:
        budgets_ms: Returned as they are.
        budget_fractions: Parts of the way from the smallest to the largest subnet; rounded up to
            a round number within a hundredth of the way.
        smallest_ms: Latency of the smallest subnet.
        largest_ms: Latency of the largest subnet.

    Raises:
        DeviceError: If the largest subnet is not slower than the smallest, or not exactly one
            kind of budget is given.
    """
    if (budgets_ms is None) == (budget_fractions is None):
        raise DeviceError("a device must have budgets_ms or budget_fractions, one of them")
    if budgets_ms is not None:
        return tuple(budgets_ms)
    assert budget_fractions is not None
    if largest_ms <= smallest_ms:
        raise DeviceError(
            f"the largest subnet must be slower than the smallest, got {largest_ms:g} ms and "
            f"{smallest_ms:g} ms. Profile the device again on a quiet machine."
        )
    step = 10 ** math.floor(math.log10((largest_ms - smallest_ms) / BUDGET_STEPS))
    digits = -round(math.log10(step))
    exact = [smallest_ms + part * (largest_ms - smallest_ms) for part in budget_fractions]
    return tuple(round(math.ceil(value / step - 1e-9) * step, digits) for value in exact)


def reference_arch(space: SearchSpace) -> Arch:
    """Return the architecture in the middle of every choice: what others are compared with."""
    middle = (space.num_choices - 1) // 2
    return space.archs(space.canonicalize(middle[None].astype("int8")))[0]


def build_measured_subnet(space: SearchSpace, arch: Arch, *, num_classes: int) -> "Subnet":
    """Build a subnet to be timed: random weights, and statistics that fit them.

    Latency does not depend on the weights, with one exception: numbers below 1e-38 (denormals)
    take a processor many times longer. Random weights can shrink the activations of a deep
    network to them layer by layer; batch norm with the statistics of one batch of noise keeps
    every layer's output near one, as training does.

    Args:
        space: The space that the architecture is of.
        arch: The architecture.
        num_classes: Length of the logits.
    """
    import torch
    from torch import nn

    from ofa_pipeline.supernet import build_subnet

    subnet = build_subnet(space, arch, num_classes=num_classes)
    norms = [module for module in subnet.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad(), torch_threads(1):
        subnet(torch.from_numpy(noise_images(4, arch.resolution_px)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return subnet
