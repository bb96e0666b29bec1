"""Stage ``fit_predictor``: fit the accuracy predictor, and report how far to trust it."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from ofa_pipeline.arch import FloatArray, SearchSpace
from ofa_pipeline.artifacts import Layout, read_json, write_artifact, write_json
from ofa_pipeline.documents import PredictorReport
from ofa_pipeline.params import PredictorParams
from ofa_pipeline.predictor import (
    LabeledSubnets,
    LabelNoise,
    Ranking,
    Validation,
    build_predictor,
    choose,
    labeled_subnets,
    learning_curve,
    save_predictor,
    validate_kinds,
    watch_ranking,
)
from ofa_pipeline.progress import Reporter
from ofa_pipeline.run_warnings import keep_warnings
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.tables import (
    ACCURACY_SCHEMA,
    CROSS_VALIDATION_SCHEMA,
    arch_columns,
    archs_of,
    read_table,
    write_table,
)

NAME = "fit_predictor"
_COLLECT = "ofa-pipeline stage collect_accuracy"
COMPARED_DRAW = 0
"""Of calibration images: what subnets are compared with."""


def run(context: StageContext) -> None:
    """Cross-validate, fit on all measured subnets, write the predictor and its report."""
    # One thread: the matrices are small, and sums in another order would change the last bits.
    with threadpool_limits(limits=1):
        _run(context)


def _run(context: StageContext) -> None:
    layout, params = context.layout, context.params.predictor
    space = context.params.space.build()
    table = read_table(layout.accuracy / "accuracy.parquet", ACCURACY_SCHEMA)
    label_noise = _label_noise(read_json(layout.accuracy / "noise.json", made_by=_COLLECT))
    noise = label_noise.std
    subnets, compared = compared_subnets(space, table)
    validations = validate_kinds(
        subnets,
        params.kind,
        folds=params.cross_validation_folds,
        seed=params.seed,
        reporter=context.reporter,
    )
    chosen = choose(validations, label_noise=noise)
    predictor = build_predictor(space, chosen.kind, seed=params.seed)
    predictor.fit(subnets.genes, subnets.accuracy)
    report = _report(validations, chosen, noise=noise)
    report["learning_curve"] = _learning_curve(subnets, chosen, params, context.reporter)
    with write_artifact(layout.predictor, **stage_inputs(find_stage(NAME), context)) as writer:
        save_predictor(predictor, writer.folder)
        write_json(
            writer.folder / Layout.PREDICTOR_REPORT, PredictorReport.from_dict(report).to_dict()
        )
        _write_validation(writer.folder / "cross_validation.parquet", chosen, space, compared)
        writer.summary.update(
            kind=chosen.kind,
            num_subnets=chosen.report.num_subnets,
            rmse_points=chosen.report.rmse_points,
            tau=chosen.report.tau,
            tau_top_decile=chosen.report.tau_top_decile,
            label_noise_points=100 * noise,
        )
        ranking = Ranking.of(chosen, label_noise)
        keep_warnings([watch_ranking(ranking)], writer, context.reporter)
    context.reporter.message(
        f"{chosen.kind}: cross-validated RMSE {chosen.report.rmse_points:.2f} points, "
        f"tau {chosen.report.tau:.2f}; label noise {100 * noise:.2f} points"
    )


def _label_noise(noise: Mapping[str, float]) -> LabelNoise:
    repeats = int(noise["num_draws"]) - 1
    return LabelNoise(
        std=float(noise["calibration_std"]), degrees=int(noise["num_repeated_subnets"]) * repeats
    )


def compared_subnets(space: SearchSpace, table: pa.Table) -> tuple[LabeledSubnets, pa.Table]:
    """Return the measured subnets of the draw that subnets are compared with, and their rows."""
    draws = np.array(table["calibration_draw"].to_pylist())
    compared = table.filter(pa.array(draws == COMPARED_DRAW))
    subnets = labeled_subnets(
        space,
        space.genes(archs_of(compared)),
        _column(compared, "accuracy_top1"),
        cost=_column(compared, "macs"),
    )
    return subnets, compared


def _column(table: pa.Table, name: str) -> FloatArray:
    return np.array(table[name].to_pylist(), dtype=np.float64)


def _report(validations: list[Validation], chosen: Validation, *, noise: float) -> dict[str, Any]:
    return {
        "kind": chosen.kind,
        "chosen_by": "regret after verifying 5 a budget; within the label noise, by RMSE",
        "label_noise_points": 100 * noise,
        **asdict(chosen.report),
        "candidates": {v.kind: asdict(v.report) for v in validations},
    }


def _learning_curve(
    subnets: LabeledSubnets, chosen: Validation, params: PredictorParams, reporter: Reporter
) -> list[dict[str, Any]]:
    reporter.message("learning curve")
    points = learning_curve(
        subnets, chosen.kind, folds=params.cross_validation_folds, seed=params.seed
    )
    return [asdict(point) for point in points]


def _write_validation(
    path: Path, chosen: Validation, space: SearchSpace, compared: pa.Table
) -> None:
    archs = space.archs(chosen.genes)
    costs = {
        arch_id: (macs, num_params)
        for arch_id, macs, num_params in zip(
            compared["arch_id"].to_pylist(),
            compared["macs"].to_pylist(),
            compared["num_params"].to_pylist(),
            strict=True,
        )
    }
    counts = [costs[arch.arch_id] for arch in archs]
    write_table(
        path,
        CROSS_VALIDATION_SCHEMA,
        {
            **arch_columns(
                archs, macs=[macs for macs, _ in counts], num_params=[n for _, n in counts]
            ),
            "accuracy_top1": chosen.measured,
            "accuracy_top1_estimated": chosen.mean,
            "accuracy_std_estimated": chosen.std,
            "fold": chosen.fold,
        },
    )
