"""The settings of a predictor, tuned by cross-validation with Optuna."""

from collections.abc import Mapping, Sequence

import optuna

from ofa_pipeline.predictor import (
    LabeledSubnets,
    Range,
    Settings,
    Validation,
    check_tunable,
    cross_validate,
    tunable_settings,
)
from ofa_pipeline.progress import SILENT, Reporter

_TRIALS = 20  # settings to try, of each kind


def tune_kinds(
    subnets: LabeledSubnets,
    validations: Sequence[Validation],
    *,
    folds: int,
    seed: int,
    reporter: Reporter = SILENT,
) -> list[Validation]:
    """Tune every kind that has settings, and return its validation with the best ones.

    The default settings are kept where none that was tried has a smaller error. Kinds without
    settings are returned as they are.

    Args:
        subnets: Measured subnets.
        validations: Validations of the kinds with their default settings.
        folds: Folds of the cross-validation; the same for all settings.
        seed: Seed of sampler, folds and predictors.
        reporter: Told of each setting that was tried.

    Raises:
        ParamsError: If no kind has a setting.
    """
    check_tunable([validation.kind for validation in validations])
    return [
        _tuned(subnets, validation, folds=folds, seed=seed, reporter=reporter)
        for validation in validations
    ]


def _tuned(
    subnets: LabeledSubnets, default: Validation, *, folds: int, seed: int, reporter: Reporter
) -> Validation:
    ranges = tunable_settings(default.kind)
    if not ranges:
        return default
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for each study and trial
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    best = default
    label = f"tune {default.kind}"
    for _ in reporter.iterate(range(_TRIALS), label, total=_TRIALS, unit="settings"):
        trial = study.ask()
        tried = cross_validate(
            subnets, default.kind, folds=folds, seed=seed, settings=_suggest(trial, ranges)
        )
        study.tell(trial, tried.report.rmse_points)
        best = min(best, tried, key=lambda validation: validation.report.rmse_points)
    return best


def _suggest(trial: optuna.Trial, ranges: Mapping[str, Range]) -> Settings:
    return {
        name: trial.suggest_int(name, int(values.low), int(values.high), log=values.is_log)
        if values.is_whole
        else trial.suggest_float(name, values.low, values.high, log=values.is_log)
        for name, values in ranges.items()
    }
