"""The fine-tuning of one pick, on this machine or another, resumable wherever it is killed."""

from dataclasses import dataclass, replace
from pathlib import Path

from ofa_pipeline.arch import Arch
from ofa_pipeline.progress import Reporter
from ofa_pipeline.specialize.tuning import TunedSubnet, Tuner
from ofa_pipeline.stopwatch import FILE_NAME, Seconds, Stopwatch
from ofa_pipeline.training import Checkpoints, Hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningTask:
    """A subnet whose weights are to be made."""

    arch: Arch

    @property
    def key(self) -> str:
        """Name of the task in messages."""
        return f"subnet {self.arch.arch_id}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedPick:
    """A subnet with the weights that ship, on the CPU, and what its fine-tuning took."""

    tuned: TunedSubnet
    seconds: Seconds


class PickTuner:
    """Makes the weights of picks."""

    def __init__(
        self, tuner: Tuner, *, scratch: Path, checkpoint_minutes: float, reporter: Reporter
    ) -> None:
        """Make nothing yet.

        Args:
            tuner: Extracts, calibrates and fine-tunes.
            scratch: Where checkpoints and seconds are kept, a folder for each subnet.
            checkpoint_minutes: Between the checkpoints of a fine-tuning, at most.
            reporter: Told of the fine-tunings.
        """
        self._tuner = tuner
        self._scratch = scratch
        self._checkpoint_s = 60 * checkpoint_minutes
        self._reporter = reporter

    def __call__(self, task: TuningTask) -> TunedPick:
        """Make the weights of a subnet, from the last checkpoint on where there is one."""
        folder = self._scratch / "finetune" / self._tuner.name_of(task.arch)
        hooks = Hooks(
            checkpoints=Checkpoints(folder, interval_s=self._checkpoint_s),
            reporter=self._reporter,
            stopwatch=Stopwatch(folder / FILE_NAME, reporter=self._reporter),
        )
        tuned = self._tuner.tune(task.arch, hooks=hooks)
        on_cpu = replace(tuned, subnet=tuned.subnet.cpu())
        return TunedPick(tuned=on_cpu, seconds=hooks.stopwatch.seconds)
