"""The weights that training starts from: they are there, are the right ones, and fit the space."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.errors import MissingArtifactError
from ofa_pipeline.preflight.findings import Finding, Subject
from ofa_pipeline.stages import find_stage, param_sections

if TYPE_CHECKING:
    from ofa_pipeline.weights_source import WeightsSource

WHAT = "initial weights"
_STAGE = "import_weights"
_PIN = " (write @sha256: and these digits behind the name, and no other file is taken)"


def look_at_initial_weights(subject: Subject) -> Iterator[Finding]:
    """Look at the weights, as the stage will; only a download is left to it.

    Raises:
        OfaPipelineError: If they are not there, cannot be read, have another digest, or do not fit.
    """
    source = subject.params.training.weights_source
    if source is None:
        return
    if _is_imported(subject, source):
        yield Finding(WHAT, f"{source}: imported already")
        return
    # It needs torch, which takes its time to import.
    from ofa_pipeline.initial_weights import check_fit, is_at_hand, read_weights

    if not is_at_hand(source):
        yield Finding(WHAT, f"{source}: to be downloaded; `ofa-pipeline zoo get` does it before")
        return
    space = subject.params.space.build()
    found = read_weights(source, root=subject.root, space=space)
    check_fit(found, space)
    yield Finding(
        WHAT,
        f"{source}: of {found.network.num_classes} classes, fits the space; SHA-256 {found.sha256}"
        f"{'' if source.sha256 else _PIN}",
    )


def _is_imported(subject: Subject, source: "WeightsSource") -> bool:
    """Return whether the artifact is there, made with these params."""
    try:
        manifest = Manifest.read(Layout(subject.root).initial, made_by="ofa-pipeline run")
    except MissingArtifactError:
        return False
    names = param_sections(find_stage(_STAGE), source.kind)
    return manifest.params == subject.params.sections(names)
