"""Resume state of a phase: one file, replaced whole.

The file is safetensors: the weights, the momentum of each parameter, and as metadata the
position, the sums of the unfinished epoch and the history. No random state: every draw is a
function of the position (`derive_seed`).
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.errors import CheckpointError, TrainingDivergedError

FILE_NAME = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What one epoch of training came to."""

    phase: str
    epoch: int
    """Counted from 1, warm-up included."""
    learning_rate: float
    """Of the last step."""
    loss: float
    """Mean over the steps, each the mean over its subnets."""
    metrics: dict[str, float]
    """What validation found, for example ``accuracy_top1_largest``."""


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

    @property
    def is_due(self) -> bool:
        """Whether the last save is long enough ago."""
        return self._folder is not None and time.monotonic() - self._last_save >= self._interval_s

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, at: Position) -> None:
        """Replace the checkpoint by the present state.

        Raises:
            TrainingDivergedError: If a weight is not finite; the earlier checkpoint stays.
        """
        if self._folder is None:
            return
        tensors = dict(_named_tensors(network, optimizer))
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise TrainingDivergedError(
                    f"every weight must be finite, but {name} is not after epoch {at.epoch}, "
                    f"batch {at.batch}. Lower the phase's learning_rate. "
                    f"The last good checkpoint stays in {self._folder}."
                )
        metadata = {"position": json.dumps(asdict(at))}
        write_bytes(self._folder / FILE_NAME, save(tensors, metadata=metadata))
        self._last_save = time.monotonic()

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Position:
        """Load the checkpoint into network and optimizer; nothing there means a fresh start.

        Raises:
            CheckpointError: If the file cannot be read or does not fit the network.
        """
        if self._folder is None or not (self._folder / FILE_NAME).exists():
            return Position()
        path = self._folder / FILE_NAME
        try:
            with safe_open(path, framework="pt") as file:
                position = json.loads(file.metadata()["position"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            _load(tensors, network, optimizer)
        except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} cannot be resumed: {error}. Remove it to start the phase again."
            ) from error
        return _position(position)


def _named_tensors(
    network: nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in network.state_dict().items():
        yield f"network.{name}", tensor.contiguous()
    for name, parameter in network.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            yield f"momentum.{name}", momentum.contiguous()


def _load(tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in tensors.items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights)
    for name, parameter in network.named_parameters():
        if f"momentum.{name}" in tensors:
            momentum = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
            optimizer.state[parameter]["momentum_buffer"] = momentum.detach()


def _position(values: dict[str, Any]) -> Position:
    known = {item.name for item in fields(Position)}
    history = [EpochRecord(**record) for record in values.pop("history")]
    return Position(history=history, **{key: values[key] for key in known - {"history"}})
