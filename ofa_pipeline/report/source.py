"""An artifact that a report reads: where it lies, how it is named, how it is made again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.artifacts import Manifest, digest_input
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An artifact."""

    folder: Path
    root: Path
    """The workspace: files are named relative to it."""
    made_by: str
    """The command that produces the artifact."""

    def path(self, name: str) -> Path:
        """Return a file of the artifact."""
        return self.folder / name

    def name(self, *parts: str) -> str:
        """Return the name of a file of the artifact, or of the artifact itself."""
        return self.folder.joinpath(*parts).relative_to(self.root).as_posix()

    def manifest(self) -> Manifest:
        """Read the manifest."""
        return Manifest.read(self.folder, made_by=self.made_by)

    @contextmanager
    def explained(self, file: str) -> Iterator[None]:
        """Turn what goes wrong with the content of a file into an error that says so.

        Raises:
            ManifestMismatchError: If a key is missing or a value has another type.
        """
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ManifestMismatchError(
                f"{self.path(file)} does not hold what a report needs ({error!r}). "
                f"Produce it again with: {self.made_by}"
            ) from error


def fresh_manifest(folder: Path, *, root: Path, of: Iterable[Path]) -> Manifest | None:
    """Return a manifest if it is of these artifacts as they are now."""
    try:
        manifest = Manifest.read(folder, made_by="ofa-pipeline run")
        digests = {path.relative_to(root).as_posix(): digest_input(path) for path in of}
    except (MissingArtifactError, ManifestMismatchError):
        return None
    return manifest if dict(manifest.inputs) == digests else None
