"""Tables of measured subnets with the reference's columns ``ks``, ``e``, ``d``, ``image_size``.

The schema of published measurements (IntelLabs/DyNAS-T). Percentages become fractions here, and
nowhere else.
"""

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
    accuracy = np.array(table["top1"].to_pylist(), dtype=np.float64) / 100
    macs = np.array(table["macs"].to_pylist(), dtype=np.float64)
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
    if chosen not in others:
        raise ParamsError(
            f"{path}: say which column is {quantity}; got {column}, the table has {others}"
        )
    values = np.array(table[chosen].to_pylist(), dtype=np.float64)
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
    except (pa.ArrowInvalid, OSError) as error:
        raise ParamsError(f"{path} must be a Parquet table: {error}") from error
    missing = [name for name in needed if name not in table.column_names]
    if missing or not table.num_rows:
        found = f"lacks {missing}" if missing else "is empty"
        raise ParamsError(f"{path} must hold rows with the columns {needed}; it {found}")
    return table


def _genes(space: SearchSpace, table: pa.Table, path: Path) -> Genes:
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
