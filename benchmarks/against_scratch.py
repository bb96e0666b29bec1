"""What once-for-all costs and brings against training each pick alone.

On a workspace whose pipeline has run. Every pick of every device is trained again from random
weights, on the labels alone, for as many epochs as the supernet saw in all phases together; then
the supernet's calibrated subnet, what ships, and what was trained alone answer the same test
images. Prints one JSON object a pick, and at last the number of subnets from which on once-for-all
is cheaper:

    python benchmarks/against_scratch.py --workspace . [--seeds 2] [--write]

With ``--write`` the lines are kept in ``artifacts/seconds/against_scratch``, and the next
``ofa-pipeline run`` shows them in the report, as long as the supernet and the picks stay the same.

Seconds are of the CPU over all threads; where CUDA is used, wall seconds are compared.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from alone_common import (
    Answers,
    answers,
    evaluator_on_test,
    paired_standard_error,
    total_epochs,
    train_alone,
)
from benchmark_options import at_least, told

from ofa_pipeline.arch import Arch
from ofa_pipeline.artifacts import Layout, read_json, write_artifact, write_bytes
from ofa_pipeline.data import open_dataset
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.report import CostFacts, break_even, load_cost, report_folders
from ofa_pipeline.report.loading_cost import ALONE_FILE, ALONE_FOLDER
from ofa_pipeline.supernet import extract_subnet, load_supernet
from ofa_pipeline.tables import PREDICTIONS_SCHEMA, read_table
from ofa_pipeline.training import deterministic

_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pick:
    """A subnet that ships to a device."""

    device: str
    arch: Arch
    macs: int
    shipped: Answers
    """Answers of the file that ships, on the test images."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """An architecture trained alone, once a seed."""

    answers: tuple[Answers, ...]
    cpu_s: float
    """Mean over the seeds."""
    wall_s: float


class Comparison:
    """Compares the picks of a workspace with the same architectures trained alone."""

    def __init__(self, layout: Layout, params: Params, *, seeds: int) -> None:
        """Load the supernet and the images; train nothing yet."""
        self._params = params
        self._epochs = total_epochs(layout, params)
        self._seeds = seeds
        self._dataset = open_dataset(layout.dataset)
        supernet = load_supernet(layout.supernet_weights(params.final_phase))
        self._evaluator = evaluator_on_test(supernet, dataset=self._dataset, params=params)
        self._trained: dict[Arch, Trained] = {}

    def row(self, pick: Pick, cost: CostFacts) -> dict[str, Any]:
        """Return what is printed of a pick."""
        alone = self._alone(pick.arch)
        with deterministic(threads=self._params.evaluation.threads):
            extracted = answers(
                extract_subnet(self._evaluator.supernet, pick.arch), self._evaluator
            )
        accuracies = [float(correct.mean()) for correct in alone.answers]
        paired = statistics.mean(paired_standard_error(pick.shipped, c) for c in alone.answers)
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else None
        between = spread / len(accuracies) ** 0.5 if spread is not None else 0.0
        [finetuning] = [
            item.seconds
            for item in cost.finetunings
            if (item.device, item.arch_id) == (pick.device, pick.arch.arch_id)
        ]
        return {
            "device": pick.device,
            "arch_id": pick.arch.arch_id,
            "macs": pick.macs,
            "epochs_alone": self._epochs,
            "seeds": self._seeds,
            "accuracy_top1_extracted": _rounded(float(extracted.mean())),
            "accuracy_top1_finetuned": _rounded(float(pick.shipped.mean())),
            "accuracy_top1_alone": _rounded(statistics.mean(accuracies)),
            "accuracy_std_alone": _rounded(spread),
            "standard_error": _rounded(max(paired, between)),
            "cpu_s_finetune": _rounded(finetuning.cpu_s if finetuning else None),
            "wall_s_finetune": _rounded(finetuning.wall_s if finetuning else None),
            "cpu_s_alone": _rounded(alone.cpu_s),
            "wall_s_alone": _rounded(alone.wall_s),
            "on_cuda": self._evaluator.device == "cuda",
        }

    def _alone(self, arch: Arch) -> Trained:
        """Train an architecture once a seed; devices that share it share the networks."""
        if arch not in self._trained:
            runs = [
                train_alone(
                    arch,
                    dataset=self._dataset,
                    params=self._params,
                    epochs=self._epochs,
                    seed=seed,
                )
                for seed in range(self._seeds)
            ]
            with deterministic(threads=self._params.evaluation.threads):
                found = tuple(answers(run.subnet, self._evaluator) for run in runs)
            self._trained[arch] = Trained(
                answers=found,
                cpu_s=statistics.mean(run.cpu_s for run in runs),
                wall_s=statistics.mean(run.wall_s for run in runs),
            )
        return self._trained[arch]


def main() -> None:
    """Compare, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--seeds", type=at_least(1), default=1, help="networks a pick")
    parser.add_argument("--write", action="store_true", help="keep the lines for the report")
    options = parser.parse_args()
    layout = Layout(options.workspace.resolve())
    params = load_params(layout.root / "params.yaml")
    lines = []
    for line in compare(layout, params, seeds=options.seeds):
        print(json.dumps(line), flush=True)
        lines.append(line)
    if options.write:
        keep(lines, layout, params)


