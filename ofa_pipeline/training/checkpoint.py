"""Resume state of a phase: one file, replaced whole, and the one before it.

The file is safetensors: the weights, the momentum of each parameter, and as metadata the
position, the sums of the unfinished epoch and the history. No random state: every draw is a
function of the position (`derive_seed`). The metadata also holds the SHA-256 of the whole file,
taken with zeros in its place: no bit of it may change unnoticed.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.errors import CheckpointError, TrainingDivergedError
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.training.identity import differences

FILE_NAME = "checkpoint.safetensors"
PREVIOUS_NAME = "checkpoint.previous.safetensors"
_LISTED = 4
"""Differences that a message names."""
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one epoch of training came to."""

    phase: str
    epoch: int
    """Counted from 1, warm-up included."""
    learning_rate: float
    """Learning rate of the last step."""
    loss: float
    """Mean over the steps, each the mean over its subnets."""
    metrics: dict[str, float]
    """What validation found, for example ``accuracy_top1_largest``."""


def history_columns(history: Sequence[EpochRecord]) -> dict[str, list[object]]:
    """Return the columns of a table of epochs: those of the record, and one a metric."""
    rows = [
        {
            "phase": record.phase,
            "epoch": record.epoch,
            "learning_rate": record.learning_rate,
            "loss": record.loss,
            **record.metrics,
        }
        for record in history
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


@dataclass(slots=True, kw_only=True)
class Position:
    """How far a phase has come."""

    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Finished batches of the current epoch."""
    loss_sum: float = 0.0
    """Over the finished batches of the current epoch."""
    history: list[EpochRecord] = field(default_factory=list)
    recipe: dict[str, str] = field(default_factory=dict)
    """What is trained, as `recipe_facts` tells it; empty: not known."""

    def finish_epoch(self, record: EpochRecord) -> None:
        """Note the result of the epoch and go to the start of the next."""
        self.history.append(record)
        self.epoch += 1
        self.batch = 0
        self.loss_sum = 0.0


class Checkpoints:
    """Saves and restores the state of one training run.

    The folder's name should be a digest of everything that the run depends on, so that a
    checkpoint is never resumed against other data or parameters.
    """

    def __init__(self, folder: Path | None, *, interval_s: float = 300.0) -> None:
        """Save into `folder`, at most every `interval_s` within an epoch; None never saves."""
        self._folder = folder
        self._interval_s = interval_s
        self._last_save = time.monotonic()

    def of(self, part: str) -> "Checkpoints":
        """Return those of a part of the work, in a folder below this one's."""
        folder = None if self._folder is None else self._folder / part
        return Checkpoints(folder, interval_s=self._interval_s)

    @property
    def is_there(self) -> bool:
        """Whether something was saved."""
        return self._folder is not None and any(
            (self._folder / name).exists() for name in (FILE_NAME, PREVIOUS_NAME)
        )

    @property
    def is_due(self) -> bool:
        """Whether the last save is long enough ago."""
        return self._folder is not None and time.monotonic() - self._last_save >= self._interval_s

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, at: Position) -> None:
        """Save the present state, and keep the checkpoint before it.

        Raises:
            TrainingDivergedError: If a weight is not finite; the earlier checkpoint stays.
        """
        if self._folder is None:
            return
        tensors = dict(_named_tensors(network, optimizer))
        name = _first_not_finite(tensors)
        if name is not None:
            raise TrainingDivergedError(
                f"every weight must be finite, but {name} is not after epoch {at.epoch}, "
                f"batch {at.batch}. Lower the phase's learning_rate. "
                f"The last good checkpoint stays in {self._folder}."
            )
        content = _encode(tensors, at)
        path = self._folder / FILE_NAME
        if path.exists():
            path.replace(self._folder / PREVIOUS_NAME)  # killed here, a run resumes from that one
        write_bytes(path, content)
        self._last_save = time.monotonic()

    def restore(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        recipe: Mapping[str, str] | None = None,
        reporter: Reporter = SILENT,
    ) -> Position:
        """Load the last good checkpoint into network and optimizer; none means a fresh start.

        Args:
            network: Gets the weights.
            optimizer: Gets the momentum.
            recipe: What is trained, as `recipe_facts` tells it; None: not known.
            reporter: Told of a damaged checkpoint, which is set aside as ``.bad``.

        Raises:
            CheckpointError: If the checkpoint does not fit the network, or is of another recipe.
        """
        fresh = Position(recipe=dict(recipe or {}))
        if self._folder is None:
            return fresh
        damaged = []
        for path in (self._folder / FILE_NAME, self._folder / PREVIOUS_NAME):
            if not path.exists():
                continue
            try:
                tensors, position = _decode(path.read_bytes())
            except _DamagedError as error:
                aside = path.with_name(f"{path.name}.bad")
                path.replace(aside)
                damaged.append(f"the checkpoint {path.name} is damaged ({error}), now {aside}")
                continue
            if damaged:
                at = f"epoch {position.epoch}, batch {position.batch}"
                reporter.message(f"{damaged[0]}: the phase goes on from the one before, {at}")
            _check_recipe(position.recipe, fresh.recipe, origin=path)
            _load(tensors, network, optimizer, origin=path)
            position.recipe = fresh.recipe or position.recipe
            return position
        if damaged:
            reporter.message(f"{'; '.join(damaged)}: the phase starts again from its beginning")
        return fresh


