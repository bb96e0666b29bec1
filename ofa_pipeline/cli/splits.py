"""Which images `ofa-pipeline evaluate` measures on, and whether the figure may be believed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Manifest
from ofa_pipeline.errors import ParamsError

if TYPE_CHECKING:
    from ofa_pipeline.cli.targets import Target

ALL = "all"
SPLITS = ("test", "selection", "train", "calibration", ALL)
TRAINING_FOLDERS = ("train", "training", "training_set", "train_set")


def choose_split(split: str | None, known: Sequence[str], *, origin: str) -> str:
    """Return the split that was asked for; without a wish test, or all where there is none.

    Raises:
        ParamsError: If there is no such split.
    """
    if split is None:
        return "test" if "test" in known else ALL
    if split not in known:
        raise ParamsError(
            f"--split must be one that {origin} has ({', '.join(known)}), got {split!r}"
        )
    return split


def training_warning(target: "Target", data: str, split: str) -> list[str]:
    """Return a warning if the network was trained on some of the images."""
    if target.dataset is None or split == "test":
        return []
    manifest = Manifest.read(target.dataset, made_by="ofa-pipeline run")
    trained = str(manifest.params.get("dataset", {}).get("source", ""))
    workspace = target.dataset.parents[1]
    if not _overlap(_place(trained, workspace), _place(data, Path())):
        return []
    return [
        f"warning: {target.name} was trained on images of {data}: this is no accuracy on unseen "
        "images. For that leave out --data in its workspace, which measures on its test split"
    ]


def _place(spec: str, base: Path) -> tuple[str, Path | None]:
    kind, _, rest = spec.partition(":")
    if kind in {"image_folder", "parquet"}:
        return kind, (base / Path(rest).expanduser()).resolve()
    return spec, None


def _overlap(trained: tuple[str, Path | None], asked: tuple[str, Path | None]) -> bool:
    """Whether two sources are one, or the second is a training folder of the first."""
    if trained[1] is None or asked[1] is None:
        return trained == asked
    if trained[0] != asked[0] or not asked[1].is_relative_to(trained[1]):
        return False
    inner = asked[1].relative_to(trained[1]).parts
    return not inner or inner[0].lower() in TRAINING_FOLDERS
