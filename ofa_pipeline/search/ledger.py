"""An Optuna study as the ledger of measured subnets.

What was evaluated and measured for real is too expensive to lose: it goes into a study, in a
journal file or a database. Runs resume from it, several workers share it, and Optuna's dashboards
show it. Searching by estimates (millions of architectures) stays in numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ofa_pipeline.arch import Arch, FloatArray, Genes, SearchSpace
from ofa_pipeline.errors import ParamsError
from ofa_pipeline.search.trial_params import arch_of, distributions, params_of

DIRECTIONS: tuple[Literal["maximize", "minimize"], ...] = ("maximize", "minimize")
"""Whether accuracy_top1 (fraction) and latency_ms should be high or low."""
_SPACE_KEY = "space_digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSubnets:
    """Everything that a ledger holds."""

    genes: Genes
    accuracy: FloatArray
    latency_ms: FloatArray


@dataclass(frozen=True, slots=True)
class Asked:
    """A subnet that a worker is to evaluate and measure."""

    number: int
    """Number of the trial."""
    arch: Arch


class Ledger:
    """Measured subnets of one space and device."""

    def __init__(self, study: optuna.Study, space: SearchSpace) -> None:
        """Use a study with the directions `DIRECTIONS`; see `open_ledger`."""
        self.study = study
        self.space = space

    def record(
        self, arch: Arch, *, accuracy_top1: float, latency_ms: float, note: str = ""
    ) -> None:
        """Add a subnet that was measured elsewhere.

        Raises:
            ParamsError: If a value is not a finite number.
        """
        trial = optuna.trial.create_trial(
            values=_checked(accuracy_top1, latency_ms),
            params=params_of(self.space, arch),
            distributions=distributions(self.space),
            user_attrs={"arch_id": arch.arch_id, "note": note},
        )
        self.study.add_trial(trial)

    def ask(self) -> Asked:
        """Let the study's sampler choose the next subnet."""
        trial = self.study.ask(fixed_distributions=distributions(self.space))
        arch = arch_of(self.space, trial.params)
        trial.set_user_attr("arch_id", arch.arch_id)
        return Asked(trial.number, arch)

    def tell(self, asked: Asked, *, accuracy_top1: float, latency_ms: float) -> None:
        """Note what was measured of a subnet that was asked for.

        Raises:
            ParamsError: If a value is not a finite number.
        """
        self.study.tell(asked.number, _checked(accuracy_top1, latency_ms))

    def give_up(self, asked: Asked) -> None:
        """Note that a subnet could not be measured."""
        self.study.tell(asked.number, state=TrialState.FAIL)

    def measured(self) -> MeasuredSubnets:
        """Return everything that was measured so far, by all workers."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        archs = [arch_of(self.space, trial.params) for trial in trials]
        return MeasuredSubnets(
            genes=self.space.genes(archs),
            accuracy=np.array([trial.values[0] for trial in trials], dtype=np.float64),
            latency_ms=np.array([trial.values[1] for trial in trials], dtype=np.float64),
        )

    def find(self, arch: Arch) -> tuple[float, float] | None:
        """Return accuracy and latency of a subnet, None if it was not measured."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if trial.user_attrs.get("arch_id") == arch.arch_id:
                return float(trial.values[0]), float(trial.values[1])
        return None


def open_ledger(
    place: Path | str,
    *,
    space: SearchSpace,
    name: str,
    sampler: optuna.samplers.BaseSampler | None = None,
) -> Ledger:
    """Open a ledger, or begin one.

    Args:
        place: A journal file, or a database URL such as ``postgresql://...``.
        space: That the subnets are of.
        name: Of the study, for example supernet and device.
        sampler: Chooses what `Ledger.ask` returns; Optuna's default when left out.

    Raises:
        ParamsError: If the study is of another space, has other objectives or holds trials that
            are no ledger's. It is left as it was.
    """
    study = optuna.create_study(
        storage=_storage(place),
        study_name=name,
        directions=list(DIRECTIONS),
        sampler=sampler,
        load_if_exists=True,
    )
    found = tuple(direction.name.lower() for direction in study.directions)
    if found != DIRECTIONS:
        raise ParamsError(
            f"study {name} in {place} must {' and '.join(DIRECTIONS)} accuracy and latency, "
            f"found directions {found}"
        )
    known = study.user_attrs.get(_SPACE_KEY)
    if known is None and study.get_trials(deepcopy=False):
        raise ParamsError(
            f"study {name} in {place} must be a ledger, but holds trials of something else. Give "
            "the ledger a study of its own."
        )
    if known is None:
        study.set_user_attr(_SPACE_KEY, space.digest)
    elif known != space.digest:
        raise ParamsError(
            f"study {name} in {place} is of a space with digest {known}, not of {space.space_id} "
            f"with {space.digest}. Give this space a study of its own."
        )
    return Ledger(study, space)


def _storage(place: Path | str) -> BaseStorage | str:
    if isinstance(place, Path):
        place.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(place)))
    return place


def _checked(accuracy_top1: float, latency_ms: float) -> Sequence[float]:
    values = (accuracy_top1, latency_ms)
    if not np.isfinite(values).all():
        raise ParamsError(
            f"accuracy and latency of a measured subnet must be finite numbers, got {values}"
        )
    return values
