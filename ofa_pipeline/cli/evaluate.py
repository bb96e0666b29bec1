"""`ofa-pipeline evaluate`: top-1 and top-5 of any network on any images."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ofa_pipeline.cli.options import JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.cli.splits import ALL, SPLITS, choose_split, training_warning
from ofa_pipeline.errors import DatasetError, DeviceError, NotEnoughBatchesError, ParamsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ofa_pipeline.cli.labels import Labels, Matching
    from ofa_pipeline.cli.targets import Target
    from ofa_pipeline.data import Dataset, Normalization, SourceImages, Split
    from ofa_pipeline.evaluation import Predictions
    from ofa_pipeline.progress import Reporter

PREPARED = "prepared"
MIN_SIDE_PX = 8

SplitOption = Annotated[
    str | None,
    typer.Option(
        help="test, selection, train, calibration or all; of a source, a split of its own.",
        show_default="test, or all images where a source has no test split of its own",
    ),
]


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
    split: SplitOption = None,
    labels: Annotated[
        Literal["name", "index"],
        typer.Option(help="Match classes by their names, or by their order."),
    ] = "name",
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

    A subnet of a supernet is calibrated first, on images of the training split. Classes are
    matched by name; those of a network that names none, only where their order is certain.
    """
    from ofa_pipeline.cli.targets import find_target

    _check_options(device=device, split=split)
    found = find_target(
        target, arch=arch, checkpoint=checkpoint, resolution_px=resolution_px, workspace=workspace
    )
    images = _Images(data, split, found, workspace=workspace, batch_size=batch_size)
    images.match(labels)
    predictions = _predict(found, images, calibration_images, device)
    _show(found, images, predictions, as_json=as_json)


def _check_options(*, device: str, split: str | None) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda needs a CUDA GPU and driver. Use --device cpu.")
    if split is not None and split not in SPLITS:
        raise ParamsError(f"--split must be one of {', '.join(SPLITS)}, got {split!r}")


def _predict(
    target: "Target", images: "_Images", calibration_images: int, device: str
) -> "Predictions":
    """Run the network on all images, calibrated where it needs it, and show how far it is."""
    from ofa_pipeline.cli.display import Display
    from ofa_pipeline.evaluation import predict
    from ofa_pipeline.progress import Reporter
    from ofa_pipeline.supernet import fold_batch_norm

    for note in images.notes:
        stderr.print(note, **PLAIN)
    with Display(stderr) as display:
        reporter = Reporter(lambda event: display.show("evaluate", event))
        network: nn.Module = target.subnet
        if target.needs_calibration:
            network = images.calibrate(target, calibration_images, reporter, device)
        network = fold_batch_norm(network).to(device)  # type: ignore[arg-type]
        return predict(network, images.batches(reporter, device))


