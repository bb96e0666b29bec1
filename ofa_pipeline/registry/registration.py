"""How a subnet gets into the registry while others do the same, and what killed ones left goes.

A registry has no transactions over several requests, so registering is a protocol:

1. A LoggedModel with the claim of its owner says what is in flight. What another has in flight of
   the same content is waited for; what a dead owner left is removed.
2. Files and figures are written, then a version is made. The registry hands out version numbers one
   after the other, so whoever made a version sees every lower one.
3. With a lower version of the same content, whole or in flight, the own one is taken back. So of
   several the lowest stays, on whatever machines their owners are.
4. The mark `VERSION_TAG` makes it count, and the claim goes.

A writer that sleeps through all this and is taken for dead finds its LoggedModel gone before it can
set the mark, and starts over.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa_pipeline.registry.claims import CLAIM_TAG, Patience, renewed
from ofa_pipeline.registry.fields import (
    ACCURACY_METRIC,
    RECORD_TAG,
    VERSION_TAG,
    metrics_of,
    params_of,
    tags_of,
    text_of,
    title_of,
    version_tags_of,
)
from ofa_pipeline.registry.model_card import Links, model_card
from ofa_pipeline.registry.model_folder import write_model_folder
from ofa_pipeline.registry.pages import page_tags
from ofa_pipeline.registry.protocol import Entry
from ofa_pipeline.registry.reading import Made
from ofa_pipeline.registry.record import RegisteredSubnet, SubnetRecord
from ofa_pipeline.registry.runs import (
    OpenRun,
    SubnetFigures,
    begin_subnet_run,
    log_subnet,
    remove_subnet_run,
)
from ofa_pipeline.registry.server import ambient_tracking_uri
from ofa_pipeline.temporary import temporary_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

_POLL_S = 0.2
_SAY_AFTER_S = 5.0
ON_TEST = (ACCURACY_METRIC, "accuracy_top5", "parity_max_abs_difference", "parity_top1_agreement")
"""Figures that say something about the test images."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where registrations go, and what is looked up there."""

    client: "MlflowClient"
    versions: Any
    """As `Connection.models`."""
    tracking_uri: str
    experiment_id: str
    models_of: "Callable[[SubnetRecord], list[LoggedModel]]"
    """Returns those with the content of a record, complete or not."""
    lowest: "Callable[[Iterable[LoggedModel]], RegisteredSubnet | None]"
    """The lowest version among complete LoggedModels whose version and files exist."""
    made: Callable[[str, str], Made]
    """By registered model and content; see `Reader.made`."""


def register_one(entry: Entry, run: OpenRun, shelf: Shelf) -> RegisteredSubnet:
    """Register one subnet, or return what another process has registered meanwhile."""
    patience = Patience()
    while True:
        found = _settle(entry.record, patience, shelf) or _add(entry, run, shelf)
        if found is not None:
            return found
        time.sleep(_POLL_S)


def _settle(record: SubnetRecord, patience: Patience, shelf: Shelf) -> RegisteredSubnet | None:
    """Wait for what others have in flight of the same content, and remove remains.

    Remains are what a dead process left, and what has lost its files or its version.

    Returns:
        What is registered; None when nothing is registered or in flight.
    """
    say_at = time.monotonic() + _SAY_AFTER_S
    while True:
        models = shelf.models_of(record)
        found = shelf.lowest(model for model in models if VERSION_TAG in model.tags)
        if found is not None:
            return found
        ended = [model for model in models if _is_at_an_end(model, patience)]
        has_removed = [_remove_remains(record.model_name, model, shelf) for model in ended]
        if len(ended) == len(models) and all(has_removed):
            return None
        if time.monotonic() > say_at:
            say_at = float("inf")
            _log.warning("%s is being registered by another process: waiting", record.label)
        time.sleep(_POLL_S)


def _is_at_an_end(model: "LoggedModel", patience: Patience) -> bool:
    if VERSION_TAG in model.tags:
        return True  # complete, and yet not whole
    return patience.is_at_an_end(model.model_id, model.tags)


def _remove_remains(model_name: str, model: "LoggedModel", shelf: Shelf) -> bool:
    """Remove what nobody writes any more; False when somebody did meanwhile."""
    if VERSION_TAG not in model.tags:
        with _gone_is_fine():
            # Read again: its owner may have been faster, or show that it lives after all.
            tags = shelf.client.get_logged_model(model.model_id).tags
            if VERSION_TAG in tags or tags.get(CLAIM_TAG) != model.tags.get(CLAIM_TAG):
                return False
    _remove(model_name, model.model_id, model.source_run_id, shelf)
    return True


