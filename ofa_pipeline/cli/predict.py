"""`ofa-pipeline predict`: the classes of image files and of whole folders of them."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.chosen import (
    MaxLatencyOption,
    MaxSizeOption,
    MinAccuracyOption,
    QuantileOption,
    VerdictOption,
    bounds_of,
    choose_subnet,
    describe_subnet,
)
from ofa_pipeline.cli.options import DatasetOption, JsonOption, WorkspaceOption
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.cores import usable_cores
from ofa_pipeline.errors import DatasetError, MissingArtifactError, ParamsError
from ofa_pipeline.exit_codes import EXIT_ERROR
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from ofa_pipeline.specialize import Classifier, FloatArray, Squares

IMAGES_A_BATCH = 128
SHOW_PROGRESS_FROM = 200
"""Images; fewer are done before anybody reads the bar."""


def add_commands(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("predict")(predict)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a network says of an image, or why it says nothing."""

    path: Path
    probabilities: "FloatArray | None" = None
    problem: str = ""


def predict(  # noqa: PLR0913 - options of a command
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders: all images in and below them.")
    ],
    *,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Most likely classes shown.")] = 1,
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Only what was measured on this device.")
    ] = None,
    max_latency_ms: MaxLatencyOption = None,
    quantile: QuantileOption = "p50",
    verdict: VerdictOption = None,
    min_accuracy: MinAccuracyOption = None,
    max_size_mb: MaxSizeOption = None,
    dataset: DatasetOption = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", "-b", help="Use this bundle folder instead.")
    ] = None,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = Path(),
) -> None:
    """Classify images with the most accurate registered subnet, or the one asked for.

    An image that cannot be read does not stop the others: its line says why, and the exit code
    is 1 at the end.
    """
    from ofa_pipeline.specialize import Classifier

    bounds = bounds_of(
        device=device,
        max_latency_ms=max_latency_ms,
        quantile=quantile,
        verdict=verdict,
        min_accuracy=min_accuracy,
        max_size_mb=max_size_mb,
        dataset=dataset,
    )
    files = _find_images(images)
    with _bundle_folder(workspace, bundle, bounds) as folder:
        classifier = Classifier(folder, prefer_onnx=True)  # the same answers, without torch
    answers = _answers(classifier, files, is_shown=as_json or not sys.stdout.isatty())
    bad = _print_answers(answers, classifier.class_names, top=top, as_json=as_json)
    if bad:
        stderr.print(f"{bad} of {len(files)} images could not be read", **PLAIN)
        raise typer.Exit(EXIT_ERROR)


def _find_images(places: Sequence[Path]) -> list[Path]:
    """Return the files that were named and those in the folders, in order.

    Raises:
        DatasetError: If a folder cannot be read, or no file is found.
    """
    from ofa_pipeline.data.sources.walk import is_probably_image, key_of, keys_above, walk

    files: list[Path] = []
    passed = 0
    for place in places:
        if not place.is_dir():
            files.append(place)
            continue
        for found in walk(place, above=keys_above(place) - {key_of(place)}):
            if found.problem is None and is_probably_image(found.path):
                files.append(found.path)
            else:
                passed += 1
    if not files:
        named = ", ".join(str(place) for place in places[:5])
        raise DatasetError(
            f"{named} must hold image files, found none"
            + (f" and {passed} files that are no images" if passed else "")
        )
    if passed:
        stderr.print(f"{passed} files that are no images are passed over", **PLAIN)
    return files


@contextmanager
def _bundle_folder(workspace: Path, bundle: Path | None, bounds: dict[str, Any]) -> Iterator[Path]:
    """Give the bundle that was named, or the best one of the registry."""
    if bundle is not None:
        given = [name.replace("_", "-") for name in bounds]
        if given:
            raise ParamsError(f"--bundle {bundle} is one network: leave out --{', --'.join(given)}")
        _check_bundle(bundle)
        yield bundle
        return
    from ofa_pipeline.registry import open_registry

    registry = open_registry(workspace)
    chosen = choose_subnet(registry, bounds)
    # Beside the answers, so that a program that reads them reads nothing else.
    stderr.print(f"asking {describe_subnet(chosen)}", **PLAIN)
    with temporary_folder("predict") as folder:
        yield registry.download(chosen, folder)


