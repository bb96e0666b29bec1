"""Warnings of a run about itself: a value, how an artifact keeps it, its text.

A stage that finds that something went wrong, though not so far that it has to stop, keeps that in
the manifest of its artifact. So it is said when the stage runs, and again wherever the artifact is
shown, also by runs that skip the stage.
"""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import ArtifactWriter, Layout, Manifest, remedy_for
from ofa_pipeline.dataset_summary import read_summary
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.progress import Reporter

SUMMARY_KEY = "warnings"
"""Key in a manifest's summary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWarning:
    """Something that went wrong and makes a result doubtful."""

    stage: str
    item: str | None = None
    """Phase or device of the stage, None where it has none."""
    message: str
    """What was found, with its figures, and what was to be expected."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What it was judged by; accuracies are fractions."""
    advice: str = ""
    """What to change, by the names of params.yaml; empty where the message says it."""

    @property
    def address(self) -> str:
        """The stage and its item as DVC names them."""
        return self.stage if self.item is None else f"{self.stage}@{self.item}"

    @property
    def text(self) -> str:
        """Message and advice."""
        return f"{self.message} {self.advice}".strip()


def count_text(warnings: Sized) -> str:
    """Return how many warnings there are, as a heading of their list."""
    if len(warnings) == 1:
        return "1 warning: look at it before you trust the results"
    return f"{len(warnings)} warnings: look at them before you trust the results"


def keep_warnings(
    warnings: Iterable[RunWarning | None], writer: ArtifactWriter, reporter: Reporter
) -> None:
    """Say warnings at once, and keep them in the artifact that is written.

    Args:
        warnings: What was found; None where nothing was.
        writer: Writer of the artifact.
        reporter: Reporter of the stage.
    """
    found = [warning for warning in warnings if warning is not None]
    for warning in found:
        reporter.warning(warning.text)
    writer.summary[SUMMARY_KEY] = [asdict(warning) for warning in found]


def read_warnings(folder: Path) -> tuple[RunWarning, ...]:
    """Return the warnings that an artifact keeps; none where there is no artifact.

    The dataset keeps its warnings in its summary, for people who look at that alone.

    Raises:
        ManifestMismatchError: If the manifest or the summary does not hold what its stage writes.
    """
    if not (folder / Layout.MANIFEST).exists():
        return ()
    manifest = Manifest.read(folder, made_by="ofa-pipeline run")
    return (*warnings_in(manifest, folder), *_warnings_of_dataset(manifest, folder))


def warnings_in(manifest: Manifest, folder: Path) -> tuple[RunWarning, ...]:
    """Return the warnings that a manifest keeps.

    Args:
        manifest: Manifest of the artifact.
        folder: Where it lies, for messages.

    Raises:
        ManifestMismatchError: If they are none.
    """
    documents: list[dict[str, Any]] = manifest.summary.get(SUMMARY_KEY, [])
    try:
        return tuple(RunWarning(**document) for document in documents)
    except TypeError as error:
        raise ManifestMismatchError(
            f"{folder / Layout.MANIFEST} must hold warnings as a stage writes them, found "
            f"{documents!r:.200} ({error}). {remedy_for(folder)}"
        ) from error


def _warnings_of_dataset(manifest: Manifest, folder: Path) -> Iterable[RunWarning]:
    if manifest.stage != "prepare_dataset":
        return ()
    summary = read_summary(folder)
    texts = () if summary is None else summary.warnings
    return tuple(RunWarning(stage=manifest.stage, message=text) for text in texts)
