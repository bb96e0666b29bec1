"""Tables of measured subnets in the reference's words: ``ks``, ``e``, ``d``, ``image_size``.

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
from ofa_pipeline.predictor.metrics import pooled_noise

_NEEDED = ("ks", "e", "d", "image_size", "top1", "macs")
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
        space: That the subnets are of.

    Raises:
        ParamsError: If the file is missing or no such table, or a value is not a number, not
            positive, or not a percentage; the message names the rows.
        ArchError: If a subnet is not of the space.
    """
    table = _read(path)
    accuracy = np.array(table["top1"].to_pylist(), dtype=np.float64) / 100
    macs = np.array(table["macs"].to_pylist(), dtype=np.float64)
    bad = ~(np.isfinite(accuracy) & (accuracy > 0) & (accuracy <= 1))
    _refuse(path, bad, "top1 must be a percentage above 0", accuracy * 100)
    _refuse(path, ~(np.isfinite(macs) & (macs > 0)), "macs must be a positive number", macs)
    genes = space.genes([_arch(space, row, path) for row in enumerate(_rows(table))])
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


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing: a table of measured subnets") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ParamsError(f"{path} must be a Parquet table: {error}") from error
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing or not table.num_rows:
        found = f"lacks {missing}" if missing else "is empty"
        raise ParamsError(f"{path} must hold rows with the columns {_NEEDED}; it {found}")
    return table


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select(["ks", "e", "d", "image_size"]).to_pylist()
    return rows


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