def _first_not_finite(tensors: dict[str, Tensor]) -> str | None:
    """Return the name of the first tensor with a value that is not finite; asks the device once."""
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    are_finite = torch.stack([tensor.isfinite().all() for tensor in floats.values()]).tolist()
    return next(
        (name for name, is_finite in zip(floats, are_finite, strict=True) if not is_finite), None
    )


class _DamagedError(Exception):
    """The bytes are not those that were saved."""


def _encode(tensors: dict[str, Tensor], at: Position) -> bytearray:
    """Return the file, with its digest in the place that was kept for it."""
    metadata = {"position": json.dumps(asdict(at)), "sha256": _NO_DIGEST}
    content = bytearray(save(tensors, metadata=metadata))
    start = _place_of_digest(content, _NO_DIGEST)
    content[start : start + len(_NO_DIGEST)] = _digest_around(content, start).encode()
    return content


def _decode(content: bytes) -> tuple[dict[str, Tensor], Position]:
    """Return what was saved.

    Raises:
        _DamagedError: If it cannot be read, or one bit is not as it was saved.
    """
    try:
        metadata = json.loads(_header(content))["__metadata__"]
        digest = metadata["sha256"]
        if _digest_around(content, _place_of_digest(content, digest)) != digest:
            raise _DamagedError("its SHA-256 is not the one that it was saved with")
        return load(content), _position(json.loads(metadata["position"]))
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        reason = "it has no checksum" if isinstance(error, KeyError) else "it cannot be read"
        raise _DamagedError(reason) from error


def _digest_around(content: bytes | bytearray, start: int) -> str:
    """Return the SHA-256 of a file in hex, with zeros where its own digest stands."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:start])
    digest.update(_NO_DIGEST.encode())
    digest.update(view[start + len(_NO_DIGEST) :])
    return digest.hexdigest()


def _header(content: bytes | bytearray) -> bytes:
    """Return the JSON that a safetensors file begins with, after its length in 8 bytes."""
    return bytes(content[8 : 8 + int.from_bytes(content[:8], "little")])


def _place_of_digest(content: bytes | bytearray, digest: str) -> int:
    """Return where the digest stands; safetensors orders the metadata as it likes."""
    return 8 + _header(content).index(f'"sha256":"{digest}"'.encode()) + len('"sha256":"')


def _named_tensors(
    network: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in network.state_dict().items():
        yield f"network.{name}", tensor.contiguous()
    for name, parameter in network.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            yield f"momentum.{name}", momentum.contiguous()


def _load(
    tensors: dict[str, Tensor],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    origin: Path,
) -> None:
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in tensors.items()
        if name.startswith("network.")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{origin} cannot be resumed: {error}. Remove it to start the phase again."
        ) from error
    for name, parameter in network.named_parameters():
        if f"momentum.{name}" in tensors:
            momentum = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
            optimizer.state[parameter]["momentum_buffer"] = momentum.detach()


def _check_recipe(saved: Mapping[str, str], wanted: Mapping[str, str], *, origin: Path) -> None:
    """Check that a checkpoint is of the recipe that goes on; where one is not known, it is.

    Raises:
        CheckpointError: If it is of another one; says what differs.
    """
    different = differences(saved, wanted) if saved and wanted else []
    if different:
        more = f"; and {len(different) - _LISTED} more" if len(different) > _LISTED else ""
        raise CheckpointError(
            f"{origin} must be of the recipe that is to go on, but "
            f"{'; '.join(different[:_LISTED])}{more}. Remove it to start the phase again, or go on "
            "with the recipe that it is of."
        )


def _position(values: dict[str, Any]) -> Position:
    """Return a position as it was saved; before there was a recipe in it, without one."""
    known = {item.name for item in fields(Position)} - {"history", "recipe"}
    history = [EpochRecord(**record) for record in values["history"]]
    recipe = values.get("recipe", {})
    return Position(history=history, recipe=recipe, **{key: values[key] for key in known})
