"""Stage ``fit_predictor``: fit the accuracy predictor, and report how far to trust it."""

from dataclasses import asdict
from typing import Any

from threadpoolctl import threadpool_limits

from ofa_pipeline.artifacts import Layout, write_artifact, write_json
from ofa_pipeline.documents import PredictorReport
from ofa_pipeline.params import PredictorParams
from ofa_pipeline.predictor import (
    LabeledSubnets,
    Ranking,
    Validation,
    build_predictor,
    choose_predictor,
    learning_curve,
    load_compared_subnets,
    load_label_noise,
    save_predictor,
    validate_kinds,
    validation_columns,
    watch_ranking,
)
from ofa_pipeline.progress import Reporter
from ofa_pipeline.run_warnings import keep_warnings
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.tables import CROSS_VALIDATION_SCHEMA, write_table

NAME = "fit_predictor"


def run(context: StageContext) -> None:
    """Cross-validate, fit on all measured subnets, write the predictor and its report."""
    # One thread: the matrices are small, and sums in another order would change the last bits.
    with threadpool_limits(limits=1):
        _run(context)


def _run(context: StageContext) -> None:
    layout, params = context.layout, context.params.predictor
    space = context.params.space.build()
    subnets, compared = load_compared_subnets(layout.accuracy, space)
    label_noise = load_label_noise(layout.accuracy)
    noise = label_noise.std
    validations = validate_kinds(
        subnets,
        params.kind,
        folds=params.cross_validation_folds,
        seed=params.seed,
        reporter=context.reporter,
    )
    chosen = choose_predictor(validations, label_noise=noise)
    predictor = build_predictor(space, chosen.kind, seed=params.seed)
    predictor.fit(subnets.genes, subnets.accuracy)
    report = _report(validations, chosen, noise=noise)
    report["learning_curve"] = _learning_curve(subnets, chosen, params, context.reporter)
    with write_artifact(layout.predictor, **stage_inputs(find_stage(NAME), context)) as writer:
        save_predictor(predictor, writer.folder)
        write_json(
            writer.folder / Layout.PREDICTOR_REPORT, PredictorReport.from_dict(report).to_dict()
        )
        columns = validation_columns(space, chosen, compared)
        write_table(writer.folder / "cross_validation.parquet", CROSS_VALIDATION_SCHEMA, columns)
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
