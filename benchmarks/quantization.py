"""What int8 costs and gives on this machine: accuracy and latency of the picks of a workspace.

Each pick that a finished workspace ships is written for each runtime in float32 and in int8,
quantised on the calibration split. Both files are evaluated on the test images by the runtime, and
the int8 file is timed between calls of the float32 file, so the ratio of both latencies does not
depend on what else the machine does. One JSON object a runtime and pick:

    {"runtime", "subnet", "resolution_px", "float_accuracy", "int8_accuracy", "loss_points",
     "float_ms", "int8_ms", "speedup"}

and to stderr a table of them, with a verdict for each runtime: how many points int8 is below
float32 on average, whether it is faster, and whether the CPU has instructions for int8 (VNNI).

Run: ``python benchmarks/quantization.py --workspace FOLDER``. ``--ofa`` adds three
OFA-MobileNetV3 w1.0 at 224 px with random weights, so without accuracies: networks of phones.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.data import open_dataset
from ofa_pipeline.devices import (
    LocalDevice,
    ReferenceNetwork,
    Runtime,
    build_runtime,
    find_runtime,
    noise_images,
    runtime_names,
)
from ofa_pipeline.devices.runtime import Images
from ofa_pipeline.errors import MissingArtifactError, OfaPipelineError, ParamsError
from ofa_pipeline.evaluation import SubnetEvaluator, evaluator_of
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.params import RuntimeSettings, load_params
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import Subnet, load_subnet, load_supernet

WARMUP_RUNS, TIMED_RUNS = 5, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A subnet in float32 and int8 on a runtime; without images there are no accuracies."""

    runtime: str
    subnet: str
    resolution_px: int
    float_accuracy: float | None
    int8_accuracy: float | None
    loss_points: float | None
    float_ms: float
    int8_ms: float
    speedup: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a runtime and subnet, and the table."""
    options = _options(arguments)
    try:
        cases = []
        for name in _runtimes(options.runtime):
            for case in _cases(name, options):
                print(json.dumps(asdict(case)), flush=True)
                cases.append(case)
    except OfaPipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(cases)), file=sys.stderr)
    return 0


def table(cases: Sequence[Case]) -> Iterator[str]:
    """Yield a table in Markdown, and the verdict on each runtime."""
    yield "| runtime | subnet | px | float32 | int8 | points lost | float32 ms | int8 ms | speed |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for case in cases:
        accuracies = [case.float_accuracy, case.int8_accuracy]
        shown = ["" if value is None else f"{value:.2%}" for value in accuracies]
        loss = "" if case.loss_points is None else f"{case.loss_points:+.2f}"
        yield (
            f"| {case.runtime} | {case.subnet} | {case.resolution_px} | {shown[0]} | {shown[1]} | "
            f"{loss} | {case.float_ms:.3f} | {case.int8_ms:.3f} | {case.speedup:.2f} |"
        )
    for name in dict.fromkeys(case.runtime for case in cases):
        for kind in ("picks", "ofa"):
            mine = [
                c for c in cases if c.runtime == name and (c.loss_points is None) == (kind == "ofa")
            ]
            if mine:
                yield verdict(name, mine)


def verdict(name: str, cases: Sequence[Case]) -> str:
    """Say whether int8 pays on a runtime."""
    speedup = float(np.exp(np.mean([np.log(case.speedup) for case in cases])))
    losses = [case.loss_points for case in cases if case.loss_points is not None]
    lost = f"{np.mean(losses):+.2f} points lost, {max(losses):+.2f} at most; " if losses else ""
    smallest, largest = (f"{end(c.float_ms for c in cases):.2g}" for end in (min, max))
    has = "with" if _has_vnni() else "without"
    pays = "it pays" if speedup > 1 else "int8 does not pay here"
    return (
        f"{name}, networks of {smallest} to {largest} ms: {lost}{speedup:.2f} times as fast as "
        f"float32 on a CPU {has} VNNI: {pays}"
    )


def _cases(name: str, options: argparse.Namespace) -> Iterator[Case]:
    evaluator = _evaluator(options.workspace)
    for folder in _bundles(options.workspace, options.device):
        subnet = load_subnet(folder / Layout.WEIGHTS)
        yield _compare(name, subnet, evaluator)
    if options.ofa:
        space = reference_space("ofa_mbv3_d234_e346_k357_w1.0").restrict(resolutions_px=[224])
        middle = space.arch(depths=[3] * 5, kernel_sizes=5, expand_ratios=4)
        for arch in (space.smallest, middle, space.largest):
            yield _compare(name, build_measured_subnet(space, arch, num_classes=1000), None)


def _compare(name: str, subnet: Subnet, evaluator: SubnetEvaluator | None) -> Case:
    """Write, evaluate and time both files of a subnet."""
    resolution_px = subnet.arch.resolution_px
    with TemporaryDirectory() as folder:
        files = [Path(folder) / precision for precision in ("fp32", "int8")]
        for file in files:
            calibration = _calibration(evaluator, resolution_px)
            _runtime(name, file.name).write(
                subnet, file, resolution_px=resolution_px, calibration=calibration
            )
        device = LocalDevice(
            _runtime(name, "fp32"),
            ReferenceNetwork(network=files[0], resolution_px=resolution_px),
            warmup_runs=WARMUP_RUNS,
            timed_runs=TIMED_RUNS,
        )
        measured = device.measure(files[1], resolution_px=resolution_px)
        accuracies = [_accuracy(device, file, resolution_px, evaluator) for file in files]
    before, after = accuracies
    return Case(
        runtime=name,
        subnet=subnet.arch.arch_id,
        resolution_px=resolution_px,
        float_accuracy=before,
        int8_accuracy=after,
        loss_points=None if before is None or after is None else 100 * (before - after),
        float_ms=measured.reference_ms,
        int8_ms=measured.p50_ms,
        speedup=measured.reference_ms / measured.p50_ms,
    )


def _calibration(evaluator: SubnetEvaluator | None, resolution_px: int) -> list[Images]:
    if evaluator is None:
        return [noise_images(32, resolution_px)]
    return [batch.numpy() for batch in evaluator.calibration_batches(resolution_px)]


def _accuracy(
    device: LocalDevice, file: Path, resolution_px: int, evaluator: SubnetEvaluator | None
) -> float | None:
    if evaluator is None:
        return None
    batches = list(evaluator.images(resolution_px))
    logits = device.predict(
        file, (images.numpy() for images, _ in batches), resolution_px=resolution_px
    )
    labels = np.concatenate([labels.numpy() for _, labels in batches])
    return float((logits.argmax(axis=1) == labels).mean())


def _evaluator(workspace: Path) -> SubnetEvaluator:
    layout, params = Layout(workspace), load_params(workspace / "params.yaml")
    return evaluator_of(
        load_supernet(layout.supernet_weights(params.final_phase)),
        open_dataset(layout.dataset),
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
        split="test",
    )


def _bundles(workspace: Path, device: str) -> list[Path]:
    folder = Layout(workspace).subnets(device)
    bundles = sorted(path.parent for path in folder.glob(f"*/{Layout.WEIGHTS}"))
    if not bundles:
        raise MissingArtifactError(
            f"{folder} must hold the picks of a finished run, found none. Run: ofa-pipeline run"
        )
    return bundles


def _runtime(name: str, precision: str) -> Runtime:
    return build_runtime(
        RuntimeSettings(
            runtime=name, accelerator="cpu", precision=precision, threads=1, batch_size=1
        )
    )


def _runtimes(text: str) -> list[str]:
    known = [name for name in runtime_names() if "int8" in find_runtime(name).precisions("cpu")]
    names = list(dict.fromkeys(text.split(","))) if text else known
    if unknown := [name for name in names if name not in known]:
        raise ParamsError(
            f"--runtime must be of those with int8, {', '.join(known)}; got {', '.join(unknown)}"
        )
    return names


def _has_vnni() -> bool:
    path = Path("/proc/cpuinfo")
    return path.exists() and "vnni" in path.read_text()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path(), help="with a finished run")
    parser.add_argument("--device", default="cpu-onnxruntime", help="whose picks are compared")
    parser.add_argument("--runtime", default="", metavar="A,B", help="all that have int8")
    parser.add_argument("--ofa", action="store_true", help="large networks as well, latency only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
