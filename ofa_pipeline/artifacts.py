"""Where artifacts lie, how they are written whole, and the manifest that describes each.

An artifact is a folder with a ``manifest.json`` that lists its files with their SHA-256, the
params and the artifacts it was made from, and ends in a digest of itself. It appears by renaming
a finished temporary folder, so a folder that exists is complete.
"""

import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

MANIFEST_NAME = "manifest.json"
_DIGEST_KEY = "digest"
_FOREIGN = ("__pycache__", "Thumbs.db", "desktop.ini")
"""What other programs leave in a folder that they looked into; hidden files besides."""


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write readable JSON with sorted keys, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def write_bytes(path: Path, content: bytes | bytearray) -> None:
    """Write a file by renaming a finished temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path, *, made_by: str) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Read a JSON file that a stage wrote.

    Args:
        path: The file.
        made_by: The command that produces it, for the error message.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingArtifactError(f"{path} is missing. Produce it with: {made_by}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestMismatchError(
            f"{path} is not valid JSON ({error}). Produce it again with: {made_by}"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an artifact is and what it was made from: no clock, host or absolute path."""

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
        path = folder / MANIFEST_NAME
        values = read_json(path, made_by=made_by)
        try:
            # Earlier versions wrote no digest. A damaged key is no field and refused as such.
            written = values.pop(_DIGEST_KEY, None)
            manifest = cls(**values)
        except (TypeError, AttributeError) as error:
            raise ManifestMismatchError(
                f"{path} is not a manifest ({error}). {remedy_for(folder)}"
            ) from error
        if written is not None and written != manifest.digest:
            raise ManifestMismatchError(
                f"{path} was changed after it was written: its digest should be "
                f"{str(written)[:12]}, found {manifest.digest[:12]}. {remedy_for(folder)}"
            )
        return manifest

    def write(self, folder: Path) -> None:
        """Write the manifest of an artifact, with its own digest."""
        write_json(folder / MANIFEST_NAME, {**asdict(self), _DIGEST_KEY: self.digest})


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of a workspace."""

    root: Path

    @property
    def artifacts(self) -> Path:
        """Tracked results, one folder an artifact."""
        return self.root / "artifacts"

    @property
    def source(self) -> Path:
        """Listing of the files that the dataset is made from."""
        return self.artifacts / "source"

    @property
    def dataset(self) -> Path:
        """Parquet shards, class names, statistics."""
        return self.artifacts / "dataset"

    def supernet(self, phase: str) -> Path:
        """Weights and history of a phase."""
        return self.artifacts / "supernet" / phase

    def supernet_weights(self, phase: str) -> Path:
        """The supernet of a phase, for `ofa_pipeline.supernet.load_supernet`."""
        return self.supernet(phase) / "supernet.safetensors"

    def supernet_history(self, phase: str) -> Path:
        """Table of the epochs of a phase, `ofa_pipeline.tables.HISTORY_SCHEMA`."""
        return self.supernet(phase) / "history.parquet"

    @property
    def accuracy(self) -> Path:
        """Measured accuracy of the initial design."""
        return self.artifacts / "accuracy"

    @property
    def predictor(self) -> Path:
        """Accuracy predictor and its report."""
        return self.artifacts / "predictor"

    def latency(self, device: str) -> Path:
        """Latency samples and model of a device."""
        return self.artifacts / "latency" / device

    def search(self, device: str) -> Path:
        """Front, verified evaluations and picks of a device."""
        return self.artifacts / "search" / device

    def subnets(self, device: str) -> Path:
        """Bundles of a device."""
        return self.artifacts / "subnets" / device

    def registry(self, device: str) -> Path:
        """Receipts of a device's registrations."""
        return self.artifacts / "registry" / device

    @property
    def report(self) -> Path:
        """The HTML report, metrics and plots."""
        return self.artifacts / "report"

    def scratch(self, stage: str, key: str) -> Path:
        """Resume state of a stage; `key` is a digest of everything that it depends on."""
        return self.root / "scratch" / stage / key[:16]

    def relative(self, path: Path) -> str:
        """Return a path as manifests name it."""
        return path.relative_to(self.root).as_posix()


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
    workspace = _workspace_of(folder)
    digests = {path.relative_to(workspace).as_posix(): digest_input(path) for path in inputs}
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    prefix = f".{folder.name}.writing.{os.getpid()}."
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=prefix))
    temporary.chmod(0o755)
    writer = ArtifactWriter(temporary)
    try:
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
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(folder)  # a full disk does not say which
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
        if pid == str(os.getpid()) or not pid.isdigit() or not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)


@dataclass(slots=True)
class ArtifactWriter:
    """The temporary folder to fill, and the key figures for the manifest."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)


def digest_input(path: Path) -> str:
    """Return the digest of an artifact folder (its manifest's) or of a single file.

    Raises:
        MissingArtifactError: If there is nothing.
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
        if name not in manifest.files and name != MANIFEST_NAME and _is_ours(folder, path):
            raise ManifestMismatchError(
                f"{path} was added to an artifact after it was written. Move it elsewhere: the "
                f"files of {folder} are those that its {MANIFEST_NAME} names."
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
        if (folder / MANIFEST_NAME).is_file():
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
    root = _workspace_of(folder)
    where = "" if root == Path.cwd() else f" --workspace {shlex.quote(str(root))}"
    return (
        "Remove it and run again, which takes it from DVC's cache or makes it anew: "
        f"rm -r {shlex.quote(str(folder))} && ofa-pipeline run{where}"
    )


def _workspace_of(folder: Path) -> Path:
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
