"""The kinds of predictors: one file a kind, called as in ``predictor.kind``.

Each file has a function ``build(space, seed=..., settings=...)`` that returns an unfitted
`StorablePredictor`, and the settings that are worth tuning, ``TUNABLE``, by name.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from ofa_pipeline.errors import ParamsError, suggest
from ofa_pipeline.parts import part_names
from ofa_pipeline.predictor.protocol import Range, Settings, StorablePredictor

if TYPE_CHECKING:
    from ofa_pipeline.arch import SearchSpace

__all__ = ["build_predictor", "check_tunable", "predictor_kinds", "tunable_settings"]


class _Kind(Protocol):
    """The file of a kind."""

    TUNABLE: Mapping[str, Range]

    @staticmethod
    def build(space: "SearchSpace", *, seed: int, settings: Settings) -> StorablePredictor: ...


def predictor_kinds() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return part_names("predictor/kinds")


def build_predictor(
    space: "SearchSpace", kind: str, *, seed: int, settings: Settings | None = None
) -> StorablePredictor:
    """Return an unfitted predictor.

    Args:
        space: The space of the architectures.
        kind: One of `predictor_kinds`.
        seed: Seed of whatever the method draws.
        settings: Instead of the default ones, by their names in `tunable_settings`.

    Raises:
        ParamsError: If the kind or a setting is unknown.
    """
    known = tunable_settings(kind)
    for name in settings or {}:
        if name not in known:
            raise ParamsError(f"predictor {kind} has no setting {name!r}.{suggest(name, known)}")
    return _kind(kind).build(space, seed=seed, settings=settings or {})


def tunable_settings(kind: str) -> Mapping[str, Range]:
    """Return which settings of a kind are worth tuning; none where each fit chooses its own.

    Raises:
        ParamsError: If the kind is unknown.
    """
    return _kind(kind).TUNABLE


def check_tunable(kinds: Sequence[str]) -> None:
    """Check that tuning has an effect on some of the kinds.

    Raises:
        ParamsError: If each fit of each of them chooses its hyperparameters itself.
    """
    if any(tunable_settings(kind) for kind in kinds):
        return
    tunable = ", ".join(kind for kind in predictor_kinds() if tunable_settings(kind))
    raise ParamsError(
        f"predictor.tune has no effect on {', '.join(kinds)}: each fit chooses its "
        f"hyperparameters itself. Set predictor.tune: false, or predictor.kind to one of {tunable}."
    )


def _kind(name: str) -> _Kind:
    if name not in predictor_kinds():
        raise ParamsError(f"unknown predictor kind {name!r}.{suggest(name, predictor_kinds())}")
    return cast("_Kind", importlib.import_module(f"{__name__}.{name}"))


OPEN_MODULES = ("gaussian_process", "gradient_boosting", "kernel_ridge", "mlp_ensemble", "ridge")
"""The kinds themselves, for who wants one with settings of its own."""
