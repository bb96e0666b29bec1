"""The work of each stage of a run, counted: multiply-accumulates, measurements, images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.cost import arch_cost, estimate_cost, finetuning_epochs, round_lengths
from ofa_pipeline.planning.order import address_of
from ofa_pipeline.stages import STAGES, items_of

if TYPE_CHECKING:
    from ofa_pipeline.params import Params
    from ofa_pipeline.planning.survey import SourceSurvey
    from ofa_pipeline.training import Phase

BACKWARD = 3
"""A training step computes about three times what a forward pass does: besides it the gradients of
activations and of weights."""
NUM_DRAWS = 200
"""Steps of a phase, and subnets of a space, that means are taken over."""
_NOISE_SUBNETS, _REPEATED_LATENCIES = 8, 9
_GIGA = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSizes:
    """Images of each split."""

    train: int
    calibration: int
    selection: int
    test: int

    @classmethod
    def of_survey(cls, survey: "SourceSurvey", params: "Params") -> "SplitSizes":
        """Return what the splits of a source will about hold."""
        dataset = params.dataset
        wanted = {
            "test": dataset.test_fraction,
            "selection": dataset.selection_fraction,
            "calibration": dataset.calibration_fraction,
        }
        drawn = survey.num_images * survey.split_shares.get("train", 1.0)
        sizes = {
            name: survey.num_images * survey.split_shares[name]
            if name in survey.fixed_splits
            else drawn * share
            for name, share in wanted.items()
        }
        held_out = sum(size for name, size in sizes.items() if name not in survey.fixed_splits)
        whole = {name: max(1, round(size)) for name, size in sizes.items()}
        return cls(train=max(1, round(drawn - held_out)), **whole)

    @property
    def total(self) -> int:
        """Images of all splits."""
        return self.train + self.calibration + self.selection + self.test


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a stage does."""

    train_gmacs: float = 0.0
    """Forward and backward, of all images: 10**9 multiply-accumulates."""
    forward_gmacs: float = 0.0
    """Evaluation and calibration, of all images."""
    measurements: int = 0
    """Networks whose latency is measured."""
    images: int = 0
    """Image files that are decoded."""
    listed: int = 0
    """Image files that are listed."""
    bundles: int = 0
    """Subnets that are registered or shown."""

    @property
    def is_measurable(self) -> bool:
        """Whether what it takes most time for is measured before a run."""
        return bool(self.train_gmacs or self.forward_gmacs or self.measurements or self.images)

    def __add__(self, other: "Work") -> "Work":
        """Return both together."""
        return Work(
            train_gmacs=self.train_gmacs + other.train_gmacs,
            forward_gmacs=self.forward_gmacs + other.forward_gmacs,
            measurements=self.measurements + other.measurements,
            images=self.images + other.images,
            listed=self.listed + other.listed,
            bundles=self.bundles + other.bundles,
        )


