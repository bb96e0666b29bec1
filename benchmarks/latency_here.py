"""How well latency is estimated on this machine, from about 20 measured subnets.

For each runtime some subnets are chosen and measured as the pipeline does, and a model is fitted.
Held out are random subnets, and corners of the space: every block with the same kernel size and
expand ratio, every group with the same depth. The fitted subnets are measured again in a session
of their own: how well two profiles agree. One JSON object a runtime:

    {"runtime", "precision", "space", "minutes", "num_fit", "form", "random": {...},
     "corners": {...}, "repeat_median_percent", "repeat_factor", "stated_coverage",
     "interval_percent", "outliers", "share_launch_bound", "num_contended"}

``random`` and ``corners`` hold ``num``, ``mape_percent``, ``within_5_percent``,
``within_10_percent``, ``coverage`` (shares between 0 and 1) and ``tau``.

Run: ``python benchmarks/latency_here.py --runtime onnxruntime,openvino``; nothing else should run
on the machine meanwhile. ``--space ofa`` is OFA-MobileNetV3 w1.0 at 224 px.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ofa_pipeline.arch import Arch, FloatArray, SearchSpace
from ofa_pipeline.devices import runtime_names
from ofa_pipeline.errors import OfaPipelineError, ParamsError
from ofa_pipeline.latency import (
    LatencyBench,
    LatencyFit,
    LatencyTask,
    Sample,
    design_subnets,
    fit_latency,
    report_errors,
    samples_on_one_scale,
)
from ofa_pipeline.params import load_params
from ofa_pipeline.spaces import reference_space

NUM_CLASSES = {"demo": 10, "ofa": 1000}
NUM_CORNERS = 36
WARMUP_RUNS, TIMED_RUNS = 5, 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A device, as params.yaml would describe it."""

    runtime: str
    accelerator: str = "cpu"
    precision: str = "fp32"
    threads: int = 1
    batch_size: int = 1
    pinning: tuple[int, ...] | None = None
    options: dict[str, bool | str] | None = None
    location: str | None = None
    python: str | None = None
    measured: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured."""

    space: SearchSpace
    fit: list[Arch]
    random: list[Arch]
    corners: list[Arch]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each runtime and print its line."""
    options = _options(arguments)
    try:
        runtimes = _runtimes(options.runtime)
        plan = make_plan(_space(options), options)
        for runtime in runtimes:
            print(json.dumps(measure(plan, runtime, options)), flush=True)
    except OfaPipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_plan(space: SearchSpace, options: argparse.Namespace) -> Plan:
    """Choose the subnets to fit to, and the ones that are held out."""
    corners = corner_archs(space)
    known = {arch.arch_id for arch in corners}
    fit, rest = design_subnets(
        space,
        num_classes=NUM_CLASSES[options.space],
        num_subnets=options.num_subnets,
        num_holdout=options.num_random + len(corners),
        seed=options.seed,
    )
    known |= {arch.arch_id for arch in space.archs(fit)}
    random = [arch for arch in space.archs(rest) if arch.arch_id not in known]
    fitted = {arch.arch_id for arch in space.archs(fit)}
    return Plan(
        space=space,
        fit=space.archs(fit),
        random=random[: options.num_random],
        corners=[arch for arch in corners if arch.arch_id not in fitted],
    )


def corner_archs(space: SearchSpace) -> list[Arch]:
    """Return architectures that are equal everywhere: the ends of kernel size and resolution."""
    group = space.block_groups[0]
    ends = [
        sorted({values[0], values[-1]}) for values in (space.resolutions_px, group.kernel_sizes)
    ]
    archs = [
        space.arch(
            resolution_px=resolution_px,
            depths=[min(depth, of_group.max_depth) for of_group in space.block_groups],
            kernel_sizes=kernel_size,
            expand_ratios=expand_ratio,
        )
        for resolution_px, kernel_size, expand_ratio, depth in product(
            *ends, group.expand_ratios, group.depths
        )
    ]
    return archs[:NUM_CORNERS]


