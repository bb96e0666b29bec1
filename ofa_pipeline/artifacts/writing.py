"""Artifacts that appear whole: a finished temporary folder takes its place by renaming."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ofa_pipeline.artifacts.files import digest_file, naming
from ofa_pipeline.artifacts.manifest import Manifest, digest_input, workspace_of


@contextmanager
def write_artifact(
    folder: Path, *, stage: str, item: str | None, params: Mapping[str, Any], inputs: Sequence[Path]
) -> Iterator["ArtifactWriter"]:
    """Write an artifact whole or not at all.

    The body of the ``with`` fills `ArtifactWriter.folder`, a temporary folder beside the final
    one. When it ends well, the manifest is written and the folder takes its place; when it
    raises, nothing is left behind.

    Args:
        folder: Where the artifact will lie.
        stage: Name of the stage.
        item: Phase or device of the stage, None where it has none.
        params: Sections of params.yaml that the stage was given.
        inputs: Artifact folders, or files in them, that it was made from.

    Raises:
        MissingArtifactError: If an input has no manifest.
    """
    workspace = workspace_of(folder)
    digests = {path.relative_to(workspace).as_posix(): digest_input(path) for path in inputs}
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    prefix = f".{folder.name}.writing.{os.getpid()}."
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix))
    temporary.chmod(0o755)
    writer = ArtifactWriter(temporary)
    try:
        with naming(folder):
            yield writer
        files = {
            path.relative_to(temporary).as_posix(): digest_file(path)
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        }
        manifest = Manifest(
            stage=stage,
            item=item,
            params=params,
            inputs=digests,
            files=files,
            summary=writer.summary,
        )
        manifest.write(temporary)
        _put_in_place(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder over an older one, which is whole until that instant."""
    outdated = temporary.with_name(f"{temporary.name}.outdated")
    if folder.exists():
        folder.rename(outdated)
    temporary.rename(folder)
    shutil.rmtree(outdated, ignore_errors=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed writers of an artifact left beside it."""
    prefix = f".{folder.name}.writing."
    for path in folder.parent.glob(f"{prefix}*"):
        pid = path.name.removeprefix(prefix).partition(".")[0]
        if pid == str(os.getpid()) or not pid.isdigit() or not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    """Whether a process writes on: one that was killed may stay a zombie for as long as its parent.

    In a container whose first process reaps nobody that is forever.
    """
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@dataclass(slots=True)
class ArtifactWriter:
    """The temporary folder to fill, and the key figures for the manifest."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
