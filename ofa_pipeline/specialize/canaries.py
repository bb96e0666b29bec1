"""The bundles of a device, measured again as they ship."""

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.artifacts import Layout, verify_artifact
from ofa_pipeline.devices import DeviceSettings
from ofa_pipeline.documents import BundleIndex, read_document
from ofa_pipeline.latency import Canary, load_latency_profile
from ofa_pipeline.progress import SILENT, Reporter

REMAKE = "ofa-pipeline run --device {device}"


def measure_canaries(
    layout: Layout,
    device: str,
    settings: DeviceSettings,
    space: SearchSpace,
    *,
    timed_runs: int,
    reporter: Reporter = SILENT,
) -> tuple[Canary, ...]:
    """Measure every bundle of a device once more, beside what its certificate says.

    Args:
        layout: Of the workspace.
        device: Name of the device.
        settings: The device as params.yaml describes it.
        space: Of the subnets.
        timed_runs: Visits to each file, at least.
        reporter: Told of the progress.

    Raises:
        MissingArtifactError: If the device has no bundles or no profile.
        ManifestMismatchError: If a file was changed after it was written.
        DeviceError: If this machine is not the device that was profiled.
    """
    folder = layout.subnets(device)
    index = read_document(folder / Layout.BUNDLES, BundleIndex, remake=REMAKE.format(device=device))
    verify_artifact(folder)
    opened = load_latency_profile(layout.latency(device)).open_device(
        settings, space, timed_runs=timed_runs
    )
    found = []
    label = f"canaries of {device}"
    for entry in reporter.iterate(index.bundles, label, total=len(index.bundles), unit="subnets"):
        certified = entry.latency[device]
        file = folder / entry.name / certified.file
        measured = opened.measure(file, resolution_px=entry.arch.resolution_px)
        found.append(Canary(name=entry.name, certified=certified, measured=measured))
    return tuple(found)
