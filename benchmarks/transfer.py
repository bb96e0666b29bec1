"""What starting from a supernet of other classes gives, against random weights.

A supernet is trained on eight classes of CIFAR-10. Then the pipeline trains one for the other two
classes (ship and truck) with 100, 500 and 2,000 images: once from the first supernet's weights
(``training.initial_weights``, elastic at once, at a low rate), once from random weights with the
shipped recipe (the largest first, then all). Both take equally many steps of equally many images;
splits are drawn from those images, the test images are the two classes of CIFAR-10's own.

Prints one JSON object for each number of images and start: top-1 of the largest and the smallest
subnet, fractions, and CPU seconds of training; means over the draws of images.

    python benchmarks/transfer.py [--cifar10 FOLDER] [--images 100 500 2000] [--draws 3]
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from alone_common import evaluator_on_test
from ruamel.yaml import YAML

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.data import open_dataset
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.stages import SECONDS, StageContext, find_stage, items_of, run_stage
from ofa_pipeline.supernet import load_supernet
from ofa_pipeline.workspace import checkout_folder, create_workspace

CIFAR10 = Path(__file__).resolve().parents[2] / "shared" / "data" / "cifar10"
EIGHT, LEFT_OUT = range(8), (8, 9)
"""Labels: of CIFAR-10's ten classes the last, ship and truck, are left out."""
STARTS = ("transfer", "random")
STAGES_UP_TO_TRAINING = ("list_source", "prepare_dataset", "import_weights", "train_supernet")
IMAGE_SIZE_PX = 24
RESOLUTIONS_PX = [16, 20, 24]
STEPS = 120
EPOCHS = 3
"""At least, of the two classes; fewer than `STEPS` make more."""
RATE = 0.3
"""Of what starts from weights, for 32 images a step."""


