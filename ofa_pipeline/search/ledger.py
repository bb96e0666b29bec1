"""The ledger of a search: an Optuna study of every subnet that was evaluated and measured.

The study lies in a journal file. Each subnet is a trial: its genes are the parameters, accuracy
and latency the values, and what was measured stands beside, with a digest of itself. A search that
was killed goes on from it and measures nothing twice; Optuna's dashboard opens the file.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import digest_json
from ofa_pipeline.errors import ArchError
from ofa_pipeline.measuring import Row
from ofa_pipeline.progress import SILENT, Reporter
from ofa_pipeline.search.journal import open_journal
from ofa_pipeline.search.trial_params import arch_of, distributions, params_of
from ofa_pipeline.search.verify import Measured, RealWorld
from ofa_pipeline.stopwatch import Stopwatch

DIRECTIONS: Mapping[str, Literal["maximize", "minimize"]] = {
    "accuracy_top1": "maximize",
    "latency_ms": "minimize",
}
"""The values of a trial: a fraction on selection images, and the measured median."""
_ATTRIBUTES = {"accuracy": "accuracy_top1", "latency": "p50_ms"}
"""Attributes of a trial that hold a row each, and which value of the row is that of the trial."""


class Ledger:
    """What a search has measured, by the keys of `measure_all`; see `MeasurementNotes`."""

    def __init__(
        self,
        path: Path,
        *,
        space: SearchSpace,
        name: str,
        reporter: Reporter = SILENT,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        """Read what an earlier process measured, or begin a study.

        Args:
            path: Path of the journal, in a folder named after all that the measurements depend
                on; no other process may write it.
            space: The space of the subnets.
            name: Name of the study, for people.
            reporter: Told of damaged lines, and of the progress of `measure_all`.
            stopwatch: Stopwatch of the stage.
        """
        self.rows: dict[str, Row] = {}
        self.reporter = reporter
        self._space = space
        self._stopwatch = stopwatch or Stopwatch()
        self._expected: dict[str, Arch] = {}
        self._trials: dict[str, int] = {}
        self._storage = open_journal(path, reporter)
        self.study = _study(self._storage, name)
        for number, trial in enumerate(self.study.get_trials(deepcopy=False)):
            self._take_over(number, trial)
        if self.rows:
            self._stopwatch.expect_earlier()

    def expect(self, archs: Iterable[Arch]) -> None:
        """Say which subnets the next rows are about."""
        self._expected |= {arch.arch_id: arch for arch in archs}

    def append(self, key: str, row: Row) -> None:
        """Note a measurement, and the seconds up to it.

        Args:
            key: Names a subnet that is expected.
            row: Has the ``accuracy_top1`` or the ``p50_ms`` of the subnet.
        """
        (arch,) = (self._expected[word] for word in key.split() if word in self._expected)
        (attribute,) = (name for name, value in _ATTRIBUTES.items() if value in row)
        noted = {**row, "key": key, "digest": _digest(arch.arch_id, key, row)}
        if arch.arch_id not in self._trials:
            trial = self._begun(arch, {attribute: noted})
            study_id = self._storage.get_study_id_from_name(self.study.study_name)
            self._trials[arch.arch_id] = self._storage.create_new_trial(study_id, trial)
        else:
            self._storage.set_trial_user_attr(self._trials[arch.arch_id], attribute, noted)
        self.rows[key] = row
        self._complete(self._trials[arch.arch_id])
        self._stopwatch.note()

    def _begun(self, arch: Arch, attributes: Mapping[str, Any]) -> FrozenTrial:
        return create_trial(
            state=TrialState.RUNNING,
            params=params_of(self._space, arch),
            distributions=distributions(self._space),
            user_attrs={"arch_id": arch.arch_id, **attributes},
        )

    def _complete(self, trial_id: int) -> None:
        """Give a trial its values once both are measured."""
        trial = self._storage.get_trial(trial_id)
        rows = trial.user_attrs
        if trial.state is TrialState.RUNNING and rows.keys() >= _ATTRIBUTES.keys():
            values = [rows[name][value] for name, value in _ATTRIBUTES.items()]
            self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, values)

    def _take_over(self, number: int, trial: FrozenTrial) -> None:
        """Read the rows of a trial of an earlier process, if nothing of it is damaged."""
        study_id = self._storage.get_study_id_from_name(self.study.study_name)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        noted = dict(_rows(trial, self._space))
        if not noted:
            return
        self.rows |= noted
        self._trials[trial.user_attrs["arch_id"]] = trial_id
        self._complete(trial_id)


class NotedWorld:
    """The real world, with a ledger that knows which subnets are measured."""

    def __init__(self, world: RealWorld, ledger: Ledger) -> None:
        """Note the measurements of a world whose notes are the ledger."""
        self._world = world
        self._ledger = ledger

    def evaluate(self, archs: Sequence[Arch], *, label: str) -> Sequence[float]:
        """Return top-1 of each subnet; see `RealWorld`."""
        self._ledger.expect(archs)
        return self._world.evaluate(archs, label=label)

    def measure(self, archs: Sequence[Arch], *, label: str) -> Sequence[Measured]:
        """Return the latency of each subnet; see `RealWorld`."""
        self._ledger.expect(archs)
        return self._world.measure(archs, label=label)


def _study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for each study and trial
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=list(DIRECTIONS.values()),
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(DIRECTIONS))
    return study


def _rows(trial: FrozenTrial, space: SearchSpace) -> Iterator[tuple[str, Row]]:
    """Yield key and row of what was measured; nothing where the trial is not what was noted."""
    arch_id = trial.user_attrs.get("arch_id")
    try:
        if arch_of(space, trial.params).arch_id != arch_id:
            return
    except ArchError:
        return
    for attribute in _ATTRIBUTES:
        noted = trial.user_attrs.get(attribute)
        if not isinstance(noted, dict):
            continue
        row = dict(noted)
        key, digest = row.pop("key", None), row.pop("digest", None)
        if isinstance(key, str) and digest == _digest(arch_id, key, row):
            yield key, row


def _digest(arch_id: str, key: str, row: Row) -> str:
    return digest_json([arch_id, key, row])
