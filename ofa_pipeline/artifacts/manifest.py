"""The manifest of an artifact: what it is, what it was made from, and whether it still is that."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from types import NoneType
from typing import Any

from ofa_pipeline.artifacts.files import digest_file, digest_json, read_json, write_json
from ofa_pipeline.artifacts.layout import Layout
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError, shorten, shown

FORMAT = 1
"""Format number of manifests. It is not written, because the digests of all artifacts would change."""
_FORMAT_KEY = "format"
_DIGEST_KEY = "digest"
_KINDS: Mapping[str, tuple[type, ...]] = {
    "stage": (str,),
    "item": (str, NoneType),
    **dict.fromkeys(("params", "inputs", "files", "summary"), (dict,)),
    _DIGEST_KEY: (str,),
    _FORMAT_KEY: (int,),
}
_NEEDED = ("stage", "item", "params")
_FOREIGN = ("__pycache__", "Thumbs.db", "desktop.ini")
"""What other programs leave in a folder that they looked into; hidden files besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact is and what it was made from: no clock, host or absolute path.

    A dataclass that checks itself, unlike `ofa_pipeline.documents`: what only trains, and what has
    to start fast, read manifests without pydantic.
    """

    stage: str
    item: str | None
    params: Mapping[str, Any]
    """The sections of params.yaml that the stage was given."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Digest of each artifact it was made from, by path relative to the workspace."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each file, by path relative to the artifact."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    """Key figures, for people and for the next stage."""

    @property
    def digest(self) -> str:
        """The artifact's identity: changes with any byte of it, its params or its inputs."""
        return digest_json(asdict(self))

    @classmethod
    def read(cls, folder: Path, *, made_by: str) -> "Manifest":
        """Read the manifest of an artifact.

        Raises:
            MissingArtifactError: If the artifact is not there.
            ManifestMismatchError: If the manifest is not one, or is not as it was written.
        """
        path = folder / Layout.MANIFEST
        values = read_json(path, made_by=made_by)
        fault = _fault(values)
        if fault:
            raise ManifestMismatchError(f"{path} is not a manifest: {fault}. {remedy_for(folder)}")
        written = values.pop(_DIGEST_KEY, None)  # earlier versions wrote none
        manifest = cls(**{name: value for name, value in values.items() if name != _FORMAT_KEY})
        if written is not None and written != manifest.digest:
            raise ManifestMismatchError(
                f"{path} was changed after it was written: its digest should be "
                f"{str(written)[:12]}, found {manifest.digest[:12]}. {remedy_for(folder)}"
            )
        return manifest

    def write(self, folder: Path) -> None:
        """Write the manifest of an artifact, with its own digest."""
        write_json(folder / Layout.MANIFEST, {**asdict(self), _DIGEST_KEY: self.digest})


def _fault(values: object) -> str:
    """Return what is wrong with the content of a manifest; empty where nothing is."""
    if not isinstance(values, dict):
        return f"it must be an object, got {shown(values)}"
    found = values.get(_FORMAT_KEY, FORMAT)
    if found != FORMAT:
        return f"it must be of format {FORMAT}, found {shown(found)}, of another version"
    missing = [name for name in _NEEDED if name not in values]
    if missing:
        return f"{missing[0]} is missing"
    for name, value in values.items():
        if name not in _KINDS:
            return f"unknown name {shorten(name)}"
        if not isinstance(value, _KINDS[name]):
            kinds = " or ".join(kind.__name__ for kind in _KINDS[name])
            return f"{name} must be {kinds}, got {shown(value)}"
    outside = [name for name in values.get("files", ()) if not _is_inside(name)]
    return f"files must lie in the artifact, found {shown(outside[0])}" if outside else ""


def _is_inside(name: str) -> bool:
    """Return whether a name, relative to a folder, is that of something in it."""
    path = PurePosixPath(name)
    return path.parts != () and not path.is_absolute() and ".." not in path.parts


def digest_input(path: Path) -> str:
    """Return the digest of an artifact folder (its manifest's) or of a single file.

    Raises:
        MissingArtifactError: If the artifact is missing.
    """
    if path.is_dir():
        return Manifest.read(path, made_by="ofa-pipeline run").digest
    if not path.exists():
        raise MissingArtifactError(f"{path} is missing. Produce it with: ofa-pipeline run")
    return digest_file(path)


def verify_artifact(folder: Path, *, digest: Callable[[Path], str] = digest_file) -> Manifest:
    """Check that an artifact is what was written: its manifest, every file, and no file more.

    Args:
        folder: The artifact.
        digest: Returns the SHA-256 of a file; by default it reads the whole file.

    Raises:
        MissingArtifactError: If the artifact or one of its files is not there.
        ManifestMismatchError: If the manifest or a file has other content, or a file was added.
    """
    manifest = Manifest.read(folder, made_by="ofa-pipeline run")
    for name in manifest.files:
        _check_file(folder, manifest, name, digest)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in manifest.files and name != Layout.MANIFEST and _is_ours(folder, path):
            raise ManifestMismatchError(
                f"{path} was added to an artifact after it was written. Move it elsewhere: the "
                f"files of {folder} are those that its {Layout.MANIFEST} names."
            )
    return manifest


def verify_file(path: Path, *, digest: Callable[[Path], str] = digest_file) -> None:
    """Check a file against the manifest of the artifact that it lies in, if it lies in one.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If the manifest or the file has other content.
    """
    path = path.absolute()
    for folder in path.parents:
        if (folder / Layout.MANIFEST).is_file():
            name = path.relative_to(folder).as_posix()
            manifest = Manifest.read(folder, made_by="ofa-pipeline run")
            if name in manifest.files:
                _check_file(folder, manifest, name, digest)
            return
        if folder.name == "artifacts":
            return


def remedy_for(folder: Path) -> str:
    """Return what to do about an artifact that is damaged."""
    folder = folder.absolute()
    root = workspace_of(folder)
    where = "" if root == Path.cwd() else f" --workspace {shlex.quote(str(root))}"
    return (
        "Remove it and run again, which takes it from DVC's cache or makes it anew: "
        f"rm -r {shlex.quote(str(folder))} && ofa-pipeline run{where}"
    )


def workspace_of(folder: Path) -> Path:
    """Return the workspace that an artifact lies in."""
    root = folder
    while root.name != "artifacts" and root != root.parent:
        root = root.parent
    return root.parent


def _check_file(folder: Path, manifest: Manifest, name: str, digest: Callable[[Path], str]) -> None:
    path, expected = folder / name, manifest.files[name]
    if not path.is_file():
        raise MissingArtifactError(f"{path} is missing. {_made_by(manifest)}{remedy_for(folder)}")
    found = digest(path)
    if found != expected:
        raise ManifestMismatchError(
            f"{path} was changed after it was written: its SHA-256 should begin "
            f"{expected[:12]}, found {found[:12]}. {_made_by(manifest)}{remedy_for(folder)}"
        )


def _made_by(manifest: Manifest) -> str:
    item = "" if manifest.item is None else f" of {manifest.item}"
    return f"The stage {manifest.stage}{item} wrote it. "


def _is_ours(folder: Path, path: Path) -> bool:
    parts = path.relative_to(folder).parts
    return path.is_file() and not any(part.startswith(".") or part in _FOREIGN for part in parts)
