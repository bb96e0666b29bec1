"""What a workspace keeps of a device elsewhere: what was exported, what came back, what is awaited.

All of it lies in ``measured/DEVICE/``: small files, worth keeping under version control.
"""

from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.artifacts import Layout, digest_file, write_bytes, write_json
from ofa_pipeline.documents import (
    Awaited,
    DeviceCard,
    MeasuringResult,
    MeasuringTask,
    SeenDevice,
    read_document,
)
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

DIGEST_DIGITS = 12
_RESULTS = f"{DIGEST_DIGITS * '[0-9a-f]'}.json"
_REMAKE = "ofa-pipeline device export {device} --to FOLDER"


@dataclass(frozen=True, slots=True)
class ElsewhereStore:
    """What is kept of one device."""

    layout: Layout
    device: str
    cluster: str = "auto"
    """Address of the Ray cluster that the device is a node of, where it is one."""

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.layout.measured(self.device)

    def keep_task(self, task: MeasuringTask) -> None:
        """Note what was exported, to tell later whether what comes back is that."""
        write_json(self._task_path(task.id), task.to_dict())

    def task(self, identifier: str) -> MeasuringTask | None:
        """Return what was exported under an identifier; None if nothing was."""
        path = self._task_path(identifier)
        return read_document(path, MeasuringTask, remake=self.remake) if path.exists() else None

    def tasks(self) -> list[MeasuringTask]:
        """Return all that was exported, in the order of identifiers."""
        paths = sorted((self.folder / "tasks").glob(_RESULTS))
        return [read_document(path, MeasuringTask, remake=self.remake) for path in paths]

    def keep_result(self, content: bytes, *, digest: str) -> None:
        """Keep a result that was checked, as it came, under its own digest."""
        write_bytes(self._result_path(digest), content)

    def result(self, digest: str) -> MeasuringResult:
        """Return the result whose SHA-256 begins so.

        Raises:
            MissingArtifactError: If it is not there.
            ManifestMismatchError: If it was changed after it came.
        """
        path = self._result_path(digest)
        if not path.exists():
            raise MissingArtifactError(
                f"{path} is missing: params.yaml names it as what was measured on {self.device}. "
                f"Bring the file back, or measure again: {self.remake}"
            )
        if digest_file(path)[:DIGEST_DIGITS] != digest[:DIGEST_DIGITS]:
            raise ManifestMismatchError(
                f"{path} was changed after it was imported: its SHA-256 must begin "
                f"{digest[:DIGEST_DIGITS]}. Bring the file back as it was, or import it again."
            )
        return read_document(path, MeasuringResult, remake=self.remake)

    def results(self) -> list[MeasuringResult]:
        """Return all results, in the order of their digests."""
        return [self.result(path.stem) for path in sorted(self.folder.glob(_RESULTS))]

    def wait_for(self, awaited: Awaited) -> None:
        """Note what a stage cannot go on without."""
        write_json(self._awaited_path, awaited.to_dict())

    def awaited(self) -> Awaited | None:
        """Return what a stage cannot go on without; None if nothing."""
        path = self._awaited_path
        return read_document(path, Awaited, remake=self.remake) if path.exists() else None

    def arrived(self) -> None:
        """Note that what was awaited is there."""
        self._awaited_path.unlink(missing_ok=True)

    def saw(self, card: DeviceCard, location: str) -> None:
        """Note what the device is, where it is new: files that stay the same stay unchanged."""
        if self.seen(location) != card:
            seen = SeenDevice(location=location, card=card)
            write_json(self._seen_path, seen.to_dict())

    def seen(self, location: str | None) -> DeviceCard | None:
        """Return what the device was when it was asked last at a location; None if never."""
        if not self._seen_path.exists():
            return None
        remake = f"ofa-pipeline device check {self.device}"
        seen = read_document(self._seen_path, SeenDevice, remake=remake)
        return seen.card if seen.location == location else None

    @property
    def remake(self) -> str:
        """The command that begins a measurement."""
        return _REMAKE.format(device=self.device)

    @property
    def _awaited_path(self) -> Path:
        return self.folder / Layout.AWAITED

    @property
    def _seen_path(self) -> Path:
        return self.folder / Layout.SEEN_DEVICE

    def _task_path(self, identifier: str) -> Path:
        return self.folder / "tasks" / f"{identifier[:DIGEST_DIGITS]}.json"

    def _result_path(self, digest: str) -> Path:
        return self.folder / f"{digest[:DIGEST_DIGITS]}.json"