def measure(plan: Plan, runtime: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything on a runtime, twice what is fitted to, and compare."""
    start = time.perf_counter()
    num_classes = NUM_CLASSES[options.space]
    settings = Settings(runtime=runtime, precision=options.precision)
    first = _measure(plan, [*plan.fit, *plan.random, *plan.corners], settings, num_classes)
    again = _measure(plan, plan.fit, settings, num_classes)
    latency_ms = np.array([sample.measurement.p50_ms for sample in first])
    repeated_ms = np.array([sample.measurement.p50_ms for sample in again])
    count = len(plan.fit)
    fit = fit_latency(
        plan.space, plan.space.genes(plan.fit), latency_ms[:count], num_classes=num_classes
    )
    borders = np.cumsum([count, len(plan.random)])
    _, random_ms, corners_ms = np.split(latency_ms, borders)
    # Between two profiles, the quiet latency of the reference network may differ: all by a factor.
    factor = np.median(latency_ms[:count] / repeated_ms)
    differences = np.abs(factor * repeated_ms / latency_ms[:count] - 1)
    interval = fit.model.interval
    assert interval is not None
    return {
        "runtime": runtime,
        "precision": options.precision,
        "space": options.space,
        "minutes": (time.perf_counter() - start) / 60,
        "num_fit": count,
        "form": fit.model.form,
        "random": _errors(plan, fit, plan.random, random_ms),
        "corners": _errors(plan, fit, plan.corners, corners_ms),
        "repeat_median_percent": 100 * float(np.median(differences)),
        "repeat_factor": float(factor),
        "stated_coverage": interval.coverage,
        "interval_percent": [100 * interval.low, 100 * interval.high],
        "outliers": int(fit.choice.form.is_outlier.sum()),
        "share_launch_bound": float(fit.is_launch_bound.mean()),
        "num_contended": sum(sample.measurement.is_contended for sample in first),
    }


def _measure(
    plan: Plan, archs: Sequence[Arch], settings: Settings, num_classes: int
) -> list[Sample]:
    bench = LatencyBench(
        settings,
        plan.space,
        num_classes=num_classes,
        warmup_runs=WARMUP_RUNS,
        timed_runs=TIMED_RUNS,
    )
    measure_task = bench()
    tasks = [LatencyTask(arch=arch, role="fit") for arch in archs]
    # In random order: what drifts falls on all kinds of subnets.
    order = np.random.default_rng(0).permutation(len(tasks))
    rows = {int(index): measure_task(tasks[index]) for index in order}
    return samples_on_one_scale(tasks, [rows[index] for index in range(len(tasks))])


def _errors(
    plan: Plan, fit: LatencyFit, archs: Sequence[Arch], measured_ms: FloatArray
) -> dict[str, Any]:
    estimated = fit.model.predict(plan.space, plan.space.genes(archs))
    report = report_errors(measured_ms, estimated, interval=fit.model.interval)
    return {
        "num": report.num_subnets,
        "mape_percent": 100 * report.mape,
        "within_5_percent": report.share_within_5_percent,
        "within_10_percent": report.share_within_10_percent,
        "coverage": report.coverage,
        "tau": report.kendall_tau,
    }


def _runtimes(text: str) -> list[str]:
    known = runtime_names()
    runtimes = list(dict.fromkeys(text.split(",")))
    unknown = [name for name in runtimes if name not in known]
    if unknown:
        raise ParamsError(f"--runtime must be of {', '.join(known)}, got {', '.join(unknown)}")
    return runtimes


def _space(options: argparse.Namespace) -> SearchSpace:
    if options.space == "demo":
        return load_params(options.params).space.build()
    return reference_space("ofa_mbv3_d234_e346_k357_w1.0").restrict(resolutions_px=[224])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--runtime", default="onnxruntime,pytorch", metavar="A,B")
    parser.add_argument("--precision", default="fp32", help="one that each runtime computes in")
    parser.add_argument("--space", default="demo", choices=("demo", "ofa"))
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="of the demo")
    parser.add_argument("--num-subnets", type=int, default=20, metavar="N")
    parser.add_argument("--num-random", type=int, default=40, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
