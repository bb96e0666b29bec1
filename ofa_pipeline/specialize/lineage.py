"""What an artifact was made from, back to the dataset."""

from collections.abc import Iterable
from pathlib import Path

from ofa_pipeline.artifacts import Layout, Manifest


def trace_lineage(workspace: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return the digests of artifacts and of everything that they were made from.

    Manifests name their inputs by digest, so the whole history follows from the given
    artifacts. Where an ancestor was made anew since, the digest that was used is kept and what
    lies behind it is left out.

    Args:
        workspace: The artifacts lie below it.
        paths: Paths of artifact folders, relative to the workspace.

    Returns:
        Digests by path relative to the workspace, sorted.

    Raises:
        MissingArtifactError: If one of the given artifacts is not there.
    """
    found: dict[str, str] = {}
    waiting = [(path, _manifest(workspace / path)) for path in paths]
    found |= {path: manifest.digest for path, manifest in waiting}
    while waiting:
        _, manifest = waiting.pop()
        for path, digest in manifest.inputs.items():
            folder = workspace / path
            if path in found or folder.is_file():
                continue
            found[path] = digest
            if (folder / Layout.MANIFEST).exists():
                ancestor = _manifest(folder)
                if ancestor.digest == digest:
                    waiting.append((path, ancestor))
    return dict(sorted(found.items()))


def trace_phases(layout: Layout, last: str) -> list[str]:
    """Return the names of the phases that a supernet was trained by, in order.

    Args:
        layout: Layout of the workspace.
        last: The phase that left the supernet.
    """
    phases = [last]
    while True:
        inputs = _manifest(layout.supernet(phases[0])).inputs
        names = [Path(path).name for path in inputs]
        before = [name for name in names if layout.relative(layout.supernet(name)) in inputs]
        if not before:
            return phases
        phases.insert(0, before[0])


def _manifest(folder: Path) -> Manifest:
    return Manifest.read(folder, made_by="ofa-pipeline run")
