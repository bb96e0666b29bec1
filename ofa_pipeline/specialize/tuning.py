"""From the supernet to the weights that ship: extract, calibrate, fine-tune where it pays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.cost import arch_cost, epochs_by_cost, round_lengths
from ofa_pipeline.data import Dataset, Split
from ofa_pipeline.documents import Part
from ofa_pipeline.errors import ManifestMismatchError
from ofa_pipeline.evaluation import CalibratedTeacher, SubnetEvaluator, evaluate_network
from ofa_pipeline.supernet import Subnet, extract_subnet, fold_batch_norm
from ofa_pipeline.training import (
    Hooks,
    Recipe,
    Schedule,
    Teacher,
    TrainingImages,
    derive_seed,
    finetune,
)

if TYPE_CHECKING:
    from ofa_pipeline.params import SpecializeParams

_RATE = 0.75
"""Fine-tuning by the rule: at three quarters of the first phase's learning rate
(docs/recipes.md)."""


class TuningFigures(Part):
    """Top-1 on selection images before and after fine-tuning, and what was kept."""

    accuracy_top1_extracted: float
    """Calibrated, as it came out of the supernet."""
    accuracy_top1_finetuned: float | None
    """Fine-tuned and calibrated again, of the best round; None where nothing was fine-tuned."""
    num_epochs: int
    """Epochs of the rounds that were run."""
    num_images: int

    @property
    def is_finetuned(self) -> bool:
        """Whether the fine-tuned weights are kept: they are better."""
        finetuned = self.accuracy_top1_finetuned
        return finetuned is not None and finetuned > self.accuracy_top1_extracted

    @property
    def accuracy_top1(self) -> float:
        """Top-1 of the weights that are kept."""
        if self.is_finetuned and self.accuracy_top1_finetuned is not None:
            return self.accuracy_top1_finetuned
        return self.accuracy_top1_extracted


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TunedSubnet:
    """A calibrated subnet, and how it came to its weights."""

    subnet: Subnet
    figures: TuningFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningPlan:
    """How subnets are fine-tuned."""

    images: TrainingImages
    recipe: Recipe
    epochs: Callable[[Arch], int]
    """Passes over the images of a subnet, in all rounds together; 0 leaves its weights as they
    are."""
    learning_rate: float
    """At the start of each round."""
    max_quantization_loss: float = 100.0
    """Percentage points of top-1 on selection images that an int8 file may lose."""

    def rounds(self, arch: Arch) -> tuple[Schedule, ...]:
        """Return the rounds of a subnet's fine-tuning, one after the other, each a cosine."""
        return tuple(
            Schedule(epochs=length, warmup_epochs=0, learning_rate=self.learning_rate)
            for length in round_lengths(self.epochs(arch))
        )


def tuning_plan(
    special: "SpecializeParams",
    recipe: Recipe,
    *,
    space: SearchSpace,
    dataset: Dataset,
    trained: Mapping[str, Any],
) -> TuningPlan:
    """Return how picks are fine-tuned.

    Args:
        special: Where epochs or rate are ``auto``, they follow from the supernet's training.
        recipe: The recipe that the supernet was trained by.
        space: Of the supernet, whose largest subnet teaches.
        dataset: With the images.
        trained: Summary of the final supernet's manifest.

    Raises:
        ManifestMismatchError: If the summary lacks what ``auto`` needs.
    """
    known = {"total_epochs", "first_learning_rate"} <= trained.keys()
    if "auto" in (special.epochs, special.learning_rate) and not known:
        raise ManifestMismatchError(
            "specialize.epochs and specialize.learning_rate: auto need the epochs and the learning "
            "rate of the supernet's training, which its manifest lacks. Train the last phase "
            "again: ofa-pipeline run; or give numbers."
        )
    epochs, rate = special.epochs, special.learning_rate

    def epochs_of(arch: Arch) -> int:
        if epochs != "auto":
            return epochs
        return epochs_by_cost(
            _macs(space, arch, dataset.num_classes),
            largest_macs=_macs(space, space.largest, dataset.num_classes),
            trained_epochs=trained["total_epochs"],
        )

    return TuningPlan(
        images=TrainingImages(split=dataset.split("train"), normalization=dataset.normalization),
        recipe=replace(recipe, seed=derive_seed(special.seed, "specialize")),
        epochs=epochs_of,
        learning_rate=_RATE * trained["first_learning_rate"] if rate == "auto" else rate,
        max_quantization_loss=special.max_quantization_loss,
    )


