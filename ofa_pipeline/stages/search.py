"""Stage ``search``: the best subnets of a device's budgets, by measurement."""

from threadpoolctl import threadpool_limits

from ofa_pipeline.artifacts import Layout, write_json
from ofa_pipeline.data import open_dataset
from ofa_pipeline.devices import Device, require_calibration_images
from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.evaluation import AccuracyBench
from ofa_pipeline.latency import LatencyProfile, load_latency_profile
from ofa_pipeline.predictor import load_label_noise
from ofa_pipeline.search import (
    Describer,
    MeasuredWorld,
    QuantizedWorld,
    RealWorld,
    evolution_settings,
    load_knowledge,
    picks_document,
    predict_verify_refit,
    verify_settings,
)
from ofa_pipeline.search.ledger import Ledger, NotedWorld
from ofa_pipeline.stages.run import StageRun
from ofa_pipeline.tables import EVALUATIONS_SCHEMA, FRONT_SCHEMA, write_table
from ofa_pipeline.training import deterministic


def run(stage: StageRun) -> None:
    """Search, verify for real, write the front, the evaluations and the picks."""
    # Accuracies are computed as in collect_accuracy, bit for bit. The matrices of the search
    # are small: one BLAS thread is fastest, and sums in another order would change last bits.
    with (
        deterministic(threads=stage.params.evaluation.threads),
        threadpool_limits(limits=1, user_api="blas"),
    ):
        _search(stage)


def _search(stage: StageRun) -> None:
    layout, params, device = stage.layout, stage.params, stage.params.devices[stage.item]
    bench = AccuracyBench(
        layout.dataset,
        layout.supernet_weights(params.final_phase),
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    space = bench.evaluator.supernet.space
    profile = load_latency_profile(layout.latency(stage.item))
    knowledge = load_knowledge(space, profile, predictor=layout.predictor, accuracy=layout.accuracy)
    noise = load_label_noise(layout.accuracy).std
    ledger = Ledger(
        stage.beside / Layout.STUDY,
        space=space,
        name=f"{space.space_id} on {stage.item}",
        reporter=stage.reporter,
        stopwatch=stage.stopwatch,
    )
    world = _world(stage, bench, profile, ledger)
    result = predict_verify_refit(
        knowledge,
        NotedWorld(world, ledger),
        budgets_ms=profile.budgets_ms(device.budgets_ms, device.budget_fractions),
        settings=verify_settings(
            params.search, accuracy_noise=noise, interval=profile.model.interval
        ),
        search=evolution_settings(params.search),
        reporter=stage.reporter,
    )
    describe = Describer(space, open_dataset(layout.dataset).num_classes)
    front = describe.front_columns(result.last_search.front, knowledge.predictor)
    evaluations = describe.evaluation_columns(result.verified)
    document = picks_document(result, accuracy_noise=noise)
    with stage.writing() as writer:
        write_table(writer.folder / Layout.FRONT, FRONT_SCHEMA, front)
        write_table(writer.folder / Layout.EVALUATIONS, EVALUATIONS_SCHEMA, evaluations)
        write_json(writer.folder / Layout.PICKS, document.to_dict())
        writer.summary |= {
            "num_picks": len(result.picks),
            "num_verified": len(result.verified),
            "num_rounds": result.num_rounds,
            "is_stable": result.is_stable,
            **document.verification.to_dict(),
        }


def _world(
    stage: StageRun, bench: AccuracyBench, profile: LatencyProfile, ledger: Ledger
) -> RealWorld:
    """Return what evaluates and measures: subnets, or their files where these are quantised."""
    card, latency = stage.params.devices[stage.item].card, stage.params.latency

    def open_device() -> Device:
        return profile.open_device(
            card,
            bench.evaluator.supernet.space,
            warmup_runs=latency.warmup_runs,
            timed_runs=latency.timed_runs,
            store=ElsewhereStore(stage.layout, stage.item, cluster=stage.cluster),
            reporter=stage.reporter,
        )

    if card.precision == "int8":
        require_calibration_images(bench.evaluator.num_calibration_images)
        return QuantizedWorld(bench, open_device, log=ledger, folder=stage.scratch / "files")
    return MeasuredWorld(bench, open_device, log=ledger, executor=stage.executor)
