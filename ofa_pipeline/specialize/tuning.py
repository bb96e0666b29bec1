"""From the supernet to the weights that ship: extract, calibrate, fine-tune where it pays."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ofa_pipeline.arch import Arch
from ofa_pipeline.data import Split
from ofa_pipeline.evaluation import CalibratedTeacher, SubnetEvaluator, evaluate_network
from ofa_pipeline.supernet import Subnet, extract_subnet, fold_batch_norm
from ofa_pipeline.training import Hooks, Recipe, Schedule, TrainingImages, finetune


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningFigures:
    """Top-1 on selection images before and after fine-tuning, and what was kept."""

    accuracy_top1_extracted: float
    """Calibrated, as it came out of the supernet."""
    accuracy_top1_finetuned: float | None
    """Fine-tuned and calibrated again; None where nothing was fine-tuned."""
    num_images: int

    @property
    def is_finetuned(self) -> bool:
        """Whether the fine-tuned weights are kept: they are not worse."""
        finetuned = self.accuracy_top1_finetuned
        return finetuned is not None and finetuned >= self.accuracy_top1_extracted

    @property
    def accuracy_top1(self) -> float:
        """Of the weights that are kept."""
        if self.is_finetuned and self.accuracy_top1_finetuned is not None:
            return self.accuracy_top1_finetuned
        return self.accuracy_top1_extracted

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return asdict(self) | {"is_finetuned": self.is_finetuned}


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
    schedule: Schedule | None
    """None leaves the weights as they are."""


class Tuner:
    """Takes subnets out of one supernet."""

    def __init__(self, evaluator: SubnetEvaluator, *, plan: TuningPlan) -> None:
        """Take the supernet of the evaluator; its evaluation images decide what is kept."""
        self._evaluator = evaluator
        self._plan = plan
        supernet = evaluator.supernet
        self._teacher = CalibratedTeacher(
            extract_subnet(supernet, supernet.space.largest), evaluator
        )

    def tune(self, arch: Arch, *, hooks: Callable[[], Hooks] = Hooks) -> TunedSubnet:
        """Extract, calibrate and fine-tune a subnet; keep the fine-tuned weights if not worse.

        Args:
            arch: The subnet.
            hooks: Makes checkpoints and progress of the fine-tuning.

        Raises:
            NotEnoughBatchesError: If there are fewer training images than one batch.
            TrainingDivergedError: If the loss is not finite.
        """
        plan, evaluator = self._plan, self._evaluator
        extracted = extract_subnet(evaluator.supernet, arch)
        calibrated = evaluator.calibrate(extracted)
        before = self._accuracy(calibrated)
        if plan.schedule is None:
            return self._tuned(calibrated, before, None)
        trained = finetune(
            extracted,
            self._teacher,
            schedule=plan.schedule,
            images=plan.images,
            recipe=plan.recipe,
            hooks=hooks(),
        )
        finetuned = evaluator.calibrate(trained)
        after = self._accuracy(finetuned)
        return self._tuned(finetuned if after >= before else calibrated, before, after)

    def _tuned(self, subnet: Subnet, before: float, after: float | None) -> TunedSubnet:
        figures = TuningFigures(
            accuracy_top1_extracted=before,
            accuracy_top1_finetuned=after,
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
            mean=self._evaluator.mean,
            std=self._evaluator.std,
            batch_size=self._evaluator.batch_size,
        ).accuracy_top1
