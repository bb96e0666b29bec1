"""Tables as Parquet files with declared schemas: every column says its unit and its kind.

A schema is a constant here, so that whoever writes a table and whoever reads it hold the same
one. `write_table` and `read_table` refuse anything that does not fit it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ofa_pipeline.arch import Arch
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError

Kind = Literal["measured", "estimated", "computed", "given"]
"""Where a number is from: an experiment, a model, an exact derivation, our choice."""


def column(
    name: str,
    data_type: pa.DataType,
    *,
    unit: str | None = None,
    kind: Kind | None = None,
    nullable: bool = False,
) -> pa.Field:
    """Declare one column of a schema.

    Args:
        name: Ends in the unit where that is the house style (``latency_ms``).
        data_type: An Arrow type.
        unit: In words or symbols; None for names, identifiers and texts.
        kind: Where the number comes from; None for names, identifiers and texts.
        nullable: Whether a value may be missing.
    """
    given = {"unit": unit, "kind": kind}
    metadata = {key: value for key, value in given.items() if value is not None}
    return pa.field(name, data_type, nullable=nullable, metadata=metadata or None)


ARCH_COLUMNS = (
    column("arch_id", pa.string()),
    column("arch", pa.string()),
    column("resolution_px", pa.int64(), unit="pixels", kind="given"),
    column("macs", pa.int64(), unit="multiply-accumulates an image", kind="computed"),
    column("num_params", pa.int64(), unit="parameters", kind="computed"),
)
"""What every table of architectures begins with; ``arch`` is JSON of `Arch.to_dict`."""

QUARANTINE_SCHEMA = pa.schema(
    [
        column("path", pa.string()),
        column("label", pa.int64(), unit="class index", kind="given", nullable=True),
        column("reason", pa.string()),
    ]
)
"""Files of a source that are not in the dataset, and why; no label where they are in no class."""

HISTORY_SCHEMA = pa.schema(
    [
        column("phase", pa.string()),
        column("epoch", pa.int64(), unit="passes over the training images", kind="given"),
        column("learning_rate", pa.float64(), unit="of the epoch's last step", kind="given"),
        column("loss", pa.float64(), unit="nats an image, labels and teacher", kind="measured"),
        column(
            "accuracy_top1_largest",
            pa.float64(),
            unit="fraction of selection images",
            kind="measured",
        ),
        column(
            "accuracy_top1_smallest",
            pa.float64(),
            unit="fraction of selection images",
            kind="measured",
        ),
    ]
)
"""One row an epoch of a phase; the smallest is that of the phase, the largest that of all."""

ACCURACY_SCHEMA = pa.schema(
    [
        *ARCH_COLUMNS,
        column("accuracy_top1", pa.float64(), unit="fraction", kind="measured"),
        column("num_images", pa.int64(), unit="images evaluated", kind="given"),
        column("calibration_draw", pa.int64()),
    ]
)
"""One row a subnet and draw of calibration images; draw 0 is what subnets are compared with,
further draws of the same subnet show the label noise."""

LATENCY_SCHEMA = pa.schema(
    [
        *ARCH_COLUMNS,
        column("p50_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("p95_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("ci_low_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("ci_high_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("num_runs", pa.int64(), unit="timed calls", kind="given"),
        column("latency_ms_estimated", pa.float64(), unit="milliseconds a call", kind="estimated"),
        column("role", pa.string()),
        column("load_ms", pa.float64(), unit="milliseconds", kind="measured", nullable=True),
        column("first_call_ms", pa.float64(), unit="milliseconds", kind="measured", nullable=True),
        column("peak_memory_mb", pa.float64(), unit="megabytes", kind="measured", nullable=True),
        column("network_memory_mb", pa.float64(), unit="megabytes", kind="measured", nullable=True),
    ]
)
"""One row a measurement of a subnet: what the model is fitted to (fit), what it is checked on
(holdout), the reference network (reference), the same subnets once more (repeat). See
`LatencyMeasurement` for the last four, which tables of earlier versions lack."""

_ESTIMATED_ACCURACY = (
    column("accuracy_top1_estimated", pa.float64(), unit="fraction", kind="estimated"),
    column("accuracy_std_estimated", pa.float64(), unit="fraction", kind="estimated"),
)

CROSS_VALIDATION_SCHEMA = pa.schema(
    [
        *ARCH_COLUMNS,
        column("accuracy_top1", pa.float64(), unit="fraction", kind="measured"),
        *_ESTIMATED_ACCURACY,
        column("fold", pa.int64()),
    ]
)
"""One row a measured subnet, estimated by a predictor that did not learn from its fold."""

FRONT_SCHEMA = pa.schema(
    [
        *ARCH_COLUMNS,
        *_ESTIMATED_ACCURACY,
        column("latency_ms_estimated", pa.float64(), unit="milliseconds a call", kind="estimated"),
    ]
)
"""One row an efficient subnet, by ascending estimated latency."""

EVALUATIONS_SCHEMA = pa.schema(
    [
        *ARCH_COLUMNS,
        column("accuracy_top1_selection", pa.float64(), unit="fraction", kind="measured"),
        *_ESTIMATED_ACCURACY,
        column("p50_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("p95_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("ci_low_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("ci_high_ms", pa.float64(), unit="milliseconds a call", kind="measured"),
        column("num_runs", pa.int64(), unit="timed calls", kind="given"),
        column("latency_ms_estimated", pa.float64(), unit="milliseconds a call", kind="estimated"),
        column("round", pa.int64(), unit="round of predict, verify, refit", kind="given"),
        column("role", pa.string()),
    ]
)
"""One row a verified subnet, in the order of verification; the role is exploit, explore or, of an
Optuna sampler, sample."""

PREDICTIONS_SCHEMA = pa.schema(
    [
        column("arch_id", pa.string()),
        column("image", pa.int64(), unit="position in the test split", kind="given"),
        column("label", pa.int64(), unit="class index", kind="given"),
        column("predicted", pa.int64(), unit="class index", kind="measured"),
    ]
)
"""One row a shipped subnet and test image."""


def arch_columns(
    archs: Sequence[Arch], *, macs: Iterable[int], num_params: Iterable[int]
) -> dict[str, Any]:
    """Return the values of `ARCH_COLUMNS`.

    Args:
        archs: One a row.
        macs: Multiply-accumulates of an image, one a row.
        num_params: Number of parameters, one a row.
    """
    return {
        "arch_id": [arch.arch_id for arch in archs],
        "arch": [json.dumps(arch.to_dict(), sort_keys=True) for arch in archs],
        "resolution_px": [arch.resolution_px for arch in archs],
        "macs": [int(value) for value in macs],
        "num_params": [int(value) for value in num_params],
    }


def archs_of(table: pa.Table) -> list[Arch]:
    """Return the architectures of a table that begins with `ARCH_COLUMNS`, in row order."""
    return [Arch.from_dict(json.loads(text)) for text in table["arch"].to_pylist()]


def write_table(path: Path, schema: pa.Schema, columns: Mapping[str, Any]) -> None:
    """Write a Parquet file, whole or not at all.

    Args:
        path: Path of the file; its folder is made when it is missing.
        schema: The columns in order, with units and kinds.
        columns: Values of each column: a list, a numpy array or an Arrow array. All have the
            same length.

    Raises:
        ValueError: If the columns are not those of the schema, their lengths differ, a value
            does not fit its type, or one is missing where none may be.
    """
    table = _as_table(schema, columns, origin=str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    try:
        pq.write_table(table, temporary, compression="zstd")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a Parquet file that `write_table` wrote.

    A last column whose values may be missing came later: in a table that lacks it, they are.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is no Parquet file, or its columns, types, units or kinds
            are not those of the schema.
    """
    remedy = "Run the stage that writes it again: ofa-pipeline run"
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise MissingArtifactError(f"{path} is missing. {remedy}") from error
    except pa.ArrowInvalid as error:
        raise ManifestMismatchError(f"{path} is not a Parquet table: {error}. {remedy}") from error
    for field in schema:
        if field.nullable and field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    difference = _first_difference(schema, table.schema)
    if difference:
        raise ManifestMismatchError(f"{path} must fit its schema: {difference}. {remedy}")
    return table


def _as_table(schema: pa.Schema, columns: Mapping[str, Any], *, origin: str) -> pa.Table:
    missing = [name for name in schema.names if name not in columns]
    unknown = sorted(set(columns) - set(schema.names))
    if missing or unknown:
        raise ValueError(
            f"{origin}: the columns must be {schema.names}; missing {missing}, unknown {unknown}"
        )
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{origin}: the columns must have one length, got {lengths}")
    arrays = []
    for field in schema:
        try:
            array = pa.array(columns[field.name], type=field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"{origin}: column {field.name} must hold {field.type}: {error}"
            ) from error
        if array.null_count and not field.nullable:
            raise ValueError(
                f"{origin}: column {field.name} may not be empty, {array.null_count} of "
                f"{len(array)} values are"
            )
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema)


def _first_difference(expected: pa.Schema, found: pa.Schema) -> str:
    if expected.names != found.names:
        return f"its columns should be {expected.names}, found {found.names}"
    for one, other in zip(expected, found, strict=True):
        if one.type != other.type:
            return f"column {one.name} should be {one.type}, found {other.type}"
        if (one.metadata or {}) != (other.metadata or {}):
            return f"column {one.name} should say {one.metadata}, found {other.metadata}"
    return ""
