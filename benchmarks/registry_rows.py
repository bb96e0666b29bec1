"""Copies a registered subnet many times by its rows: records and runs without files, in seconds."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import MetaData, Table, create_engine, select, text

from ofa_pipeline.registry import SubnetRecord
from ofa_pipeline.registry.fields import (
    DIGEST_TAG,
    MODEL_TAG,
    RECORD_TAG,
    VERSION_TAG,
    metrics_of,
    title_of,
)

OF_MODEL = ("logged_models", "logged_model_tags", "logged_model_params", "logged_model_metrics")
OF_VERSION = ("model_versions", "model_version_tags")
OF_RUN = ("runs", "tags")
CHUNK = 500

Row = dict[str, Any]


def copy_rows(uri: str, model_name: str, records: Iterable[SubnetRecord]) -> None:
    """Write LoggedModels and versions of records, like the first version of a model.

    Args:
        uri: Address of a database of MLflow.
        model_name: Of a registered model with version 1.
        records: Figures and digests of the copies.
    """
    engine = create_engine(uri)
    found = MetaData()
    tables = {
        name: Table(name, found, autoload_with=engine) for name in OF_MODEL + OF_VERSION + OF_RUN
    }
    with engine.begin() as connection:

        def rows_of(table: Table, wanted: Row) -> list[Row]:
            query = select(table).where(*(table.c[key] == value for key, value in wanted.items()))
            return [dict(row) for row in connection.execute(query).mappings()]

        first = {"name": model_name, "version": 1}
        version = rows_of(tables["model_versions"], first)[0]
        model = {"model_id": version["source"].removeprefix("models:/")}
        run = {"run_uuid": version["run_id"]}
        pattern = {name: rows_of(tables[name], model) for name in OF_MODEL}
        pattern |= {name: rows_of(tables[name], first) for name in OF_VERSION}
        pattern |= {name: rows_of(tables[name], run) for name in OF_RUN}
        numbered = enumerate(records, start=2)
        while part := list(islice(numbered, CHUNK)):
            for name, table in tables.items():
                rows = [
                    copied(name, row, record, number)
                    for number, record in part
                    for row in pattern[name]
                ]
                if rows:
                    connection.execute(table.insert(), rows)
        # Without statistics PostgreSQL takes half a minute for what it answers in milliseconds.
        connection.execute(text("ANALYZE"))
    engine.dispose()


def copied(table: str, row: Mapping[str, Any], record: SubnetRecord, number: int) -> Row:
    """Return a row of the copy of a subnet."""
    run_id = hashlib.md5(
        f"{record.model_name} {number}".encode(), usedforsecurity=False
    ).hexdigest()
    model_id = f"m-{run_id}"
    changed = dict(row)
    if table in OF_MODEL:
        changed["model_id"] = model_id
    elif table in OF_RUN:
        changed["run_uuid"] = run_id
    else:
        changed["version"] = number
    if table == "logged_models":
        changed["creation_timestamp_ms"] += number
        changed |= {"name": title_of(record), "source_run_id": run_id}
    elif table == "model_versions":
        changed |= {"source": f"models:/{model_id}", "run_id": run_id}
    elif table == "logged_model_tags":
        values = {
            MODEL_TAG: record.model_name,
            DIGEST_TAG: record.bundle_digest,
            RECORD_TAG: json.dumps(record.to_dict(), sort_keys=True),
            VERSION_TAG: str(number),
        }
        changed["tag_value"] = values.get(row["tag_key"], row["tag_value"])
    elif table == "model_version_tags" and row["key"] == DIGEST_TAG:
        changed["value"] = record.bundle_digest
    elif table == "logged_model_metrics":
        changed["metric_value"] = metrics_of(record)[row["metric_name"]]
    return changed
