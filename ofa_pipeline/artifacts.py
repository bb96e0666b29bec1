"""Where artifacts lie, how they are written whole, and the manifest that describes each.

An artifact is a folder with a ``manifest.json`` that lists its files with their SHA-256, the
params and the artifacts it was made from. It appears by renaming a finished temporary folder, so
a folder that exists is complete.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

MANIFEST_NAME = "manifest.json"


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


def write_bytes(path: Path, content: bytes) -> None:
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
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path} is missing. Produce it with: {made_by}") from error
    except json.JSONDecodeError as error:
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
            ManifestMismatchError: If the manifest is not one.
        """
        values = read_json(folder / MANIFEST_NAME, made_by=made_by)
        try:
            return cls(**values)
        except TypeError as error:
            raise ManifestMismatchError(
                f"{folder / MANIFEST_NAME} is not a manifest ({error}). "
                f"Produce it again with: {made_by}"
            ) from error


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of a workspace."""

    root: Path

    @property
    def artifacts(self) -> Path:
        """Tracked results, one folder an artifact."""
        return self.root / "artifacts"

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
    root = folder
    while root.name != "artifacts" and root != root.parent:
        root = root.parent
    workspace = root.parent
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
        write_json(temporary / MANIFEST_NAME, asdict(manifest))
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


def verify_artifact(folder: Path) -> Manifest:
    """Check every file of an artifact against its manifest.

    Raises:
        MissingArtifactError: If the artifact or one of its files is not there.
        ManifestMismatchError: If a file has other content.
    """
    manifest = Manifest.read(folder, made_by="ofa-pipeline run")
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.exists():
            raise MissingArtifactError(f"{path} is missing. Produce it with: ofa-pipeline run")
        found = digest_file(path)
        if found != expected:
            raise ManifestMismatchError(
                f"{path} was changed after it was written: its SHA-256 should begin "
                f"{expected[:12]}, found {found[:12]}. Remove {folder} and run the stage again."
            )
    return manifest