def _add(entry: Entry, run: OpenRun, shelf: Shelf) -> RegisteredSubnet | None:
    """Write one subnet: files, figures, version, and last the mark that makes it count.

    Returns:
        None when another process was faster, or took this one for dead; what was written is
        taken back.
    """
    record, client, claim = entry.record, shelf.client, run.claim
    name = f"{record.arch.arch_id} on {record.device}"
    run_id = begin_subnet_run(client, shelf.experiment_id, name=name, parent=run)
    model_id, is_complete = "", False
    try:
        model_id = _begin_model(record, run_id, run, shelf)
        links = Links(shelf.experiment_id, run_id=run_id, works=run.works)
        card = model_card(entry, model_id=model_id, links=links)
        with renewed(lambda: client.set_logged_model_tags(model_id, {CLAIM_TAG: claim.to_tag()})):
            _write(entry, run, Place(run_id, model_id, card), shelf)
            version = _version_that_stays(record, model_id, shelf)
        if version is None:
            return None
        client.set_terminated(run_id)
        mark = {VERSION_TAG: str(version), **page_tags(record, version, card)}
        client.set_logged_model_tags(model_id, mark)
        is_complete = True
        client.delete_logged_model_tag(model_id, CLAIM_TAG)
    except Exception:
        if is_complete or not _is_taken_away(model_id, shelf):
            raise
        _log.warning("%s was taken for abandoned by another process: starting over", record.label)
        return None
    finally:
        if not is_complete:
            with suppress(Exception):  # what stays without a living owner the next one removes
                _remove(record.model_name, model_id, run_id, shelf)
    return RegisteredSubnet(record=record, version=version)


def _is_taken_away(model_id: str, shelf: Shelf) -> bool:
    """Whether somebody has removed a LoggedModel; False where nobody can be asked."""
    from mlflow.exceptions import MlflowException

    try:
        shelf.client.get_logged_model(model_id)
    except MlflowException as error:
        return bool(model_id) and error.error_code == "RESOURCE_DOES_NOT_EXIST"
    return False


def _begin_model(record: SubnetRecord, run_id: str, run: OpenRun, shelf: Shelf) -> str:
    model = shelf.client.create_logged_model(
        experiment_id=shelf.experiment_id,
        name=title_of(record),
        source_run_id=run_id,
        tags=tags_of(record) | {RECORD_TAG: text_of(record), CLAIM_TAG: run.claim.to_tag()},
        params=params_of(record),
        model_type="subnet",
    )
    return str(model.model_id)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one subnet is written, and what stands on its page."""

    run_id: str
    model_id: str
    card: str


def _write(entry: Entry, run: OpenRun, place: Place, shelf: Shelf) -> None:
    """Write files, figures and version."""
    record, client, model_id = entry.record, shelf.client, place.model_id
    with _temporary_files() as temporary:
        write_model_folder(entry.bundle_folder, temporary / "model")
        client.log_model_artifacts(model_id, str(temporary / "model"))
    metrics = metrics_of(record)
    figures = SubnetFigures(
        params=params_of(record),
        on_images={key: value for key, value in metrics.items() if key in ON_TEST},
        others={key: value for key, value in metrics.items() if key not in ON_TEST},
        dataset=run.notes.dataset if run.is_about(record) else None,
    )
    log_subnet(client, place.run_id, figures, model_id=model_id)
    client.finalize_logged_model(model_id, "READY")
    with ambient_tracking_uri(shelf.tracking_uri):
        client.create_model_version(
            record.model_name,
            source=f"models:/{model_id}",
            run_id=place.run_id,
            model_id=model_id,
            tags=version_tags_of(record),
            description=place.card,
        )


def _version_that_stays(record: SubnetRecord, model_id: str, shelf: Shelf) -> int | None:
    """Return the own version; None when another process has a lower one of the same content.

    A version that was made twice, because a request was sent again, is taken back once.
    """
    made, own = shelf.made(record.model_name, record.bundle_digest), f"models:/{model_id}"
    numbers = [number for number, source in made if source == own]
    if not numbers:
        return None  # taken for dead, and taken away
    for number in numbers[1:]:
        shelf.versions.delete_model_version(record.model_name, str(number))
    lower = {source for number, source in made if number < numbers[0]}
    for model in shelf.models_of(record) if lower else []:
        if f"models:/{model.model_id}" in lower and (
            VERSION_TAG in model.tags or not _is_at_an_end(model, Patience())
        ):
            return None
    return numbers[0]


def _remove(model_name: str, model_id: str, run_id: str | None, shelf: Shelf) -> None:
    """Remove a LoggedModel, its versions and its run; somebody else may be doing the same."""
    remove_subnet_run(shelf.client, run_id)
    if not model_id:
        return
    found = shelf.client.search_model_versions(
        f"name='{model_name}' and source_path='models:/{model_id}'"
    )
    for version in found:
        with _gone_is_fine():
            shelf.versions.delete_model_version(model_name, version.version)
    with _gone_is_fine():
        shelf.client.delete_logged_model(model_id)


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


@contextmanager
def _temporary_files() -> Iterator[Path]:
    """Give a folder that the next run sweeps, and have MLflow put its own temporary files there."""
    with temporary_folder("register") as folder:
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before
