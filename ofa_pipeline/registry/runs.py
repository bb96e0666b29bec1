"""The runs of a registry: one of each registration with one of each subnet in it, one of each work.

They are for people and are never looked up; what counts as registered does not depend on them.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.registry.claims import CLAIM_TAG, Claim, held_claim, is_in_flight, look, renewed
from ofa_pipeline.registry.fields import OWNER, OWNER_TAG
from ofa_pipeline.registry.logged_dataset import dataset_entity
from ofa_pipeline.registry.protocol import DatasetNotes, RunNotes, WorkNotes
from ofa_pipeline.registry.record import SubnetRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

KIND_TAG = "ofa.run"
"""What a run is of: `REGISTRATION`, `SUBNET`, or the stage whose work it shows."""
REGISTRATION = "registration"
SUBNET = "subnet"
WORK_TAG = "ofa.artifact_digest"
"""Digest of the artifact that a run of some work shows."""
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
_PARAMS_AT_ONCE = 100
"""MLflow takes no more in one request."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run of the registry that registers, and the claim of its process."""

    id: str
    claim: Claim
    notes: RunNotes
    works: Mapping[str, str] = field(default_factory=dict)
    """Runs of the works that the notes name, by digest."""

    def is_about(self, record: SubnetRecord) -> bool:
        """Whether a subnet was tested on the dataset of the registration."""
        dataset = self.notes.dataset
        return dataset is not None and dataset.digest == record.dataset_digest


@contextmanager
def open_run(
    client: "MlflowClient", experiment_id: str, notes: RunNotes, *, works: Mapping[str, str]
) -> Iterator[OpenRun]:
    """Open a run for the body, which says for as long as it is open that its owner lives.

    Args:
        client: Of MLflow.
        experiment_id: Where the run is.
        notes: What it shows.
        works: Runs of the works that the notes name, by digest.
    """
    with held_claim() as claim:
        tags = {KIND_TAG: REGISTRATION, **_tags(claim, notes.tags, notes.description)}
        run = client.create_run(experiment_id, run_name=notes.name, tags=tags)
        run_id: str = run.info.run_id
        status = "FAILED"
        try:
            with renewed(lambda: client.set_tag(run_id, CLAIM_TAG, claim.to_tag())):
                _log_params(client, run_id, notes.params)
                _log_metrics(client, run_id, notes.metrics)
                _log_dataset(client, run_id, notes.dataset, "training")
                _log_files(client, run_id, notes.files)
                yield OpenRun(run_id, claim, notes, works)
            status = "FINISHED"
        finally:
            _end(client, run_id, status)