def compare(layout: Layout, params: Params, *, seeds: int) -> Iterator[dict[str, Any]]:
    """Yield a line a pick, then the break-even."""
    cost = load_cost(report_folders(layout, phases=params.phases, devices=params.devices))
    comparison = Comparison(layout, params, seeds=seeds)
    rows = []
    for pick in shipped_picks(layout, params):
        rows.append(comparison.row(pick, cost))
        yield rows[-1]
    yield summary(rows, cost)


def shipped_picks(layout: Layout, params: Params) -> list[Pick]:
    """Return the subnets that ship to each device, with the answers of their files."""
    picks = []
    for device in params.devices:
        folder = layout.subnets(device)
        made_by = f"ofa-pipeline stage specialize --item {device}"
        table = read_table(folder / "predictions.parquet", PREDICTIONS_SCHEMA)
        arch_ids = np.array(table["arch_id"].to_pylist())
        right = table["label"].to_numpy() == table["predicted"].to_numpy()
        picks += [
            Pick(
                device=device,
                arch=Arch.from_dict(entry["arch"]),
                macs=entry["cost"]["macs"],
                shipped=right[arch_ids == entry["arch_id"]],
            )
            for entry in read_json(folder / "bundles.json", made_by=made_by)["bundles"]
        ]
    return picks


def summary(rows: list[dict[str, Any]], cost: CostFacts) -> dict[str, Any]:
    """Return the break-even: what is done once over what each subnet saves.

    Args:
        rows: One a pick.
        cost: What the stages and fine-tunings took.
    """
    unit = "wall_s" if cost.on_cuda or any(row["on_cuda"] for row in rows) else "cpu_s"
    once = cost.total_once
    once_s = None if once is None else (once.wall_s if unit == "wall_s" else once.cpu_s)
    unique = {row["arch_id"]: row for row in rows}.values()  # devices share weights
    finetunings = [row[f"{unit}_finetune"] for row in unique]
    finetuning_s = None if None in finetunings else statistics.mean(finetunings)
    alone_s = statistics.mean(row[f"{unit}_alone"] for row in unique)
    number = break_even(once_s=once_s, alone_s=alone_s, finetuning_s=finetuning_s)
    line = {
        f"{unit}_supernet": _rounded(once_s),
        f"{unit}_finetune_mean": _rounded(finetuning_s),
        f"{unit}_alone_mean": _rounded(alone_s),
        "break_even_subnets": _rounded(number),
        "subnets": len(rows),
        "within_two_standard_errors": sum(
            row["accuracy_top1_finetuned"] - row["accuracy_top1_alone"]
            >= -2 * row["standard_error"]
            for row in rows
        ),
    }
    if number is None:
        unknown = once_s is None or finetuning_s is None
        line["reason"] = (
            "the seconds of a stage or of a fine-tuning are not known: run the pipeline again"
            if unknown
            else "fine-tuning a subnet costs as much as training it alone"
        )
    if once is not None and not once.is_complete:
        line["supernet_lacks"] = "what a killed run did after its last checkpoint"
    return line


def keep(lines: list[dict[str, Any]], layout: Layout, params: Params) -> None:
    """Write the lines as an artifact, made from what was compared."""
    inputs = [
        layout.dataset,
        layout.supernet(params.final_phase),
        *(layout.subnets(device) for device in params.devices),
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    with write_artifact(
        layout.artifacts / "seconds" / ALONE_FOLDER,
        stage=ALONE_FOLDER,
        item=None,
        params={},
        inputs=inputs,
    ) as writer:
        write_bytes(writer.folder / ALONE_FILE, text.encode())


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")


if __name__ == "__main__":
    sys.exit(told(main))
