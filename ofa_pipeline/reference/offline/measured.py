"""Tables of measured subnets with the reference's columns ``ks``, ``e``, ``d``, ``image_size``.

The schema of published measurements (IntelLabs/DyNAS-T). Percentages become fractions here, and
nowhere else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ofa_pipeline.arch import Arch, FloatArray, Genes, SearchSpace
from ofa_pipeline.errors import ArchError, ParamsError
from ofa_pipeline.predictor import pooled_noise

_ARCH = ("ks", "e", "d", "image_size")
_NUM_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTable:
    """Measured subnets, each architecture once, in the order of their first measurement."""

    space: SearchSpace
    genes: Genes
    accuracy: FloatArray
    """Fractions; the mean where an architecture was measured several times."""
    macs: FloatArray
    label_noise: float
    """Standard deviation between measurements of one architecture, a fraction; 0 if unknown."""
    num_rows: int
    num_repeated: int
    """Architectures with several rows."""


def read_measured_table(path: Path, space: SearchSpace) -> MeasuredTable:
    """Read and check a table of measured subnets.

    Args:
        path: Parquet with the columns ``ks``, ``e``, ``d``, ``image_size``, ``top1`` (percent)
            and ``macs``.
        space: The search space of the subnets.

    Raises:
        ParamsError: If the file is missing or lacks a column, or a value is not a positive number
            or not a percentage; the message names the rows.
        ArchError: If a subnet is not in the space.
    """
    table = _read(path, (*_ARCH, "top1", "macs"))
    accuracy = _numbers(path, table, "top1") / 100
    macs = _numbers(path, table, "macs")
    bad = ~(np.isfinite(accuracy) & (accuracy > 0) & (accuracy <= 1))
    _refuse(path, bad, "top1 must be a percentage above 0", accuracy * 100)
    _refuse(path, ~(np.isfinite(macs) & (macs > 0)), "macs must be a positive number", macs)
    genes = _genes(space, table, path)
    _, first, inverse = np.unique(genes, axis=0, return_index=True, return_inverse=True)
    groups = [accuracy[inverse.reshape(-1) == index] for index in range(len(first))]
    order = np.argsort(first)
    return MeasuredTable(
        space=space,
        genes=genes[first[order]],
        accuracy=np.array([groups[index].mean() for index in order]),
        macs=macs[first[order]],
        label_noise=pooled_noise(groups),
        num_rows=len(genes),
        num_repeated=sum(len(group) > 1 for group in groups),
    )


def read_column(
    path: Path, space: SearchSpace, *, column: str | None, quantity: str
) -> tuple[Genes, FloatArray]:
    """Read one measured quantity of such a table, for example a latency.

    Args:
        path: Parquet with the architecture's columns and the named one.
        space: The search space of the subnets.
        column: The quantity's column; may be left out where the table has only one more column.
        quantity: The quantity's name, for the error message.

    Returns:
        Genes and values, each architecture once with the mean of its values.

    Raises:
        ParamsError: If the file or the column is missing, or a value is not a positive number.
        ArchError: If a subnet is not in the space.
    """
    table = _read(path, _ARCH)
    others = [name for name in table.column_names if name not in _ARCH]
    chosen = others[0] if column is None and len(others) == 1 else column
    if chosen is None or chosen not in others:
        raise ParamsError(
            f"{path}: say which column is {quantity}; got {column}, the table has {others}"
        )
    values = _numbers(path, table, chosen)
    bad = ~(np.isfinite(values) & (values > 0))
    _refuse(path, bad, f"{chosen} must be a positive number", values)
    unique, inverse = np.unique(_genes(space, table, path), axis=0, return_inverse=True)
    counts = np.bincount(inverse.reshape(-1))
    return unique, np.bincount(inverse.reshape(-1), weights=values) / counts


def _read(path: Path, needed: tuple[str, ...]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing: a table of measured subnets") from error
    except (pa.ArrowException, OSError) as error:
        raise ParamsError(f"{path} must be a Parquet table: {error}") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing or not table.num_rows:
        found = f"lacks {missing}" if missing else "is empty"
        raise ParamsError(f"{path} must hold rows with the columns {needed}; it {found}")
    return table


def _numbers(path: Path, table: pa.Table, name: str) -> FloatArray:
    """Return a column of numbers; NaN where a row has none.

    Raises:
        ParamsError: If it holds something else.
    """
    if not _is_number(table.schema.field(name).type):
        raise ParamsError(
            f"{path}: {name} must be a column of numbers, but is one of "
            f"{table.schema.field(name).type}"
        )
    return np.array(table[name].to_pylist(), dtype=np.float64)


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _check_archs(path: Path, table: pa.Table) -> None:
    """Check the columns of architectures: a missing value would be the largest choice.

    Raises:
        ParamsError: If one holds something else than numbers, or nothing; names the row.
    """
    for name in _ARCH:
        kind, is_list = table.schema.field(name).type, name != "image_size"
        inner = _list_type(kind) if is_list else kind
        if inner is None or not _is_number(inner):
            wanted = "lists of numbers" if is_list else "numbers"
            raise ParamsError(f"{path}: {name} must be a column of {wanted}, but is one of {kind}")
        for row, value in enumerate(table[name].to_pylist()):
            values = value if is_list and value is not None else [value]
            fits = math.isfinite if name == "e" else _is_whole
            if not all(one is not None and fits(one) for one in values):
                what = "numbers" if name == "e" else "whole numbers"
                raise ParamsError(f"{path}: {name} must hold {what}, got {value} in row {row}")


def _is_whole(number: float) -> bool:
    return float(number).is_integer()


def _list_type(kind: pa.DataType) -> pa.DataType | None:
    types = pa.types
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return kind.value_type if is_list else None


def _genes(space: SearchSpace, table: pa.Table, path: Path) -> Genes:
    _check_archs(path, table)
    rows = table.select(list(_ARCH)).to_pylist()
    return space.genes([_arch(space, row, path) for row in enumerate(rows)])


def _arch(space: SearchSpace, numbered: tuple[int, Mapping[str, Any]], path: Path) -> Arch:
    number, row = numbered
    try:
        return space.arch(
            resolution_px=row["image_size"],
            depths=row["d"],
            kernel_sizes=row["ks"],
            expand_ratios=[float(ratio) for ratio in row["e"]],
        )
    except (ArchError, TypeError) as error:
        raise ArchError(f"{path}, row {number}: {error}") from error


def _refuse(path: Path, bad: Sequence[bool] | np.ndarray, rule: str, values: FloatArray) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        found = ", ".join(f"{values[row]:g} in row {row}" for row in rows[:_NUM_LISTED])
        raise ParamsError(f"{path}: {rule}, got {found} ({len(rows)} such rows)")