def write_images(
    folder: Path, cifar10: Path, *, labels: Sequence[int], count: int, seed: int
) -> None:
    """Write equally many training images of some classes, and all their test images."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        table = pq.read_table(cifar10 / f"{split}.parquet")
        found = np.array(table["label"])
        chosen = [np.flatnonzero(found == label) for label in labels]
        if split == "train":
            each = count // len(labels)
            chosen = [np.random.default_rng(seed).permutation(rows)[:each] for rows in chosen]
        rows = np.concatenate(chosen)
        numbers = [number for number, part in enumerate(chosen) for _ in part]
        written = pa.table({"image": table["image"].take(rows), "label": numbers})
        pq.write_table(written, folder / f"{split}.parquet")


def settings(source: Path) -> dict[str, Any]:
    """Return the shipped params for images of 24 px and small batches."""
    values: dict[str, Any] = YAML().load(checkout_folder() / "params.yaml")
    values["dataset"] |= {"source": f"parquet:{source}", "image_size_px": IMAGE_SIZE_PX}
    values["space"]["resolutions_px"] = RESOLUTIONS_PX
    return values


def for_few_images(values: dict[str, Any], *, weights: Path | None) -> None:
    """Change params to those of two classes and few images, of one budget of steps.

    Args:
        values: Of params.yaml, changed in place.
        weights: What to start from; None: the shipped recipe from random weights.
    """
    values["dataset"] |= {"selection_fraction": 0.1, "calibration_fraction": 0.2}
    # The rates below are those of this batch.
    values["training"] |= {"batch_size": 32, "base_batch_size": 32, "batch_norm_images": 32}
    largest, elastic = values["phases"]["largest"], values["phases"]["elastic"]
    if weights is None:
        # A third of the steps for the largest alone, as shipped.
        largest |= {"epochs": EPOCHS // 3, "min_steps": STEPS // 3, "warmup_epochs": 0}
        elastic |= {"epochs": EPOCHS - EPOCHS // 3, "min_steps": STEPS - STEPS // 3}
        largest["learning_rate"], elastic["learning_rate"] = 0.2, 0.6
        return
    values["training"]["initial_weights"] = {"supernet": str(weights)}
    del values["phases"]["largest"]
    elastic |= {"start_from": "initial", "epochs": EPOCHS, "min_steps": STEPS}
    elastic |= {"learning_rate": RATE, "cosine": [0, 1]}


def train(root: Path, values: dict[str, Any]) -> tuple[Params, float]:
    """Run the stages up to the supernet, those that are not done.

    Args:
        root: The workspace; made where it is not there.
        values: Of params.yaml.

    Returns:
        The params, and the CPU seconds of training.
    """
    if not (root / "params.yaml").exists():
        create_workspace(root)
    text = StringIO()
    YAML().dump(values, text)
    (root / "params.yaml").write_text(text.getvalue())
    params, layout = load_params(root / "params.yaml"), Layout(root)
    for stage in map(find_stage, STAGES_UP_TO_TRAINING):
        for item in items_of(stage, params):
            folder = root / stage.writes.format(item=item)
            if not (folder / Layout.MANIFEST).exists():
                run_stage(stage.name, StageContext(layout=layout, params=params, item=item))
    cpu_s = [
        Manifest.read(root / SECONDS / "train_supernet" / phase, made_by="this benchmark").summary
        for phase in params.phases
    ]
    return params, sum(seconds["cpu_s"] for seconds in cpu_s)


def compare(work: Path, cifar10: Path, *, count: int, draws: int) -> Iterator[dict[str, Any]]:
    """Yield a line for each start, of the means over draws of images."""
    weights = Layout(work / "eight").supernet_in("supernet/elastic")
    for start in STARTS:
        found = []
        for draw in range(draws):
            source = work / "sources" / f"two-{count}-{draw}"
            write_images(source, cifar10, labels=LEFT_OUT, count=count, seed=draw)
            values = settings(source)
            for_few_images(values, weights=weights if start == "transfer" else None)
            root = work / f"two-{count}-{draw}-{start}"
            params, cpu_s = train(root, values)
            found.append((*accuracies(root, params), cpu_s))
            print(count, start, draw, found[-1], file=sys.stderr, flush=True)
        largest, smallest, cpu_s = (statistics.mean(values) for values in zip(*found, strict=True))
        yield {
            "num_images": count,
            "start": start,
            "accuracy_top1_largest": round(largest, 4),
            "accuracy_top1_smallest": round(smallest, 4),
            "cpu_s": round(cpu_s, 1),
        }


def accuracies(root: Path, params: Params) -> tuple[float, float]:
    """Return top-1 of the largest and the smallest subnet on the test images."""
    dataset = open_dataset(Layout(root).dataset)
    supernet = load_supernet(Layout(root).supernet_weights(params.final_phase))
    test = evaluator_on_test(supernet, dataset=dataset, params=params)
    space = supernet.space
    return test.evaluate(space.largest).accuracy_top1, test.evaluate(space.smallest).accuracy_top1


def main() -> int:
    """Train on eight classes, move to the other two, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cifar10", type=Path, default=CIFAR10, help="train.parquet, test.parquet")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--draws", type=int, default=3, help="of the images, to average over")
    parser.add_argument("--eight", type=int, default=40_000, help="images of the eight classes")
    parser.add_argument(
        "--epochs", type=int, default=4, help="of all subnets on them, after those of the largest"
    )
    parser.add_argument("--work", type=Path, help="keep everything here, and go on from it")
    options = parser.parse_args()
    if not (options.cifar10 / "train.parquet").is_file():
        parser.error(f"{options.cifar10} must hold train.parquet and test.parquet of CIFAR-10")
    keep = nullcontext(options.work) if options.work else tempfile.TemporaryDirectory()
    with keep as folder:
        work, cifar10 = Path(folder).resolve(), options.cifar10.resolve()
        source = work / "sources" / "eight"
        write_images(source, cifar10, labels=EIGHT, count=options.eight, seed=0)
        values = settings(source)
        values["phases"]["elastic"] |= {"epochs": options.epochs, "min_steps": 0}
        _, cpu_s = train(work / "eight", values)
        print(f"trained on eight classes: {cpu_s:.0f} CPU s", file=sys.stderr, flush=True)
        for count in options.images:
            for line in compare(work, cifar10, count=count, draws=options.draws):
                print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
