"""The weights that another device's subnets were fine-tuned to, where they would be the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout, Manifest, digest_json, verify_file
from ofa_pipeline.documents import BundleEntry, BundleIndex, read_document
from ofa_pipeline.errors import OfaPipelineError
from ofa_pipeline.progress import Reporter
from ofa_pipeline.specialize.fine_tuning import TunedPick
from ofa_pipeline.specialize.tuning import TunedSubnet, Tuner, TuningFigures
from ofa_pipeline.stopwatch import Seconds
from ofa_pipeline.supernet import load_subnet

_REMAKE = "ofa-pipeline run"
_OF_THE_DEVICE = ("latency", "devices.")
"""Sections of params.yaml that decide what is measured, not which weights ship."""


class OtherDevices:
    """Finds weights of a subnet among the bundles of other devices.

    Weights follow from supernet, images and settings, and from nothing of the device: where these
    are the same, fine-tuning again would come to the same bits.
    """

    def __init__(self, folders: Mapping[str, Path], *, tuner: Tuner, reporter: Reporter) -> None:
        """Look into folders of bundles, by name of the device, when asked."""
        self._folders = folders
        self._tuner = tuner
        self._reporter = reporter

    @classmethod
    def of(
        cls, layout: Layout, device: str, *, made_from: Manifest, tuner: Tuner, reporter: Reporter
    ) -> Self:
        """Return what finds weights for a device.

        Args:
            layout: Layout of the workspace.
            device: Name of the device that wants them.
            made_from: Params and inputs that its own bundles are made with and from.
            tuner: Would make the weights: what it could not come to is left alone.
            reporter: Told whose weights are taken.
        """
        wanted = _settings(made_from)
        others = layout.subnets(device).parent.glob(f"[!.]*/{Layout.MANIFEST}")
        folders = {
            path.parent.name: path.parent
            for path in sorted(others)
            if path.parent.name != device and _settings_in(path.parent) == wanted
        }
        return cls(folders, tuner=tuner, reporter=reporter)

    def find(self, arch: Arch) -> TunedPick | None:
        """Return the weights of a subnet with what they cost; None where no device has them."""
        for name, folder in self._folders.items():
            pick = self._read(folder, arch)
            if pick is not None:
                self._reporter.message(
                    f"subnet {arch.arch_id} was fine-tuned for {name} out of the same supernet: "
                    "its weights are taken"
                )
                return pick
        return None

    def _read(self, folder: Path, arch: Arch) -> TunedPick | None:
        """Return the weights in a folder; None of one that lacks them or is not as written.

        What is wrong with it, its own stage says.
        """
        try:
            index = folder / Layout.BUNDLES
            verify_file(index)
            for entry in read_document(index, BundleIndex, remake=_REMAKE).bundles:
                if entry.arch == arch:
                    return self._pick(folder / entry.name, entry)
        except (OfaPipelineError, OSError):
            return None
        return None

    def _pick(self, folder: Path, entry: BundleEntry) -> TunedPick | None:
        cost, accuracy = entry.finetuning, entry.accuracy
        if cost is None:  # of a version that noted none
            return None
        figures = TuningFigures(
            accuracy_top1_extracted=accuracy.accuracy_top1_selection_extracted,
            accuracy_top1_finetuned=accuracy.accuracy_top1_selection_finetuned,
            num_epochs=cost.epochs,
            num_images=accuracy.num_selection_images,
            has_teacher=cost.teacher_macs > 0,
        )
        if not self._tuner.may_take(figures):
            return None
        weights = folder / Layout.WEIGHTS
        verify_file(weights)
        tuned = TunedSubnet(subnet=load_subnet(weights), figures=figures)
        return TunedPick(tuned=tuned, seconds=Seconds.from_dict(cost.to_dict()))


def _settings_in(folder: Path) -> str | None:
    try:
        return _settings(Manifest.read(folder, made_by=_REMAKE))
    except (OfaPipelineError, OSError):
        return None


def _settings(manifest: Manifest) -> str:
    """Return a digest of all that the weights of a device's subnets follow from."""
    params: dict[str, Any] = {
        name: section
        for name, section in manifest.params.items()
        if not name.startswith(_OF_THE_DEVICE)
    }
    inputs = {
        path: digest
        for path, digest in manifest.inputs.items()
        if Path(path).parts[1] not in ("latency", "search")
    }
    return digest_json([manifest.stage, params, inputs])