def begin_subnet_run(
    client: "MlflowClient", experiment_id: str, *, name: str, parent: OpenRun
) -> str:
    """Begin the run of a subnet within a registration and return its id.

    It is ended before the mark that makes the subnet count, so one that is left running belongs
    to nothing.
    """
    source = {key: value for key, value in parent.notes.tags.items() if key.startswith("mlflow.")}
    tags = {OWNER_TAG: OWNER, KIND_TAG: SUBNET, PARENT_TAG: parent.id, **source}
    return str(client.create_run(experiment_id, run_name=name, tags=tags).info.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetFigures:
    """What the run of a subnet shows."""

    params: Mapping[str, str]
    on_images: Mapping[str, float]
    """Figures that say something about the test images."""
    others: Mapping[str, float]
    dataset: DatasetNotes | None
    """That the test images are of."""


def log_subnet(
    client: "MlflowClient", run_id: str, figures: SubnetFigures, *, model_id: str
) -> None:
    """Write the figures of a subnet to its run and its model."""
    from mlflow.entities import LoggedModelOutput, Metric, Param

    now, dataset = int(time.time() * 1000), figures.dataset
    on = {"dataset_name": dataset.name, "dataset_digest": dataset.short_digest} if dataset else {}
    metrics = [
        *(Metric(k, v, now, 0, model_id=model_id, **on) for k, v in figures.on_images.items()),
        *(Metric(k, v, now, 0, model_id=model_id) for k, v in figures.others.items()),
    ]
    params = [Param(key, value) for key, value in figures.params.items()]
    client.log_batch(run_id, metrics=metrics, params=params)
    _log_dataset(client, run_id, dataset, "testing")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def remove_subnet_run(client: "MlflowClient", run_id: str | None) -> None:
    """Remove the run of a subnet that is taken back; a registration of several stays."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        return
    try:
        if client.get_run(run_id).data.tags.get(KIND_TAG) == SUBNET:
            client.delete_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def end_abandoned_runs(client: "MlflowClient", experiment_ids: list[str]) -> None:
    """End the registrations that killed processes left running, and remove their other runs.

    Of a process on another machine that shows only when it has been silent from one look to a
    later one, by this process or another.
    """
    if not experiment_ids:
        return
    has_ended: dict[str, bool] = {}
    # With the tag in the filter, MLflow would go through those of all runs that ever were.
    for run in client.search_runs(experiment_ids, filter_string="attributes.status = 'RUNNING'"):
        if run.data.tags.get(OWNER_TAG) != OWNER:
            continue
        # Those of subnets are written by whoever writes the registration.
        owner_id = run.data.tags.get(PARENT_TAG) or run.info.run_id
        if owner_id not in has_ended:
            has_ended[owner_id] = _has_ended(client, owner_id)
        # Read again, now that its owner can write no more: it may have ended as it should.
        if not has_ended[owner_id] or client.get_run(run.info.run_id).info.status != "RUNNING":
            continue
        if run.data.tags.get(KIND_TAG, REGISTRATION) == REGISTRATION:
            client.set_terminated(run.info.run_id, status="KILLED")
        else:
            client.delete_run(run.info.run_id)


def _has_ended(client: "MlflowClient", run_id: str) -> bool:
    """Whether nobody writes a run any more; what says so only later is written down there."""
    tags = client.get_run(run_id).data.tags
    in_flight = is_in_flight(tags)
    if in_flight is not None:
        return not in_flight
    seen = look(tags)
    for key, value in seen.note.items():
        client.set_tag(run_id, key, value)
    return seen.has_ended


def log_once(client: "MlflowClient", experiment_id: str, work: WorkNotes) -> str:
    """Write the run of some finished work, unless it is there, and return its id.

    Where another process wrote the same meanwhile, the run with the lowest id stays.
    """
    found = runs_of(client, [experiment_id], work.digest)
    if found:
        return found[0]
    with held_claim() as claim:
        tags = {WORK_TAG: work.digest, KIND_TAG: work.kind}
        tags |= _tags(claim, work.tags, work.description)
        ended_ms = int((work.ended_s or time.time()) * 1000)
        started_ms = ended_ms - int(work.duration_s * 1000)
        run = client.create_run(experiment_id, started_ms, tags=tags, run_name=work.name)
        run_id: str = run.info.run_id
        is_written = False
        try:
            with renewed(lambda: client.set_tag(run_id, CLAIM_TAG, claim.to_tag())):
                _log_params(client, run_id, work.params)
                client.log_batch(run_id, metrics=_points(work, started_ms, ended_ms))
                _log_dataset(client, run_id, work.dataset, "training")
                _log_files(client, run_id, work.files)
            client.delete_tag(run_id, CLAIM_TAG)
            client.set_terminated(run_id, end_time=ended_ms)
            is_written = True
        finally:
            if not is_written:
                with suppress(Exception):  # what stays without a living owner the next one removes
                    client.delete_run(run_id)
    first, *others = runs_of(client, [experiment_id], work.digest) or [run_id]
    for other in others:
        client.delete_run(other)
    return first


def runs_of(client: "MlflowClient", experiment_ids: list[str], digest: str) -> list[str]:
    """Return the finished runs of the work that an artifact shows, by id."""
    runs = client.search_runs(
        experiment_ids,
        # Who owns them is no condition: MLflow would look for it among the tags of all runs.
        filter_string=f"attributes.status = 'FINISHED' and tags.`{WORK_TAG}` = '{digest}'",
    )
    return sorted(str(run.info.run_id) for run in runs)


def _points(work: WorkNotes, started_ms: int, ended_ms: int) -> "list[Metric]":
    """Return the figures of some work: those of each epoch at their step, evenly in time."""
    from mlflow.entities import Metric

    points = [Metric(key, value, ended_ms, 0) for key, value in work.metrics.items()]
    for key, values in work.curves.items():
        for index, value in enumerate(values, start=1):
            at_ms = started_ms + (ended_ms - started_ms) * index // len(values)
            points.append(Metric(key, value, at_ms, index))
    return points


def _tags(claim: Claim, tags: Mapping[str, str], description: str) -> dict[str, str]:
    note = {NOTE_TAG: description} if description else {}
    return {OWNER_TAG: OWNER, CLAIM_TAG: claim.to_tag(), **tags, **note}


def _log_metrics(client: "MlflowClient", run_id: str, metrics: Mapping[str, float]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, value, now, 0) for key, value in metrics.items()])


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    given = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(given), _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=given[start : start + _PARAMS_AT_ONCE])


def _log_dataset(
    client: "MlflowClient", run_id: str, dataset: DatasetNotes | None, context: str
) -> None:
    from mlflow.entities import DatasetInput, InputTag

    if dataset:
        tags = [InputTag("mlflow.data.context", context)]
        client.log_inputs(run_id, [DatasetInput(dataset_entity(dataset), tags)])


def _log_files(client: "MlflowClient", run_id: str, files: Mapping[str, tuple[Path, ...]]) -> None:
    for folder, paths in files.items():
        for path in paths:
            client.log_artifact(run_id, str(path), artifact_path=folder or None)


def _end(client: "MlflowClient", run_id: str, status: str) -> None:
    with suppress(Exception):  # an outage, which the body has met: the next run ends this one
        client.delete_tag(run_id, CLAIM_TAG)
    client.set_terminated(run_id, status=status)
