"""Stage ``fit_predictor``: fit the accuracy predictor, and report how far to trust it."""

from threadpoolctl import threadpool_limits

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.predictor import (
    Ranking,
    build_predictor,
    choose_predictor,
    learning_curve,
    load_compared_subnets,
    load_label_noise,
    predictor_report,
    save_predictor,
    validate_kinds,
    validation_columns,
    watch_ranking,
)
from ofa_pipeline.search.tuning import tune_kinds
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.tables import CROSS_VALIDATION_SCHEMA, write_table


def run(stage: StageRun) -> None:
    """Cross-validate, fit on all measured subnets, write the predictor and its report."""
    # One thread: the matrices are small, and sums in another order would change the last bits.
    with threadpool_limits(limits=1):
        _fit(stage)


def _fit(stage: StageRun) -> None:
    settings, space = stage.params.predictor, stage.params.space.build()
    folds, seed = settings.cross_validation_folds, settings.seed
    subnets, compared = load_compared_subnets(stage.layout.accuracy, space)
    noise = load_label_noise(stage.layout.accuracy)
    validations = validate_kinds(
        subnets, settings.kind, folds=folds, seed=seed, reporter=stage.reporter
    )
    if settings.tune:
        validations = tune_kinds(
            subnets, validations, folds=folds, seed=seed, reporter=stage.reporter
        )
    chosen = choose_predictor(validations, label_noise=noise.std)
    predictor = build_predictor(space, chosen.kind, seed=seed, settings=chosen.settings)
    predictor.fit(subnets.genes, subnets.accuracy)
    stage.reporter.message("learning curve")
    curve = learning_curve(subnets, chosen.kind, folds=folds, seed=seed, settings=chosen.settings)
    report = predictor_report(validations, chosen, curve, label_noise=noise.std)
    columns = validation_columns(space, chosen, compared)
    found = chosen.report
    with stage.writing() as writer:
        save_predictor(predictor, writer.folder, settings=chosen.settings)
        write_json(writer.folder / Layout.PREDICTOR_REPORT, report.to_dict())
        write_table(writer.folder / Layout.CROSS_VALIDATION, CROSS_VALIDATION_SCHEMA, columns)
        writer.summary |= {
            "kind": chosen.kind,
            "num_subnets": found.num_subnets,
            "rmse_points": found.rmse_points,
            "tau": found.tau,
            "tau_top_decile": found.tau_top_decile,
            "label_noise_points": 100 * noise.std,
            **({"settings": dict(chosen.settings)} if chosen.settings else {}),
        }
        stage.warn([watch_ranking(Ranking.of(chosen, noise))], writer)
    stage.reporter.message(
        f"{chosen.kind}: cross-validated RMSE {found.rmse_points:.2f} points, tau "
        f"{found.tau:.2f}; label noise {100 * noise.std:.2f} points"
    )
