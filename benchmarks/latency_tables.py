"""How well latency is estimated from few measured subnets, on a table of measured latencies.

For each seed the table is split: a fifth is held out, the rest is the pool. From the pool some
subnets are chosen as the pipeline chooses what it measures, the model is fitted to them and
compared with the held-out subnets. One JSON object a seed:

    {"column", "train", "seed", "mape_percent", "median_percent", "within_5_percent",
     "within_10_percent", "tau"}

Shares are between 0 and 1. ``--details`` adds what the model says of itself: its form, the interval
and how many held-out subnets lie in it, outliers, the share that launching bounds.

Run: ``python benchmarks/latency_tables.py --table FILE --column NAME --train 20 --seeds 10``;
``--transfer-from NAME`` starts from another column's model, which is fitted to that column of the
pool; ``--choose random`` measures random subnets; ``--model first`` is the first model of this
project, for comparison; ``--model linear`` is least squares on all totals by block group, which
with 4,000 subnets is about as good as a sum can be (``--train 4000``).
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import nnls

from ofa_pipeline.arch import FloatArray, Genes, IntArray, SearchSpace
from ofa_pipeline.cost import latency_features
from ofa_pipeline.errors import OfaPipelineError, ParamsError
from ofa_pipeline.latency import LatencyFit, LatencyModel, choose_rows, fit_latency, report_errors
from ofa_pipeline.reference.offline.measured import read_column
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space

NUM_CLASSES = 1000
HELD_OUT = 0.2
MIN_HELD_OUT = 2
"""Fewer have no order."""
MIN_TRAIN = 5
LEAST_MS, MOST_MS = 1e-6, 1e9
"""From a nanosecond to twelve days."""
SOURCE_SUBNETS = 400
"""Of the pool, measured on the device that is transferred from, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of measured latencies."""

    space: SearchSpace
    genes: Genes
    latency_ms: FloatArray
    source_ms: FloatArray | None
    """Of the device that is transferred from."""
    totals: FloatArray
    """What subnets are chosen by."""


def main(arguments: list[str] | None = None) -> int:
    """Print the line of each seed."""
    options = _options(arguments)
    try:
        table = read(options)
        for seed in range(options.seeds):
            print(json.dumps(score(table, options, seed=seed)), flush=True)
    except OfaPipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def read(options: argparse.Namespace) -> Table:
    """Read the columns, and check that they and the number of subnets are possible."""
    if options.seeds < 1:
        raise ParamsError(f"--seeds must be 1 or more, got {options.seeds}")
    if options.transfer_from == options.column:
        raise ParamsError(
            f"--transfer-from must be another device than --column, got {options.column} for both"
        )
    space = reference_space(options.space)
    columns = [options.column, *([options.transfer_from] if options.transfer_from else [])]
    read_all = [
        read_column(options.table, space, column=name, quantity="a latency") for name in columns
    ]
    genes, latency_ms = read_all[0]
    repeated = pq.read_metadata(options.table).num_rows - len(genes)
    if repeated:
        print(f"note: {repeated} rows repeat an architecture; means count", file=sys.stderr)
    for name, (_, found_ms) in zip(columns, read_all, strict=True):
        _check(options.table, name, found_ms)
    held_out = round(HELD_OUT * len(genes))
    pool = len(genes) - held_out
    if held_out < MIN_HELD_OUT:
        raise ParamsError(
            f"{options.table} must have {round(MIN_HELD_OUT / HELD_OUT)} different subnets, of "
            f"which a fifth is held out, has {len(genes)}"
        )
    if options.train < MIN_TRAIN and options.model != "chosen":
        raise ParamsError(f"--train must be {MIN_TRAIN} or more, got {options.train}")
    if not 1 <= options.train <= pool:
        raise ParamsError(
            f"--train must be 1 to {pool}: a fifth of the {len(genes)} subnets of {options.table} "
            f"is held out, got {options.train}"
        )
    _, totals = latency_features(space, genes, num_classes=NUM_CLASSES)
    source_ms = read_all[1][1] if options.transfer_from else None
    return Table(
        space=space, genes=genes, latency_ms=latency_ms, source_ms=source_ms, totals=totals
    )


def _check(path: Path, name: str, latency_ms: FloatArray) -> None:
    """Check that a column can be latencies in milliseconds."""
    least, most = float(latency_ms.min()), float(latency_ms.max())
    if least == most and len(latency_ms) > 1:
        raise ParamsError(
            f"{path}: {name} must hold latencies that differ, but all of {len(latency_ms)} are "
            f"{least:g} ms"
        )
    if least < LEAST_MS or most > MOST_MS:
        raise ParamsError(
            f"{path}: {name} must be {LEAST_MS:g} to {MOST_MS:g} ms, got {least:g} to {most:g}"
        )


def score(table: Table, options: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    """Fit to the chosen subnets and compare estimates of the held-out ones with measurements."""
    order = np.random.default_rng(seed).permutation(len(table.genes))
    num_held_out = round(HELD_OUT * len(order))
    held_out, pool = order[:num_held_out], order[num_held_out:]
    chosen = pool[: options.train]
    if options.choose == "designed":
        chosen = pool[choose_rows(table.totals[pool], count=options.train)]
    measured = table.latency_ms[held_out]
    fit = None
    if options.model == "chosen":
        fit = _fit(table, chosen, _source(table, pool, options))
        estimated = fit.model.predict(table.space, table.genes[held_out])
    else:
        estimated = _BASELINES[options.model](table, chosen)[held_out]
    interval = fit.model.interval if fit else None
    report = report_errors(measured, estimated, interval=interval)
    assert report.median_error is not None
    line = {
        "column": options.column,
        "train": options.train,
        "seed": seed,
        "mape_percent": 100 * report.mape,
        "median_percent": 100 * report.median_error,
        "within_5_percent": report.share_within_5_percent,
        "within_10_percent": report.share_within_10_percent,
        "tau": report.kendall_tau,
    }
    if fit is not None and options.details:
        line |= _details(fit, report.coverage)
    return line


def _fit(table: Table, chosen: IntArray, sources: dict[str, LatencyModel]) -> LatencyFit:
    return fit_latency(
        table.space,
        table.genes[chosen],
        table.latency_ms[chosen],
        num_classes=NUM_CLASSES,
        sources=sources,
    )


def _source(table: Table, pool: IntArray, options: argparse.Namespace) -> dict[str, LatencyModel]:
    if table.source_ms is None:
        return {}
    known = pool[choose_rows(table.totals[pool], count=min(SOURCE_SUBNETS, len(pool)))]
    fit = fit_latency(
        table.space, table.genes[known], table.source_ms[known], num_classes=NUM_CLASSES
    )
    return {options.transfer_from: fit.model}


def _details(fit: LatencyFit, coverage: float | None) -> dict[str, Any]:
    interval = fit.model.interval
    assert interval is not None
    return {
        "form": fit.model.form,
        "has_residual": fit.model.residual is not None,
        "interval_percent": [100 * interval.low, 100 * interval.high],
        "stated_coverage": interval.coverage,
        "coverage": coverage,
        "outliers": int(fit.choice.form.is_outlier.sum()),
        "share_launch_bound": float(fit.is_launch_bound.mean()),
        "losses": fit.choice.losses,
    }


def _first_model(table: Table, chosen: IntArray) -> FloatArray:
    """Estimate all subnets as this project first did: ridge of 20 totals, Huber's weights."""
    names, totals = latency_features(table.space, table.genes, num_classes=NUM_CLASSES)
    kept = [not name.startswith("elementwise_") for name in names]
    rows = np.column_stack([np.ones(len(totals)), totals[:, kept]])
    learned, latency_ms = rows[chosen], table.latency_ms[chosen]
    folds = np.arange(len(chosen)) % min(len(chosen), 10)

    def held_out_error(penalty: float) -> float:
        errors = np.empty(len(chosen))
        for fold in range(int(folds.max()) + 1):
            kept = folds != fold
            costs = _ridge(learned[kept], latency_ms[kept], np.ones(kept.sum()), penalty)
            errors[~kept] = learned[~kept] @ costs / latency_ms[~kept] - 1
        return float(np.abs(errors).mean())

    penalty = min((float(value) for value in np.logspace(-4, 1, 16)), key=held_out_error)
    weights = np.ones(len(chosen))
    for _ in range(5):
        costs = _ridge(learned, latency_ms, weights, penalty)
        errors = np.abs(learned @ costs / latency_ms - 1)
        typical = max(1.48 * float(np.median(errors)), 0.005)
        weights = np.minimum(1, 1.5 * typical / np.maximum(errors, 1e-12))
    estimated: FloatArray = rows @ _ridge(learned, latency_ms, weights, penalty)
    return estimated


