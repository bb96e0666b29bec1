"""From the supernet to the weights that ship: extract, calibrate, fine-tune where it pays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ofa_pipeline.arch import Arch
from ofa_pipeline.cost import finetuning_epochs, round_lengths
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
    has_teacher: bool = True
    """Whether the largest subnet taught; in earlier versions it always did."""

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
    epochs: int
    """Passes over the images, in all rounds together; 0 leaves the weights as they are."""
    learning_rate: float
    """At the start of each round."""
    has_teacher: bool = False
    """Whether subnets learn from the soft labels of the largest subnet, too."""
    max_quantization_loss: float = 100.0
    """Percentage points of top-1 on selection images that an int8 file may lose."""

    @property
    def rounds(self) -> tuple[Schedule, ...]:
        """The rounds of fine-tuning, one after the other, each a cosine."""
        return tuple(
            Schedule(epochs=length, warmup_epochs=0, learning_rate=self.learning_rate)
            for length in round_lengths(self.epochs)
        )


def tuning_plan(
    special: "SpecializeParams", recipe: Recipe, *, dataset: Dataset, trained: Mapping[str, Any]
) -> TuningPlan:
    """Return how picks are fine-tuned.

    Args:
        special: Where epochs or rate are ``auto``, they follow from the supernet's training.
        recipe: The recipe that the supernet was trained by.
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
    return TuningPlan(
        images=TrainingImages(split=dataset.split("train"), normalization=dataset.normalization),
        recipe=replace(recipe, seed=derive_seed(special.seed, "specialize")),
        epochs=finetuning_epochs(trained["total_epochs"]) if epochs == "auto" else epochs,
        learning_rate=_RATE * trained["first_learning_rate"] if rate == "auto" else rate,
        has_teacher=special.teacher == "largest",
        max_quantization_loss=special.max_quantization_loss,
    )


class Tuner:
    """Takes subnets out of one supernet."""

    def __init__(self, evaluator: SubnetEvaluator, *, plan: TuningPlan) -> None:
        """Take the supernet of the evaluator; its evaluation images decide what is kept."""
        self._evaluator = evaluator
        self._plan = plan
        supernet = evaluator.supernet
        largest = supernet.space.largest
        self._teacher = None
        if plan.has_teacher:
            network = CalibratedTeacher(extract_subnet(supernet, largest), evaluator)
            self._teacher = Teacher(network, largest.resolution_px)

    @property
    def evaluator(self) -> SubnetEvaluator:
        """Has the supernet, the calibration images, and those that select."""
        return self._evaluator

    @property
    def has_teacher(self) -> bool:
        """Whether subnets learn from the largest one, too."""
        return self._plan.has_teacher

    @property
    def max_quantization_loss(self) -> float:
        """Percentage points that an int8 file may lose."""
        return self._plan.max_quantization_loss

    def name_of(self, arch: Arch) -> str:
        """Return the name of a subnet's fine-tuning: the epochs of each round, if it is taught.

        So what a version with another rule for them left is not gone on with.
        """
        taught = ["taught"] if self.has_teacher else []
        return "-".join([arch.arch_id, *map(str, self._lengths), *taught])

    def may_take(self, figures: TuningFigures) -> bool:
        """Return whether the fine-tuning of a subnet can come to these figures."""
        ends = list(accumulate(self._lengths)) or [0]
        return figures.num_epochs in ends and figures.has_teacher == self.has_teacher

    @property
    def _lengths(self) -> list[int]:
        return [schedule.total_epochs for schedule in self._plan.rounds]

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
        rounds = plan.rounds
        for number, schedule in enumerate(rounds):
            weights = finetune(
                weights,
                self._teacher,
                schedule=schedule,
                images=plan.images,
                recipe=replace(plan.recipe, seed=derive_seed(plan.recipe.seed, number)),
                hooks=replace(
                    hooks,
                    checkpoints=hooks.checkpoints.of(f"round-{number + 1}"),
                    title=_title(arch, number + 1, len(rounds)),
                ),
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
            has_teacher=self.has_teacher,
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


def _title(arch: Arch, number: int, rounds: int) -> str | None:
    """Return what a round is called where there are several; one alone needs no number."""
    return f"finetune {arch.arch_id} round {number} of {rounds}" if rounds > 1 else None
