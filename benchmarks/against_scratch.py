"""Subnets taken out of the supernet against the same architectures trained alone.

Each architecture is trained from scratch with the same recipe, for as many epochs as the supernet
saw in all phases together, at its own resolution; then both are calibrated and evaluated on the
test images. Prints one JSON object an architecture and a summary.

    python benchmarks/against_scratch.py --workspace . [--seeds 2]

The architectures are the picks of all devices; without a finished search, a few of the initial
design. The noise of a difference is that of paired answers to the same images
(sqrt(disagreements) / images), and where there are several seeds, also their spread.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.evaluation import SubnetEvaluator, initial_design, predict
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.stages.train_supernet import recipe_of
from ofa_pipeline.supernet import (
    Subnet,
    Supernet,
    build_subnet,
    extract_subnet,
    fold_batch_norm,
    load_supernet,
)
from ofa_pipeline.training import Schedule, TrainingImages, deterministic, finetune

Answers = np.ndarray[tuple[int], np.dtype[np.bool_]]


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, default=1, help="networks from scratch a pick")
    parser.add_argument("--count", type=int, default=3, help="subnets where there are no picks")
    options = parser.parse_args()
    layout = Layout(options.workspace.resolve())
    params = load_params(layout.root / "params.yaml")
    dataset = open_dataset(layout.dataset)
    supernet = load_supernet(layout.supernet_weights(params.final_phase))
    archs = picked_archs(layout, params) or designed_archs(supernet, options.count)
    with deterministic(threads=params.training.threads):
        rows = [
            compare(arch, supernet=supernet, dataset=dataset, params=params, seeds=options.seeds)
            for arch in archs
        ]
    print(
        json.dumps(
            {
                "subnets": len(rows),
                "mean_difference": round(statistics.mean(r["difference"] for r in rows), 4),
                "at_least_as_good_within_2_sigma": sum(
                    r["difference"] >= -2 * r["difference_noise"] for r in rows
                ),
            }
        )
    )


def picked_archs(layout: Layout, params: Params) -> list[Arch]:
    """Return the picks of every device that has been searched, without repeats."""
    archs: dict[Arch, None] = {}
    for device in params.devices:
        path = layout.search(device) / "picks.json"
        if path.exists():
            picks = json.loads(path.read_text())["picks"]
            archs |= {Arch.from_dict(pick["arch"]): None for pick in picks}
    return list(archs)


def designed_archs(supernet: Supernet, count: int) -> list[Arch]:
    """Return subnets of different sizes."""
    space = supernet.space
    genes = initial_design(space, num_archs=30, num_classes=supernet.num_classes, seed=1)
    return space.archs(genes[np.linspace(3, 26, count).astype(int)])


def compare(
    arch: Arch, *, supernet: Supernet, dataset: Dataset, params: Params, seeds: int
) -> dict[str, float]:
    """Measure one architecture both ways."""
    evaluator = SubnetEvaluator(
        supernet=supernet,
        calibration=dataset.split("calibration"),
        evaluation=dataset.split("test"),
        mean=dataset.mean,
        std=dataset.std,
        batch_size=params.evaluation.batch_size,
        calibration_images=params.evaluation.calibration_images,
    )
    extracted = answers(extract_subnet(supernet, arch), evaluator)
    alone = [
        answers(train_alone(arch, dataset=dataset, params=params, seed=seed), evaluator)
        for seed in range(seeds)
    ]
    accuracies = [float(correct.mean()) for correct in alone]
    differences = [float(extracted.mean()) - accuracy for accuracy in accuracies]
    paired = statistics.mean(float((extracted != c).sum()) ** 0.5 / len(c) for c in alone)
    spread = statistics.stdev(differences) / seeds**0.5 if seeds > 1 else 0.0
    row = {
        "arch": str(arch),
        "epochs": total_epochs(params),
        "test_accuracy_top1_extracted": round(float(extracted.mean()), 4),
        "test_accuracy_top1_from_scratch": [round(value, 4) for value in accuracies],
        "difference": round(statistics.mean(differences), 4),
        "difference_noise": round(max(paired, spread), 4),
    }
    print(json.dumps(row), flush=True)
    return row


def answers(subnet: Subnet, evaluator: SubnetEvaluator) -> Answers:
    """Return which test images a subnet gets right, after calibration."""
    network = fold_batch_norm(evaluator.calibrate(subnet))
    return predict(network, evaluator.images(subnet.arch.resolution_px)).correct.numpy()


def total_epochs(params: Params) -> int:
    """Return the number of passes over the images in all phases together."""
    return sum(phase.epochs + phase.warmup_epochs for phase in params.phases.values())


def train_alone(arch: Arch, *, dataset: Dataset, params: Params, seed: int) -> Subnet:
    """Train an architecture from random weights, without a teacher."""
    first = next(iter(params.phases.values()))
    subnet = build_subnet(
        params.space.build(),
        arch,
        num_classes=dataset.num_classes,
        dropout=params.training.dropout,
        seed=seed,
    )
    schedule = Schedule(
        epochs=total_epochs(params) - first.warmup_epochs,
        warmup_epochs=first.warmup_epochs,
        learning_rate=first.learning_rate,
    )
    images = TrainingImages(split=dataset.split("train"), mean=dataset.mean, std=dataset.std)
    recipe = replace(recipe_of(params.training), seed=seed)
    return finetune(subnet, None, schedule=schedule, images=images, recipe=recipe)


if __name__ == "__main__":
    main()
