"""What ImageNet with thousands of subnets and dozens of devices costs, from unit costs.

    python benchmarks/scale_costs.py             # the table of docs/scale.md, from docs/measured
    python benchmarks/scale_costs.py --measure   # the unit costs of this machine's compute device

Costs scale with images at 224 px in the reference's space of width 1.0: those that a subnet learns
from, those that it is evaluated on. Seconds are those of one core, or of one CUDA device.
Registration takes what docs/measured/registry.jsonl says, latencies the time of their runs, on the
device itself.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ofa_pipeline.compute import compute_device
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import build_supernet, extract_subnet, fold_batch_norm

MEASURED = Path(__file__).parents[1] / "docs" / "measured"
SPACE = "ofa_mbv3_d234_e346_k357_w1.0"
RESOLUTION_PX = 224
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is asked for; everything else follows."""

    training_images: int = 1_281_167
    largest_epochs: int = 185
    """Of the largest subnet alone, as in presets/mobilenet-v3-w1.0.yaml; so are the next three."""
    epochs_by_subnets: tuple[tuple[int, int], ...] = ((125, 1), (150, 2), (150, 4))
    """Epochs with so many subnets a step, which the largest teaches."""
    finetuning_epochs: int = 25
    calibration_images: int = 2_000
    selection_images: int = 10_000
    subnets: int = 10_000
    """Evaluated for the predictor."""
    devices: int = 50
    budgets: int = 3
    """A device; a subnet is shipped for each."""
    rounds: int = 2
    verified: int = 3
    """A budget and round: evaluated and measured."""
    profiled: int = 40
    """Subnets measured for a device's latency model."""
    runs: int = 70
    """Of a measurement: 5 + 30 of the subnet and as many of the reference network."""
    latency_s: float = 0.03
    """Of a subnet on a phone-like device; given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCosts:
    """Seconds of one core or CUDA device an image."""

    device: str
    learn_largest_s: float
    """The largest subnet learns from it."""
    learn_s: float
    """A random subnet learns from it."""
    teach_s: float
    """The largest looks at it."""
    evaluate_s: float
    """A random subnet, folded, looks at it."""


def measure(*, images: int, repeats: int) -> UnitCosts:
    """Time forward passes and gradients of a random subnet and of the largest, on one core."""
    device = compute_device()
    torch.set_num_threads(1)
    space = reference_space(SPACE)
    supernet = build_supernet(space, num_classes=1000)
    [arch] = space.archs(space.sample(np.random.default_rng(0), 1))
    subnet, largest = (
        extract_subnet(supernet, found).to(device).to(memory_format=torch.channels_last)
        for found in (arch, space.largest)
    )
    folded = fold_batch_norm(subnet.eval()).to(memory_format=torch.channels_last)
    batch = torch.randn((images, 3, RESOLUTION_PX, RESOLUTION_PX), device=device)
    batch = batch.to(memory_format=torch.channels_last)

    def forward(network: torch.nn.Module) -> None:
        with torch.no_grad():
            network(batch)

    def learn(network: torch.nn.Module) -> None:
        network.train()
        network(batch).logsumexp(dim=1).mean().backward()

    def seconds(work: Callable[[], None]) -> float:
        taken = [_timed(work) for _ in range(repeats + 1)]
        return min(taken[1:]) / images

    return UnitCosts(
        device=torch.cuda.get_device_name() if device == "cuda" else "one core",
        evaluate_s=seconds(lambda: forward(folded)),
        learn_s=seconds(lambda: learn(subnet)),
        learn_largest_s=seconds(lambda: learn(largest)),
        teach_s=seconds(lambda: forward(largest.eval())),
    )


def _timed(work: Callable[[], None]) -> float:
    """Return the seconds of a call: of the CPU where that computes, so that others count not."""
    on_cuda = compute_device() == "cuda"
    clock = time.perf_counter if on_cuda else time.process_time
    start = clock()
    work()
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - start


def hours(sizes: Sizes, unit: UnitCosts) -> Iterator[tuple[str, str, float]]:
    """Yield each piece of work, how it is counted, and its hours."""
    shipped = sizes.devices * sizes.budgets
    looked_at = sizes.calibration_images + sizes.selection_images
    verified = sizes.devices * sizes.budgets * sizes.rounds * sizes.verified
    images, tuned = sizes.training_images, sizes.training_images * sizes.finetuning_epochs
    epoch_s = sizes.largest_epochs * unit.learn_largest_s + sum(
        epochs * (subnets * unit.learn_s + unit.teach_s)
        for epochs, subnets in sizes.epochs_by_subnets
    )
    epochs = sizes.largest_epochs + sum(count for count, _ in sizes.epochs_by_subnets)
    yield "train the supernet", f"{epochs} epochs of {images:,} images", images * epoch_s / HOUR_S
    for name, count in [
        ("evaluate subnets", sizes.subnets),
        ("verify candidates, at most", verified),
    ]:
        seconds = count * looked_at * unit.evaluate_s
        yield name, f"{count:,} x {looked_at:,} images", seconds / HOUR_S
    seconds = shipped * tuned * (unit.learn_s + unit.teach_s)
    yield "fine-tune picks, at most", f"{shipped} x {tuned:,} images", seconds / HOUR_S


def device_hours(sizes: Sizes) -> float:
    """Return the hours that each device measures."""
    measured = sizes.profiled + sizes.budgets * (sizes.rounds * sizes.verified + 1)
    return measured * sizes.runs * sizes.latency_s / HOUR_S


def registration_hours(sizes: Sizes) -> float:
    """Return the hours that registering a version for each subnet takes, as measured.

    The median of one grows with what is there: that of 1,000 and that of 10,000 are its two ends.
    """
    rows = [json.loads(line) for line in (MEASURED / "registry.jsonl").read_text().splitlines()]
    ends = {
        row["subnets"]: row["median_s"]
        for row in rows
        if row["backend"] == "sqlite" and row["operation"] == "register"
    }
    return sizes.subnets * (ends[1_000] + ends[10_000]) / 2 / HOUR_S


def table(sizes: Sizes, units: list[UnitCosts]) -> str:
    """Return the table of the documentation."""
    lines = [
        "| work | counted as | " + " | ".join(f"hours of {unit.device}" for unit in units) + " |",
        "| --- | --- |" + " ---: |" * len(units),
    ]
    columns = [list(hours(sizes, unit)) for unit in units]
    for rows in zip(*columns, strict=True):
        name, count, _ = rows[0]
        lines.append(f"| {name} | {count} | " + " | ".join(f"{r[2]:,.0f}" for r in rows) + " |")
    totals = " | ".join(f"{sum(row[2] for row in rows):,.0f}" for rows in columns)
    lines.append(f"| together | | {totals} |")
    return "\n".join(lines)


def beside(sizes: Sizes) -> str:
    """Return the sentence of the documentation on what needs no compute device."""
    return (
        f"Beside it, each device measures for {60 * device_hours(sizes):.0f} minutes, and "
        f"registering all {sizes.subnets:,} subnets would take "
        f"{registration_hours(sizes):.1f} hours."
    )


def read_units() -> list[UnitCosts]:
    """Return the unit costs that were measured."""
    lines = (MEASURED / "scale_costs.jsonl").read_text().splitlines()
    return [UnitCosts(**json.loads(line)) for line in lines]


def main() -> None:
    """Print the table, or what this machine takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args()
    if options.measure:
        big = compute_device() == "cuda"
        unit = measure(images=64 if big else 8, repeats=20 if big else 3)
        print(json.dumps({n: getattr(unit, n) for n in unit.__slots__}))
        return
    sizes = Sizes()
    print(table(sizes, read_units()))
    print(f"\n{beside(sizes)}")


if __name__ == "__main__":
    main()
