"""Stage ``search``: the best subnets of a device's budgets, by measurement."""

import shutil

from threadpoolctl import threadpool_limits

from ofa_pipeline.artifacts import Layout, digest_input, digest_json, write_artifact, write_json
from ofa_pipeline.data import open_dataset
from ofa_pipeline.evaluation import AccuracyBench
from ofa_pipeline.latency import load_latency_profile
from ofa_pipeline.measuring import MeasurementLog
from ofa_pipeline.params import SearchParams
from ofa_pipeline.predictor import load_label_noise
from ofa_pipeline.search import (
    Describer,
    EvolutionSettings,
    MeasuredWorld,
    VerifySettings,
    load_knowledge,
    picks_document,
    predict_verify_refit,
)
from ofa_pipeline.search.samplers import build_sampler
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.tables import EVALUATIONS_SCHEMA, FRONT_SCHEMA, write_table
from ofa_pipeline.training import deterministic

NAME = "search"
_ISLANDS = 2  # each of a quarter of the generations and half the population


def run(context: StageContext) -> None:
    """Search, verify for real, write the front, the evaluations and the picks."""
    # Accuracies are computed as in collect_accuracy, bit for bit. The matrices of the search
    # are small: one BLAS thread is fastest, and sums in another order would change last bits.
    with (
        deterministic(threads=context.params.evaluation.threads),
        threadpool_limits(limits=1, user_api="blas"),
    ):
        _search(context)


def _search(context: StageContext) -> None:
    layout, params, device = context.layout, context.params, context.item or ""
    inputs = stage_inputs(find_stage(NAME), context)
    digests = [digest_input(path) for path in inputs["inputs"]]
    scratch = layout.scratch(NAME, digest_json([device, inputs["params"], digests]))
    settings = params.device(device)
    profile = load_latency_profile(layout.latency(device))
    bench = AccuracyBench(
        layout.dataset,
        layout.supernet_weights(params.final_phase),
        calibration_images=params.evaluation.calibration_images,
        batch_size=params.evaluation.batch_size,
    )
    space = bench.evaluator.supernet.space
    knowledge = load_knowledge(space, profile, predictor=layout.predictor, accuracy=layout.accuracy)
    accuracy_noise = load_label_noise(layout.accuracy).std
    result = predict_verify_refit(
        knowledge,
        MeasuredWorld(
            bench,
            lambda: profile.open_device(
                settings.card,
                space,
                warmup_runs=params.latency.warmup_runs,
                timed_runs=params.latency.timed_runs,
            ),
            log=MeasurementLog(
                scratch / "verified.jsonl", reporter=context.reporter, stopwatch=context.stopwatch
            ),
            executor=context.executor,
        ),
        budgets_ms=profile.budgets_ms(settings.budgets_ms, settings.budget_fractions),
        settings=verify_settings(params.search, accuracy_noise=accuracy_noise),
        search=evolution_settings(params.search),
        reporter=context.reporter,
    )
    describe = Describer(space, open_dataset(layout.dataset).num_classes)
    front = describe.front_columns(result.last_search.front, knowledge.predictor)
    evaluations = describe.evaluation_columns(result.verified)
    document = picks_document(result, accuracy_noise=accuracy_noise)
    with write_artifact(layout.search(device), **inputs) as writer:
        write_table(writer.folder / "front.parquet", FRONT_SCHEMA, front)
        write_table(writer.folder / "evaluations.parquet", EVALUATIONS_SCHEMA, evaluations)
        write_json(writer.folder / Layout.PICKS, document.to_dict())
        writer.summary.update(
            num_picks=len(result.picks),
            num_verified=len(result.verified),
            num_rounds=result.num_rounds,
            is_stable=result.is_stable,
            **document.verification.to_dict(),
        )
    shutil.rmtree(scratch, ignore_errors=True)


def verify_settings(search: SearchParams, *, accuracy_noise: float) -> VerifySettings:
    """Return how much to verify, from the section of params.yaml."""
    return VerifySettings(
        top_k=search.verify_top_k,
        max_rounds=search.max_rounds,
        latency_margin=search.latency_margin,
        accuracy_noise=accuracy_noise,
        sampler=build_sampler(search.sampler),
    )


def evolution_settings(search: SearchParams) -> EvolutionSettings:
    """Return how long and how broadly to search, from the section of params.yaml."""
    return EvolutionSettings(
        population=search.population,
        generations=search.generations,
        islands=_ISLANDS,
        island_generations=max(1, search.generations // 4),
        island_population=search.population // 2,
        seed=search.seed,
    )