class _Images:
    """The images to evaluate on, and those to calibrate on."""

    def __init__(
        self, data: str, split: str | None, target: "Target", *, workspace: Path, batch_size: int
    ) -> None:
        from ofa_pipeline.artifacts import Layout
        from ofa_pipeline.data import open_dataset

        self._batch_size = batch_size
        self._target, self.data = target, data
        self._dataset: Dataset | None = None
        self.images: Split | SourceImages
        self.matching: Matching
        self.notes: list[str] = []
        if data == PREPARED:
            self._dataset = open_dataset(Layout(workspace.resolve()).dataset)
            self.split = choose_split(split, SPLITS[:-1], origin="the prepared dataset")
            self.measured_on = f"the {self.split} split of the prepared dataset"
            self.images = self._dataset.split(self.split)
        else:
            self.images = self._of_source(split)
            self.notes += training_warning(target, data, self.split)
        self._normalization = target.normalization or self._own_normalization()

    def _of_source(self, split: str | None) -> "SourceImages":
        whole = self._source(None)
        own = sorted({"train", *whole.fixed_splits}) if whole.fixed_splits else []
        self.split = choose_split(split, [*own, ALL], origin=self.data)
        if self.split == ALL:
            self.measured_on = f"all images of {self.data}"
            return whole
        self.measured_on = f"the {self.split} split that {self.data} brings"
        return self._source(self.split)

    def _source(self, split: str | None, *, every: int = 1) -> "SourceImages":
        from ofa_pipeline.data import Decoding, SourceImages, uncropped_side_px

        target = self._target
        return SourceImages(
            self.data,
            base=Path(),
            image_size_px=target.image_size_px or uncropped_side_px(target.resolution_px),
            split=split,  # type: ignore[arg-type]
            every=every,
            decoding=Decoding(
                as_stored=target.image_size_px is not None, value_range=target.value_range
            ),
        )

    def _own_normalization(self) -> "Normalization":
        if self._dataset is None:
            raise DatasetError(
                f"{self._target.name} is evaluated on its prepared dataset, whose statistics it "
                "was trained with, and that dataset is not where the file lies. Leave out "
                f"--data {self.data}, or evaluate the file in its workspace"
            )
        return self._dataset.normalization

    def match(self, by: "Labels") -> None:
        """Find the network's class for every class of the images.

        Raises:
            DatasetError: If it cannot be found.
        """
        from ofa_pipeline.cli.labels import Classes, match_labels

        target = self._target
        names = tuple((self._dataset or self.images).class_names)  # type: ignore[union-attr]
        kind = self.data.partition(":")[0]
        source = Classes(
            origin=self.data,
            count=len(names),
            names=names,
            are_numbered=kind in {"parquet", "torchvision"},
        )
        network = Classes(origin=target.name, count=target.num_classes, names=target.class_names)
        self.matching = match_labels(source, network, by=by)
        self.notes += [self.matching.note] if self.matching.note else []

    def batches(self, reporter: "Reporter", device: str) -> Iterator[tuple["Tensor", "Tensor"]]:
        """Yield prepared images and labels, reporting progress."""
        import torch

        classes = torch.tensor(self.matching.index)
        count = self.images.num_images
        for images, labels in self._prepared(self.images, reporter, "evaluating", device, count):
            yield images, classes[labels]

    def calibrate(
        self, target: "Target", count: int, reporter: "Reporter", device: str
    ) -> "nn.Module":
        """Return the subnet with statistics of its own."""
        from ofa_pipeline.data import open_dataset
        from ofa_pipeline.evaluation import calibrate_batch_norm

        dataset = open_dataset(target.dataset) if target.dataset else self._dataset
        if dataset is not None:
            training: Split | SourceImages = dataset.split("calibration")
        else:
            training = self._source("train")
            if not training.fixed_splits:
                raise NotEnoughBatchesError(
                    f"{self.data} has no training split to calibrate batch norm on. "
                    "Use a source with a train and a test (or val) split, or a prepared dataset."
                )
            training = self._source("train", every=max(1, training.num_images // count))
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

        from ofa_pipeline.data.transforms import resize_normalize

        tracker = reporter.track(label, total=count, unit="images")
        done = 0
        for batch in source.batches(self._batch_size):
            taken = min(len(batch.labels), count - done)
            images = resize_normalize(
                batch.images[:taken].to(device),
                resolution_px=self._target.resolution_px,
                normalization=self._normalization,
            )
            yield images.contiguous(memory_format=torch.channels_last), batch.labels[:taken]
            done += taken
            tracker.advance(taken)
            if done == count:
                return


def _show(target: "Target", images: _Images, predictions: "Predictions", *, as_json: bool) -> None:
    values: dict[str, Any] = {
        "target": target.name,
        "data": images.data,
        "split": images.split,
        "measured_on": images.measured_on,
        "labels_by": images.matching.by,
        "num_images": len(predictions.labels),
        "resolution_px": target.resolution_px,
        "calibrated": target.needs_calibration,
        "accuracy_top1": predictions.accuracy_top1,
        "accuracy_top5": predictions.accuracy_top5,
        "notes": images.notes,
    }
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    stdout.print(
        f"{target.name} at {target.resolution_px} px on {len(predictions.labels)} images "
        f"({images.measured_on}): top-1 {predictions.accuracy_top1:.2%}, "
        f"top-5 {predictions.accuracy_top5:.2%}",
        **PLAIN,
    )