class WorkOfRun:
    """Counts the work of the stages of a workspace."""

    def __init__(self, params: "Params", sizes: SplitSizes, *, num_classes: int) -> None:
        """Take what decides on it."""
        self.params = params
        self.sizes = sizes
        self.num_classes = num_classes
        self.space = params.space.build()
        self._subnet_macs = _mean_macs(self.space, self.num_classes)

    def of_all(self) -> Mapping[str, Work]:
        """Return the work of every stage, by its name as DVC has it."""
        found: dict[str, Work] = {}
        for stage in STAGES:
            count = getattr(self, f"_{stage.name}", None)
            for item in items_of(stage, self.params):
                found[address_of(stage.name, item)] = count(item or "") if count else Work()
        return found

    def phase(self, name: str) -> "Phase":
        """Return a phase as it is trained."""
        from ofa_pipeline.training import phase_of

        training, settings = self.params.training, self.params.phases[name]
        steps = max(1, self.sizes.train // training.batch_size)
        return phase_of(name, settings, self.space, training=training, steps_per_epoch=steps)

    def num_steps(self, name: str) -> int:
        """Return the updates of a phase."""
        steps = max(1, self.sizes.train // self.params.training.batch_size)
        return self.phase(name).schedule.total_epochs * steps

    def step_gmacs(self, archs: Iterable[Arch]) -> float:
        """Return what a training step of these subnets computes."""
        genes = self.space.genes(archs)
        macs = estimate_cost(self.space, genes, num_classes=self.num_classes).macs.sum()
        return BACKWARD * self.params.training.batch_size * float(macs) / _GIGA

    def mean_step_gmacs(self, name: str) -> float:
        """Return what a step of a phase computes, on average over many draws."""
        rng, phase = np.random.default_rng(0), self.phase(name)
        return self.step_gmacs([a for _ in range(NUM_DRAWS) for a in phase.archs.draw(rng)]) / (
            NUM_DRAWS
        )

    def macs(self, arch: Arch) -> float:
        """Return the multiply-accumulates of a subnet for one image."""
        return float(arch_cost(self.space, arch, num_classes=self.num_classes).macs)

    def _calibrated(self, wanted: int) -> int:
        return min(wanted, self.sizes.calibration)

    def _list_source(self, _: str) -> Work:
        return Work(listed=self.sizes.total)

    def _prepare_dataset(self, _: str) -> Work:
        return Work(images=self.sizes.total)

    def _train_supernet(self, phase: str) -> Work:
        training = self.params.training
        epochs = self.phase(phase).schedule.total_epochs
        calibrated = self._calibrated(training.calibration_images)
        images = calibrated + min(training.validation_images, self.sizes.selection)
        ends = self.macs(self.space.largest) + self.macs(self.space.smallest)
        last = self.macs(self.space.largest) * (calibrated + self.sizes.selection)
        return Work(
            train_gmacs=self.num_steps(phase) * self.mean_step_gmacs(phase),
            forward_gmacs=(epochs * ends * images + 2 * last) / _GIGA,
        )

    def _evaluations(self, count: float) -> Work:
        images = self._calibrated(self.params.evaluation.calibration_images)
        images += self.sizes.selection
        return Work(forward_gmacs=count * images * self._subnet_macs / _GIGA)

    def _collect_accuracy(self, _: str) -> Work:
        accuracy = self.params.accuracy
        repeats = min(_NOISE_SUBNETS, accuracy.num_subnets) * (accuracy.num_noise_repeats - 1)
        return self._evaluations(accuracy.num_subnets + repeats)

    def _profile_latency(self, _: str) -> Work:
        latency = self.params.latency
        return Work(measurements=latency.num_subnets + latency.num_holdout + _REPEATED_LATENCIES)

    def num_budgets(self, device: str) -> int:
        """Return the budgets of a device, a subnet each."""
        found = self.params.devices[device]
        return len(found.budgets_ms or found.budget_fractions or ())

    def _search(self, device: str) -> Work:
        search = self.params.search
        count = search.max_rounds * search.verify_top_k * self.num_budgets(device)
        return self._evaluations(count) + Work(measurements=count)

    def _specialize(self, device: str) -> Work:
        count, sizes = self.num_budgets(device), self.sizes
        # It ends early where the first round gains nothing: the others count half.
        first, *others = *round_lengths(self.finetune_epochs), 0
        epochs = first + sum(others) / 2
        images = count * epochs * sizes.train
        teacher = 0.0
        if self.params.specialize.teacher == "largest":  # at the image size of each pick
            teacher = self.macs(self.space.largest) / 2
        tuned = BACKWARD * self._subnet_macs + teacher
        evaluated = 3 * (sizes.selection + sizes.calibration) + 3 * sizes.test
        return Work(
            train_gmacs=images * tuned / _GIGA,
            forward_gmacs=count * evaluated * self._subnet_macs / _GIGA,
            measurements=count,
            bundles=count,
        )

    @property
    def finetune_epochs(self) -> int:
        """Epochs of fine-tuning, at most."""
        epochs = self.params.specialize.epochs
        if epochs != "auto":
            return epochs
        trained = sum(self.phase(name).schedule.total_epochs for name in self.params.phases)
        return finetuning_epochs(trained)

    def _register(self, device: str) -> Work:
        return Work(bundles=self.num_budgets(device))

    def _report(self, _: str) -> Work:
        return Work(bundles=sum(self.num_budgets(device) for device in self.params.devices))


def _mean_macs(space: SearchSpace, num_classes: int) -> float:
    """Return the multiply-accumulates of the subnets of a space, on average."""
    genes = space.canonicalize(space.sample(np.random.default_rng(0), NUM_DRAWS))
    return float(estimate_cost(space, genes, num_classes=num_classes).macs.mean())
