"""What is registered already, brought up to what the present version writes: pages, records."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ofa_pipeline.registry.connection import Connection
from ofa_pipeline.registry.fields import (
    RECORD_TAG,
    of_bundle,
    read_model,
    text_of,
    version_tags_of,
)
from ofa_pipeline.registry.holdings import Holdings
from ofa_pipeline.registry.model_card import Links, model_card
from ofa_pipeline.registry.protocol import Entry
from ofa_pipeline.registry.record import (
    NewerRecordError,
    RegisteredSubnet,
    SubnetRecord,
    UnreadableRecordError,
)
from ofa_pipeline.registry.runs import NOTE_TAG

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

VERSIONS_TAG = "mlflow.modelVersions"
"""On a LoggedModel: the versions that MLflow shows on its page, as JSON.

MLflow's server sets it; in a database nobody does."""
_EARLIER_TAGS = (
    "accuracy_top5",
    "accuracy_top1_selection",
    "macs",
    "num_params",
    "parity_max_abs_difference",
    "parity_top1_agreement",
)
"""Figures that versions once bore as tags."""


def page_tags(record: SubnetRecord, version: int, card: str) -> dict[str, str]:
    """Return the tags by which the page of a LoggedModel shows its version and its card."""
    versions = [{"name": record.model_name, "version": str(version)}]
    return {VERSIONS_TAG: json.dumps(versions), NOTE_TAG: card}


def renew_pages(
    connection: Connection,
    entries: Sequence[Entry],
    registered: Mapping[str, RegisteredSubnet],
    *,
    works: Mapping[str, str],
) -> None:
    """Write the pages of versions that an earlier version of this package registered.

    Args:
        connection: To MLflow.
        entries: What was given to be registered.
        registered: What was there already, by the id of its LoggedModel.
        works: Runs of what they were made by, by digest.
    """
    by_content = {(entry.record.model_name, entry.record.bundle_digest): entry for entry in entries}
    for model_id, subnet in registered.items():
        entry = by_content[subnet.record.model_name, subnet.record.bundle_digest]
        model = connection.client.get_logged_model(model_id)
        if VERSIONS_TAG not in model.tags or NOTE_TAG not in model.tags:
            _renew(connection, entry, subnet.version, model, works)


def _renew(
    connection: Connection,
    entry: Entry,
    version: int,
    model: "LoggedModel",
    works: Mapping[str, str],
) -> None:
    """Write the card, the link and few tags; what else stood in tags is in the record."""
    name, number = entry.record.model_name, str(version)
    links = Links(model.experiment_id, run_id=model.source_run_id or "", works=works)
    card = model_card(entry, model_id=model.model_id, links=links)
    models = connection.models
    models.update_model_version(name, number, description=card)
    wanted = version_tags_of(entry.record)
    made = models.get_model_version(name, number)
    for key in made.tags.keys() - wanted.keys():
        if key.startswith(("ofa.", "latency_")) or key in _EARLIER_TAGS:
            models.delete_model_version_tag(name, number, key)
    for key, value in wanted.items():
        if made.tags.get(key) != value:
            models.set_model_version_tag(name, number, key, value)
    connection.client.set_logged_model_tags(model.model_id, page_tags(entry.record, version, card))


def renew_records(holdings: Holdings, connection: Connection, entries: Sequence[Entry]) -> bool:
    """Write the records anew that cannot be read, of what was given to be registered.

    Their content is known by its digest, so the record is the one that would be written now.

    Args:
        holdings: What lies in the registry.
        connection: To it.
        entries: What was given to be registered.

    Returns:
        Whether there was one.

    Raises:
        NewerRecordError: If a newer version of this package wrote it.
    """
    is_renewed = False
    for entry in entries:
        for model in holdings.models(of_bundle(entry.record)):
            try:
                read_model(model)
            except NewerRecordError:
                raise
            except UnreadableRecordError:
                tags = {RECORD_TAG: text_of(entry.record)}
                connection.client.set_logged_model_tags(model.model_id, tags)
                is_renewed = True
    return is_renewed
