"""The hyperparameters of a predictor, tuned by cross-validation with Optuna."""

from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.trial import Trial

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.predictor import (
    BoostingSettings,
    GradientBoosting,
    LabeledSubnets,
    MlpEnsemble,
    MlpSettings,
    StorablePredictor,
    cross_validate,
)

Settings = BoostingSettings | MlpSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The best settings found."""

    settings: Settings
    rmse_points: float
    """Cross-validated."""
    default_rmse_points: float
    num_trials: int


def tune_predictor(
    subnets: LabeledSubnets, kind: str, *, num_trials: int, folds: int, seed: int
) -> Tuned:
    """Search the settings with the smallest cross-validated error, the default ones first.

    Args:
        subnets: Measured subnets.
        kind: ``gradient_boosting`` or ``mlp_ensemble``; the others choose their few
            hyperparameters themselves, within each fit.
        num_trials: Settings to try, at least 1.
        folds: Of the cross-validation.
        seed: Of sampler, folds and predictors.

    Raises:
        ParamsError: If the kind has nothing to tune.
    """
    draw = _draw_of(kind)

    def objective(trial: Trial) -> float:
        settings = draw(trial)
        trial.set_user_attr("settings", repr(settings))
        return _error(subnets, kind, settings, folds=folds, seed=seed)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=num_trials)
    default: Settings = BoostingSettings() if kind == GradientBoosting.kind else MlpSettings()
    default_error = _error(subnets, kind, default, folds=folds, seed=seed)
    best = study.best_trial
    if default_error <= study.best_value:
        return Tuned(
            settings=default,
            rmse_points=default_error,
            default_rmse_points=default_error,
            num_trials=num_trials,
        )
    return Tuned(
        settings=draw(optuna.trial.FixedTrial(best.params)),
        rmse_points=study.best_value,
        default_rmse_points=default_error,
        num_trials=num_trials,
    )


def _error(
    subnets: LabeledSubnets, kind: str, settings: Settings, *, folds: int, seed: int
) -> float:
    def build() -> StorablePredictor:
        if isinstance(settings, BoostingSettings):
            return GradientBoosting(subnets.space, seed=seed, settings=settings)
        return MlpEnsemble(subnets.space, seed=seed, settings=settings)

    return cross_validate(subnets, kind, folds=folds, seed=seed, build=build).report.rmse_points


def _draw_of(kind: str) -> Callable[[Trial | optuna.trial.FixedTrial], Settings]:
    draws: dict[str, Callable[[Trial | optuna.trial.FixedTrial], Settings]] = {
        GradientBoosting.kind: _draw_boosting,
        MlpEnsemble.kind: _draw_mlp,
    }
    if kind not in draws:
        raise ParamsError(
            f"predictor {kind} has no settings to tune: it chooses its hyperparameters within each "
            f"fit. To be tuned: {', '.join(draws)}."
        )
    return draws[kind]


def _draw_boosting(trial: Trial | optuna.trial.FixedTrial) -> Settings:
    return BoostingSettings(
        num_trees=trial.suggest_int("num_trees", 40, 400, log=True),
        max_depth=trial.suggest_int("max_depth", 1, 5),
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        subsample=trial.suggest_float("subsample", 0.4, 1.0),
    )


def _draw_mlp(trial: Trial | optuna.trial.FixedTrial) -> Settings:
    return MlpSettings(
        width=trial.suggest_int("width", 32, 400, log=True),
        num_layers=trial.suggest_int("num_layers", 1, 3),
        learning_rate=trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        penalty=trial.suggest_float("penalty", 1e-5, 1e-1, log=True),
        epochs=trial.suggest_int("epochs", 50, 500, log=True),
    )