def _check_bundle(bundle: Path) -> None:
    if not (bundle / Layout.SUBNET).is_file():
        raise MissingArtifactError(
            f"{bundle} must be a bundle, but holds no {Layout.SUBNET}. Bundles lie in "
            "artifacts/subnets/DEVICE/NAME after: ofa-pipeline run; or come from: "
            "ofa-pipeline pull"
        )
    if not (bundle / Layout.CARD).exists():
        stderr.print(
            f"{bundle} holds no {Layout.CARD}: its files are not compared with anything",
            **PLAIN,
        )


def _answers(
    classifier: "Classifier", files: Sequence[Path], *, is_shown: bool
) -> Iterator[_Answer]:
    """Classify files in order, decoding on all cores; a batch of them is held at a time.

    Args:
        classifier: The network.
        files: Images, or what was named as such.
        is_shown: Whether progress is shown on a terminal: not where the answers are.
    """
    from ofa_pipeline.cli.display import Display
    from ofa_pipeline.progress import SILENT, Reporter

    def read(path: Path) -> "Squares | _Answer":
        try:
            return classifier.read(path)
        except DatasetError as error:
            return _Answer(path, problem=str(error))

    is_shown = is_shown and len(files) >= SHOW_PROGRESS_FROM
    with Display(stderr) as display, ThreadPoolExecutor(usable_cores()) as pool:
        reporter = Reporter(lambda e: display.show("predict", e)) if is_shown else SILENT
        tracker = reporter.track("classifying", total=len(files), unit="images")
        waiting = iter(files)
        while batch := list(islice(waiting, IMAGES_A_BATCH)):
            yield from _classified(classifier, batch, list(pool.map(read, batch)))
            tracker.advance(len(batch))


def _classified(
    classifier: "Classifier", batch: Sequence[Path], squares: "Sequence[Squares | _Answer]"
) -> Iterator[_Answer]:
    import numpy as np

    good = [square for square in squares if not isinstance(square, _Answer)]
    rows = iter(classifier.predict(np.stack(good)) if good else ())
    for path, square in zip(batch, squares, strict=True):
        yield square if isinstance(square, _Answer) else _Answer(path, next(rows))


def _print_answers(
    answers: Iterable[_Answer], class_names: Sequence[str], *, top: int, as_json: bool
) -> int:
    """Print a line an image, or one JSON array; return how many could not be read."""
    from ofa_pipeline.data.sources.walk import shown

    bad, values = 0, list[dict[str, Any]]()
    for answer in answers:
        if answer.probabilities is None:
            bad += 1
            if as_json:
                values.append({"image": shown(answer.path), "error": shown(answer.problem)})
            else:
                _line(stderr, f"error: {shown(answer.problem)}")
            continue
        likely = _likely(answer.probabilities, class_names, top)
        if as_json:
            values.append({"image": shown(answer.path), **likely[0]})
            if top > 1:
                values[-1]["top"] = likely
        else:
            classes = ", ".join(f"{c['class_name']} ({c['probability']:.1%})" for c in likely)
            _line(stdout, f"{shown(answer.path)}: {classes}")
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    return bad


def _likely(
    probabilities: "FloatArray", class_names: Sequence[str], top: int
) -> list[dict[str, Any]]:
    order = (-probabilities).argsort(kind="stable")[:top].tolist()
    return [
        {
            "class_name": class_names[index],
            "class_index": index,
            "probability": round(float(probabilities[index]), 6),
        }
        for index in order
    ]


def _line(console: Any, text: str) -> None:  # noqa: ANN401 - a console of rich
    console.print(text, **PLAIN)
