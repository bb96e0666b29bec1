"""`ofa-pipeline evaluate`: top-1 and top-5 of any network on any images."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import stderr, stdout
from ofa_pipeline.errors import DatasetError, DeviceError, NotEnoughBatchesError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ofa_pipeline.cli.targets import Target
    from ofa_pipeline.data import Dataset, SourceImages, Split
    from ofa_pipeline.evaluation import Predictions
    from ofa_pipeline.progress import Reporter

PREPARED = "prepared"
MIN_SIDE_PX = 8
_CROP_FRACTION = 0.875


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate")(evaluate)


def evaluate(  # noqa: PLR0913 - options of a command
    target: Annotated[
        str,
        typer.Argument(
            help="A bundle folder, models:/MODEL/VERSION, a supernet file, or the name of a "
            "supernet or published network of the reference."
        ),
    ],
    *,
    data: Annotated[
        str,
        typer.Option(help="image_folder:PATH, parquet:PATH, torchvision:NAME, or prepared."),
    ] = PREPARED,
    split: Annotated[str, typer.Option(help="test, selection, train, or all.")] = "test",
    arch: Annotated[
        str, typer.Option(help="Of a supernet: largest, smallest or a JSON object.")
    ] = "largest",
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of the reference.")] = None,
    resolution_px: Annotated[int | None, typer.Option(min=MIN_SIDE_PX, max=1024)] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Training images that statistics are estimated on.")
    ] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a forward pass.")] = 100,
    device: Annotated[Literal["cpu", "cuda"], typer.Option()] = "cpu",
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Measure top-1 and top-5 of a network on labelled images.

    A subnet of a supernet is calibrated first, on images of the training split.
    """
    import torch

    from ofa_pipeline.cli.display import Display
    from ofa_pipeline.cli.targets import find_target
    from ofa_pipeline.evaluation import predict
    from ofa_pipeline.progress import Reporter
    from ofa_pipeline.supernet import fold_batch_norm

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda needs a CUDA GPU and driver. Use --device cpu.")
    found = find_target(
        target,
        arch=arch,
        checkpoint=checkpoint,
        resolution_px=resolution_px,
        workspace=workspace,
    )
    images = _Images(data, split, found, workspace=workspace, batch_size=batch_size)
    with Display(stderr) as display:
        reporter = Reporter(lambda event: display.show("evaluate", event))
        network: nn.Module = found.subnet
        if found.needs_calibration:
            network = images.calibrate(found, calibration_images, reporter, device)
        network = fold_batch_norm(network).to(device)  # type: ignore[arg-type]
        predictions = predict(network, images.batches(reporter, device))
    _show(found, data, split, predictions, as_json=as_json)


class _Images:
    """The images to evaluate on, and those to calibrate on."""

    def __init__(
        self, data: str, split: str, target: "Target", *, workspace: Path, batch_size: int
    ) -> None:
        from ofa_pipeline.artifacts import Layout
        from ofa_pipeline.data import open_dataset

        self._batch_size = batch_size
        self._resolution_px = target.resolution_px
        self._data, self._workspace = data, workspace
        self._dataset: Dataset | None = None
        self.images: Split | SourceImages
        if data == PREPARED:
            self._dataset = open_dataset(Layout(workspace.resolve()).dataset)
            self.images = self._dataset.split(split)
            names: tuple[str, ...] = tuple(self._dataset.class_names)
        else:
            self.images = self._source(split, target)
            names = tuple(self.images.class_names)
        self._mean = target.mean or self._statistics()[0]
        self._std = target.std or self._statistics()[1]
        self._check_classes(names, target)

    def _source(self, split: str, target: "Target", *, every: int = 1) -> "SourceImages":
        from ofa_pipeline.data import SourceImages

        side = target.image_size_px or math.ceil(target.resolution_px / _CROP_FRACTION)
        opened = SourceImages(self._data, base=Path(), image_size_px=side, every=every)
        if split == "all" or not opened.fixed_splits:
            return opened
        return SourceImages(
            self._data,
            base=Path(),
            image_size_px=side,
            split=split,  # type: ignore[arg-type]
            every=every,
        )

    def _statistics(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        if self._dataset is None:
            raise DatasetError(
                "a supernet of ours is evaluated on its prepared dataset, whose statistics it was "
                f"trained with: leave out --data {self._data}"
            )
        return self._dataset.mean, self._dataset.std

    def _check_classes(self, names: tuple[str, ...], target: "Target") -> None:
        if target.class_names is not None and names != target.class_names:
            raise DatasetError(
                f"{self._data} must have the classes of {target.name} in their order, "
                f"{target.class_names[:5]}..., got {names[:5]}..."
            )
        if len(names) != target.num_classes:
            raise DatasetError(
                f"{self._data} must have {target.num_classes} classes, as {target.name} has, "
                f"got {len(names)}"
            )

    def batches(self, reporter: "Reporter", device: str) -> Iterator[tuple["Tensor", "Tensor"]]:
        """Yield prepared images and labels, reporting progress."""
        return self._prepared(self.images, reporter, "evaluating", device, self.images.num_images)

    def calibrate(
        self, target: "Target", count: int, reporter: "Reporter", device: str
    ) -> "nn.Module":
        """Return the subnet with statistics of its own."""
        from ofa_pipeline.evaluation import calibrate_batch_norm

        if self._dataset is not None:
            training: Split | SourceImages = self._dataset.split("calibration")
        else:
            training = self._source("train", target)
            if not training.fixed_splits:
                raise NotEnoughBatchesError(
                    f"{self._data} has no training split to calibrate batch norm on. "
                    "Use a source with a train and a test (or val) split, or a prepared dataset."
                )
            training = self._source("train", target, every=max(1, training.num_images // count))
        count = min(count, training.num_images)
        prepared = self._prepared(training, reporter, "calibrating", device, count)
        return calibrate_batch_norm(target.subnet.to(device), (images for images, _ in prepared))

    def _prepared(
        self,
        source: "Split | SourceImages",
        reporter: "Reporter",
        label: str,
        device: str,
        count: int,
    ) -> Iterator[tuple["Tensor", "Tensor"]]:
        import torch

        from ofa_pipeline.data import resize_normalize

        tracker = reporter.track(label, total=count, unit="images")
        done = 0
        for batch in source.batches(self._batch_size):
            taken = min(len(batch.labels), count - done)
            images = resize_normalize(
                batch.images[:taken].to(device),
                resolution_px=self._resolution_px,
                mean=self._mean,
                std=self._std,
            )
            yield images.contiguous(memory_format=torch.channels_last), batch.labels[:taken]
            done += taken
            tracker.advance(taken)
            if done == count:
                return


def _show(
    target: "Target", data: str, split: str, predictions: "Predictions", *, as_json: bool
) -> None:
    values = {
        "target": target.name,
        "data": data,
        "split": split,
        "num_images": len(predictions.labels),
        "resolution_px": target.resolution_px,
        "calibrated": target.needs_calibration,
        "accuracy_top1": predictions.accuracy_top1,
        "accuracy_top5": predictions.accuracy_top5,
    }
    if as_json:
        stdout.print_json(json.dumps(values))
        return
    stdout.print(
        f"{target.name} at {target.resolution_px} px on {len(predictions.labels)} images of "
        f"{data} ({split}): top-1 {predictions.accuracy_top1:.2%}, "
        f"top-5 {predictions.accuracy_top5:.2%}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