def _ridge(
    rows: FloatArray, latency_ms: FloatArray, weights: FloatArray, penalty: float
) -> FloatArray:
    relative = rows / latency_ms[:, None]
    scale = np.sqrt((relative**2).mean(axis=0))
    scale[scale == 0] = 1
    ridge = np.sqrt(penalty * len(rows)) * np.eye(rows.shape[1])[1:]
    root = np.sqrt(weights)
    system = np.concatenate([root[:, None] * relative / scale, ridge])
    costs: FloatArray = nnls(system, np.concatenate([root, np.zeros(len(ridge))]))[0] / scale
    return costs


def _linear_model(table: Table, chosen: IntArray) -> FloatArray:
    """Estimate all subnets by least squares of relative errors on totals by block group."""
    _, totals = latency_features(table.space, table.genes, num_classes=NUM_CLASSES, by_group=True)
    most = totals.max(axis=0)
    rows = np.column_stack([np.ones(len(totals)), totals / np.where(most == 0, 1, most)])
    relative = rows[chosen] / table.latency_ms[chosen][:, None]
    estimated: FloatArray = rows @ np.linalg.lstsq(relative, np.ones(len(chosen)))[0]
    return estimated


_BASELINES = {"first": _first_model, "linear": _linear_model}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--train", type=int, default=20, metavar="N")
    parser.add_argument("--seeds", type=int, default=10, metavar="N")
    parser.add_argument("--transfer-from", metavar="NAME", help="another column")
    parser.add_argument("--space", default="ofa_mbv3_d234_e346_k357_w1.0", choices=REFERENCE_SPACES)
    parser.add_argument("--choose", default="designed", choices=("designed", "random"))
    parser.add_argument("--model", default="chosen", choices=("chosen", *_BASELINES))
    parser.add_argument("--details", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
