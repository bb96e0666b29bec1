"""Cross-validation: what a predictor says of subnets that it did not learn from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.documents import LearningPoint, PredictionReport
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor.kinds import build_predictor
from ofa_pipeline.predictor.metrics import report_predictions
from ofa_pipeline.predictor.protocol import Settings, distinct_samples
from ofa_pipeline.progress import SILENT, Reporter

_AUTO_KINDS = ("ridge", "kernel_ridge", "gaussian_process")
_AUTO_KINDS_OF_MANY = (*_AUTO_KINDS, "gradient_boosting", "mlp_ensemble")
_MANY = 1000  # subnets; below it the further kinds learn less and take longer
_LEARNING_FRACTIONS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Held-out predictions of one kind of predictor."""

    kind: str
    genes: Genes
    measured: FloatArray
    mean: FloatArray
    std: FloatArray
    fold: IntArray
    report: PredictionReport
    settings: Settings = field(default_factory=dict)
    """Settings of the predictor that differ from its defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledSubnets:
    """Distinct measured subnets of a space."""

    space: SearchSpace
    genes: Genes
    accuracy: FloatArray
    cost: FloatArray
    """What the budgets of the regret are about, for example MACs."""


def labeled_subnets(
    space: SearchSpace, genes: Genes, accuracy: FloatArray, *, cost: FloatArray
) -> LabeledSubnets:
    """Check measured labels and average those of equal architectures.

    Raises:
        ArchError: If the genes are not of the space.
        ParamsError: If a label is not a fraction, or fewer than two architectures differ.
    """
    samples = distinct_samples(space, genes, accuracy)
    cost_of = {
        row.tobytes(): value for row, value in zip(space.canonicalize(genes), cost, strict=True)
    }
    costs = np.array([cost_of[row.tobytes()] for row in samples.genes], dtype=np.float64)
    return LabeledSubnets(space=space, genes=samples.genes, accuracy=samples.accuracy, cost=costs)


def cross_validate(
    subnets: LabeledSubnets,
    kind: str,
    *,
    folds: int,
    seed: int,
    settings: Settings | None = None,
) -> Validation:
    """Predict every subnet by a predictor that was fitted without its fold.

    Hyperparameters are chosen anew within each fit, so the validation is nested.

    Args:
        subnets: Distinct measured subnets.
        kind: Kind of the predictor.
        folds: As many as subnets at most.
        seed: Seed of the folds and the predictors.
        settings: Settings of the predictor, see `build_predictor`; the default ones when left out.

    Raises:
        ParamsError: If there are fewer subnets than would leave two to learn from.
    """
    count = len(subnets.genes)
    folds = min(folds, count)
    if count - -(-count // folds) <= 1:
        raise ParamsError(
            f"cross-validation in {folds} folds needs at least 4 different subnets, got {count}. "
            "Measure more subnets."
        )
    fold_of = np.random.default_rng(seed).permutation(count) % folds
    mean, std = np.zeros(count), np.zeros(count)
    for fold in range(folds):
        held_out = fold_of == fold
        predictor = build_predictor(subnets.space, kind, seed=seed, settings=settings)
        predictor.fit(subnets.genes[~held_out], subnets.accuracy[~held_out])
        mean[held_out], std[held_out] = predictor.predict(subnets.genes[held_out])
    return Validation(
        kind=kind,
        genes=subnets.genes,
        measured=subnets.accuracy,
        mean=mean,
        std=std,
        fold=fold_of,
        report=report_predictions(subnets.accuracy, mean, std, cost=subnets.cost),
        settings=settings or {},
    )


def validate_kinds(
    subnets: LabeledSubnets,
    kind: str,
    *,
    folds: int,
    seed: int,
    reporter: Reporter = SILENT,
) -> list[Validation]:
    """Cross-validate a kind, or with ``auto`` every kind that may be chosen for so many."""
    kinds: tuple[str, ...] = (kind,)
    if kind == "auto":
        kinds = _AUTO_KINDS_OF_MANY if len(subnets.genes) >= _MANY else _AUTO_KINDS
    return [
        cross_validate(subnets, name, folds=folds, seed=seed)
        for name in reporter.iterate(kinds, "cross-validate", total=len(kinds), unit="predictors")
    ]


def choose_predictor(validations: Sequence[Validation], *, label_noise: float) -> Validation:
    """Choose by what matters: regret after verifying five a budget, then the error.

    Kinds whose regret differs by less than the noise of a label are tied; the smaller RMSE
    decides among them.

    Args:
        validations: At least one.
        label_noise: Standard deviation of a measured accuracy, a fraction.
    """
    regrets = [validation.report.regret_points["5"] for validation in validations]
    limit = min(regrets) + 100 * label_noise
    tied = [v for v, points in zip(validations, regrets, strict=True) if points <= limit]
    return min(tied, key=lambda validation: validation.report.rmse_points)


def learning_curve(
    subnets: LabeledSubnets,
    kind: str,
    *,
    folds: int,
    seed: int,
    settings: Settings | None = None,
) -> list[LearningPoint]:
    """Cross-validate on growing parts of the subnets, in a seeded order."""
    order = np.random.default_rng(seed).permutation(len(subnets.genes))
    points = []
    for fraction in _LEARNING_FRACTIONS:
        part = order[: max(round(fraction * len(order)), min(8, len(order)))]
        subset = LabeledSubnets(
            space=subnets.space,
            genes=subnets.genes[part],
            accuracy=subnets.accuracy[part],
            cost=subnets.cost[part],
        )
        report = cross_validate(subset, kind, folds=folds, seed=seed, settings=settings).report
        learned_from = len(part) - -(-len(part) // min(folds, len(part)))
        points.append(
            LearningPoint(num_samples=learned_from, rmse_points=report.rmse_points, tau=report.tau)
        )
    return points