def _macs(space: SearchSpace, arch: Arch, num_classes: int) -> int:
    return arch_cost(space, arch, num_classes=num_classes).macs


class Tuner:
    """Takes subnets out of one supernet."""

    def __init__(self, evaluator: SubnetEvaluator, *, plan: TuningPlan) -> None:
        """Take the supernet of the evaluator; its evaluation images decide what is kept."""
        self._evaluator = evaluator
        self._plan = plan
        supernet = evaluator.supernet
        largest = supernet.space.largest
        self._teacher = Teacher(
            CalibratedTeacher(extract_subnet(supernet, largest), evaluator), largest.resolution_px
        )

    @property
    def evaluator(self) -> SubnetEvaluator:
        """Has the supernet, the calibration images, and those that select."""
        return self._evaluator

    @property
    def max_quantization_loss(self) -> float:
        """Percentage points that an int8 file may lose."""
        return self._plan.max_quantization_loss

    def name_of(self, arch: Arch) -> str:
        """Return the name of a subnet's fine-tuning, which tells the epochs of each round.

        So what a version with another rule for them left is not gone on with.
        """
        return "-".join([arch.arch_id, *map(str, self._lengths(arch))])

    def may_take(self, arch: Arch, num_epochs: int) -> bool:
        """Return whether the fine-tuning of a subnet can end after so many epochs."""
        return num_epochs in (list(accumulate(self._lengths(arch))) or [0])

    def _lengths(self, arch: Arch) -> list[int]:
        return [schedule.total_epochs for schedule in self._plan.rounds(arch)]

    def tune(self, arch: Arch, *, hooks: Hooks | None = None) -> TunedSubnet:
        """Extract, calibrate and fine-tune a subnet; keep the weights that select best.

        A round of fine-tuning starts from the weights that the round before has left. After one
        that gains nothing on the selection images, those behind it are left out.

        Args:
            arch: The subnet.
            hooks: Checkpoints, progress and stopwatch of all rounds; by default nothing.

        Raises:
            NotEnoughBatchesError: If there are fewer training images than one batch.
            TrainingDivergedError: If the loss is not finite.
        """
        plan, evaluator, hooks = self._plan, self._evaluator, hooks or Hooks()
        weights = extract_subnet(evaluator.supernet, arch)
        best = evaluator.calibrate(weights)
        before = accuracy = self._accuracy(best)
        after: list[float] = []
        rounds = plan.rounds(arch)
        for number, schedule in enumerate(rounds):
            weights = finetune(
                weights,
                self._teacher,
                schedule=schedule,
                images=plan.images,
                recipe=replace(plan.recipe, seed=derive_seed(plan.recipe.seed, number)),
                hooks=replace(hooks, checkpoints=hooks.checkpoints.of(f"round-{number + 1}")),
            )
            calibrated = evaluator.calibrate(weights)
            after.append(self._accuracy(calibrated))
            if after[-1] <= accuracy:
                break
            best, accuracy = calibrated, after[-1]
        num_epochs = sum(schedule.total_epochs for schedule in rounds[: len(after)])
        return self._tuned(best, before, after, num_epochs=num_epochs)

    def _tuned(
        self, subnet: Subnet, before: float, after: list[float], *, num_epochs: int
    ) -> TunedSubnet:
        figures = TuningFigures(
            accuracy_top1_extracted=before,
            accuracy_top1_finetuned=max(after, default=None),
            num_epochs=num_epochs,
            num_images=self._selection.num_images,
        )
        return TunedSubnet(subnet=subnet, figures=figures)

    @property
    def _selection(self) -> Split:
        return self._evaluator.evaluation

    def _accuracy(self, subnet: Subnet) -> float:
        return evaluate_network(
            fold_batch_norm(subnet),
            self._selection,
            resolution_px=subnet.arch.resolution_px,
            normalization=self._evaluator.normalization,
            batch_size=self._evaluator.batch_size,
        ).accuracy_top1
