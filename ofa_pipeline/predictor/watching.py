"""Looks whether there was something to rank, and whether the predictor ranks it."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from ofa_pipeline.predictor.validation import Validation
from ofa_pipeline.run_warnings import RunWarning

LIMIT = 2.0
"""Standard deviations by which a rank correlation must be above zero."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNoise:
    """How well the noise of a measured accuracy is known."""

    std: float
    """Standard deviation of a label, a fraction."""
    degrees: int
    """Repeated measurements beyond the first of each subnet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What the measured subnets and their cross-validated predictions say."""

    tau: float
    """Kendall's, of predicted and measured accuracy."""
    tau_noise: float
    """Standard deviation of tau where predictions have nothing to do with measurements."""
    spread: float
    """Standard deviation of the measured accuracies, a fraction."""
    label_noise: LabelNoise
    num_subnets: int
    num_folds: int

    @classmethod
    def of(cls, validation: Validation, label_noise: LabelNoise) -> "Ranking":
        """Return the ranking of a cross-validated predictor."""
        return cls(
            tau=validation.report.tau,
            tau_noise=tau_noise(len(validation.measured)),
            spread=float(validation.measured.std(ddof=1)),
            label_noise=label_noise,
            num_subnets=len(validation.measured),
            num_folds=len(np.unique(validation.fold)),
        )

    @property
    def is_chance(self) -> bool:
        """Whether tau is not above zero by more than its noise."""
        return self.tau <= LIMIT * self.tau_noise

    @property
    def is_flat(self) -> bool:
        """Whether the accuracies differ by no more than their noise.

        Both standard deviations are estimates. Where the predictor finds no order either, the
        spread has to be larger than the noise by more than both are uncertain (an F test).
        """
        limit = self._largest_ratio if self.is_chance else 1.0
        return self.spread**2 <= limit * self.label_noise.std**2

    @property
    def _largest_ratio(self) -> float:
        """Largest ratio of the variances of labels and noise, if labels are only noise."""
        degrees = max(self.label_noise.degrees, 1)
        return float(f_distribution.ppf(_CONFIDENCE, self.num_subnets - 1, degrees))


def tau_noise(num_subnets: int) -> float:
    """Return the standard deviation of Kendall's tau between unrelated orders.

    Cross-validation adds to it, but to the other side: a predictor that has learned nothing
    predicts the mean of the other folds, which is low where the fold is high. On random labels
    the chosen one of three kinds was above twice this figure for 3 of 40 draws of 20 subnets and
    2 of 25 draws of 50, a single kind half as often.

    Args:
        num_subnets: At least two.

    Source:
        Kendall 1938, "A new measure of rank correlation": 2 (2n + 5) / (9 n (n - 1)).
    """
    return math.sqrt(2 * (2 * num_subnets + 5) / (9 * num_subnets * (num_subnets - 1)))


def watch_ranking(ranking: Ranking) -> RunWarning | None:
    """Warn where the subnets do not differ, or the predictor does not find out which is better."""
    if ranking.is_flat:
        return _warning(
            ranking,
            message=(
                f"there is nothing to rank: the accuracies of {ranking.num_subnets} subnets have a "
                f"standard deviation of {100 * ranking.spread:.3f} points, the noise of one "
                f"measurement is {100 * ranking.label_noise.std:.3f} (Kendall tau of the "
                f"predictor {ranking.tau:.2f})."
            ),
            advice=(
                "Subnets that differ so little are equally good, or equally untrained: look at "
                "their accuracy. If it is low, raise the epochs and learning_rate of the phases; "
                "else raise evaluation.calibration_images, dataset.selection_fraction or the range "
                "of the space."
            ),
        )
    if ranking.is_chance:
        return _warning(
            ranking,
            message=(
                f"the search is close to a lottery: Kendall tau of the accuracy predictor is "
                f"{ranking.tau:.2f}, unrelated orders have 0 with a noise of "
                f"{ranking.tau_noise:.2f} (cross-validated on {ranking.num_subnets} subnets in "
                f"{ranking.num_folds} folds). The subnets do differ: their standard deviation is "
                f"{100 * ranking.spread:.2f} points, the noise of one measurement is "
                f"{100 * ranking.label_noise.std:.2f}."
            ),
            advice=(
                "Raise accuracy.num_subnets, so that there is more to learn from, set "
                "predictor.kind to auto, and raise search.verify_top_k, so that more is measured."
            ),
        )
    return None


def _warning(ranking: Ranking, *, message: str, advice: str) -> RunWarning:
    return RunWarning(
        stage="fit_predictor",
        message=message,
        figures={
            "tau": ranking.tau,
            "tau_noise": ranking.tau_noise,
            "accuracy_top1_std": ranking.spread,
            "label_noise_std": ranking.label_noise.std,
            "num_subnets": ranking.num_subnets,
            "num_folds": ranking.num_folds,
        },
        advice=advice,
    )
