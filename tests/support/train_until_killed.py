"""A training run in a process of its own, for tests that kill it.

    python -m tests.support.train_until_killed CHECKPOINT_FOLDER RESULT_FILE

Prints a line a step, saves a checkpoint after each, and at the end writes the weights.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from ofa_pipeline.progress import ProgressEvent, Reporter
from ofa_pipeline.supernet import build_supernet, save_supernet
from ofa_pipeline.training import Checkpoints, Hooks, deterministic, train_phase
from tests.support.training import (
    NUM_CLASSES,
    tiny_phase,
    tiny_recipe,
    tiny_space,
    training_images,
)


def print_line(done: int) -> None:
    """Print how many images are done."""
    sys.stdout.write(f"{done}\n")
    sys.stdout.flush()


def main(folder: Path, result: Path, *, say: Callable[[int], object] = print_line) -> None:
    """Train to the end, from the checkpoint if there is one; say how many images are done."""
    supernet = build_supernet(tiny_space(), num_classes=NUM_CLASSES, dropout=0.1, seed=0)

    def say_step(event: ProgressEvent) -> None:
        say(round(event.done))

    with deterministic(threads=1):
        train_phase(
            supernet,
            tiny_phase(epochs=4),
            images=training_images(64),
            recipe=tiny_recipe(),
            hooks=Hooks(
                checkpoints=Checkpoints(folder, interval_s=0),
                reporter=Reporter(say_step, interval_s=0),
            ),
        )
    save_supernet(supernet, result)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
