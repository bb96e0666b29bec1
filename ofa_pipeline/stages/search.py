"""Stage ``search``: the best subnets of a device's budgets, by measurement."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.artifacts import (
    Layout,
    digest_input,
    digest_json,
    read_json,
    write_artifact,
    write_json,
)
from ofa_pipeline.data import Dataset, open_dataset
from ofa_pipeline.devices import LatencyMeasurement, LatencyMeter, build_runtime
from ofa_pipeline.evaluation import SubnetEvaluator
from ofa_pipeline.latency import LatencyProfile, load_latency_profile
from ofa_pipeline.params import DeviceParams
from ofa_pipeline.predictor import check_same_space, load_predictor
from ofa_pipeline.resume import ResumeLog
from ofa_pipeline.search import (
    Describer,
    EvolutionSettings,
    Knowledge,
    RealWorld,
    VerifiedSearch,
    VerifySettings,
    picks_document,
    predict_verify_refit,
)
from ofa_pipeline.stages import StageContext, find_stage, stage_inputs
from ofa_pipeline.stages.fit_predictor import compared_subnets
from ofa_pipeline.supernet import Supernet, load_supernet
from ofa_pipeline.tables import (
    ACCURACY_SCHEMA,
    EVALUATIONS_SCHEMA,
    FRONT_SCHEMA,
    read_table,
    write_table,
)
from ofa_pipeline.training import deterministic

NAME = "search"
_ISLANDS = 2  # each of a quarter of the generations and half the population


def run(context: StageContext) -> None:
    """Search, verify for real, write the front, the evaluations and the picks."""
    job = SearchJob(context)
    # Accuracies are computed as in collect_accuracy, bit for bit. The matrices of the search
    # are small: one BLAS thread is fastest, and sums in another order would change last bits.
    with (
        deterministic(threads=context.params.evaluation.threads),
        threadpool_limits(limits=1, user_api="blas"),
    ):
        knowledge = job.knowledge()
        result = predict_verify_refit(
            knowledge,
            RealWorld(job.evaluate, job.measure),
            budgets_ms=job.budgets_ms(),
            settings=job.verify_settings(),
            search=job.evolution_settings(),
            reporter=context.reporter,
        )
        job.write(result, knowledge)
    shutil.rmtree(job.scratch, ignore_errors=True)


@dataclass(frozen=True)
class SearchJob:
    """What the stage works with for one device."""

    context: StageContext

    @property
    def device(self) -> str:
        """Name of the device."""
        assert self.context.item is not None
        return self.context.item

    @property
    def device_params(self) -> DeviceParams:
        """The device's section of params.yaml."""
        return self.context.params.device(self.device)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The arguments of `write_artifact`."""
        return stage_inputs(find_stage(NAME), self.context)

    @cached_property
    def scratch(self) -> Path:
        """Resume state, of these inputs and params only."""
        digests = [digest_input(path) for path in self.inputs["inputs"]]
        key = digest_json([self.device, self.inputs["params"], digests])
        return self.context.layout.scratch(NAME, key)

    @cached_property
    def log(self) -> "VerificationLog":
        """What an interrupted run has evaluated and measured."""
        log = VerificationLog(self.scratch / "verified.jsonl", reporter=self.context.reporter)
        if log.rows:
            self.context.stopwatch.expect_earlier()
        return log

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared dataset."""
        return open_dataset(self.context.layout.dataset)

    @cached_property
    def supernet(self) -> Supernet:
        """Of the last phase."""
        params = self.context.params
        return load_supernet(self.context.layout.supernet_weights(params.final_phase))

    @property
    def space(self) -> SearchSpace:
        """The supernet's search space."""
        return self.supernet.space

    @cached_property
    def evaluator(self) -> SubnetEvaluator:
        """On selection images, as every stage compares subnets."""
        import torch

        params = self.context.params.evaluation
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return SubnetEvaluator(
            supernet=self.supernet.to(device),
            calibration=self.dataset.split("calibration"),
            evaluation=self.dataset.split("selection"),
            normalization=self.dataset.normalization,
            batch_size=params.batch_size,
            calibration_images=params.calibration_images,
            device=device,
        )

    @cached_property
    def profile(self) -> LatencyProfile:
        """Of the device."""
        return load_latency_profile(self.context.layout.latency(self.device))

    @cached_property
    def meter(self) -> LatencyMeter:
        """Measures on the device."""
        params = self.context.params.latency
        return self.profile.meter(
            build_runtime(self.device_params.card),
            self.space,
            warmup_runs=params.warmup_runs,
            timed_runs=params.timed_runs,
        )

    def budgets_ms(self) -> tuple[float, ...]:
        """Return the budgets of the device, ascending."""
        device = self.device_params
        return self.profile.budgets_ms(device.budgets_ms, device.budget_fractions)

    def verify_settings(self) -> VerifySettings:
        """Return how much to verify, and the noise of a label."""
        params = self.context.params.search
        return VerifySettings(
            top_k=params.verify_top_k,
            max_rounds=params.max_rounds,
            latency_margin=params.latency_margin,
            accuracy_noise=self.accuracy_noise,
        )

    def evolution_settings(self) -> EvolutionSettings:
        """Return how long and how broadly to search."""
        params = self.context.params.search
        return EvolutionSettings(
            population=params.population,
            generations=params.generations,
            islands=_ISLANDS,
            island_generations=max(1, params.generations // 4),
            island_population=params.population // 2,
            seed=params.seed,
        )

    @cached_property
    def accuracy_noise(self) -> float:
        """Standard deviation of a measured accuracy, a fraction."""
        path = self.context.layout.accuracy / "noise.json"
        noise = read_json(path, made_by="ofa-pipeline stage collect_accuracy")
        return float(noise["calibration_std"])

    def knowledge(self) -> Knowledge:
        """Return the predictor, the subnets that it learned from, and the latency model."""
        layout = self.context.layout
        predictor = load_predictor(layout.predictor)
        check_same_space(predictor, self.space)
        table = read_table(layout.accuracy / "accuracy.parquet", ACCURACY_SCHEMA)
        subnets, _ = compared_subnets(self.space, table)
        return Knowledge(
            predictor=predictor,
            genes=subnets.genes,
            accuracy=subnets.accuracy,
            latency=lambda genes: self.profile.model.predict(self.space, genes),
        )

    def evaluate(self, arch: Arch) -> float:
        """Return the accuracy on selection images, measured once for each subnet."""
        key = f"accuracy {arch.arch_id}"
        if key not in self.log.rows:
            measured = self.evaluator.evaluate(arch)
            self.log.append(key, {"accuracy_top1": measured.accuracy_top1})
            self.context.stopwatch.note()
        return float(self.log.rows[key]["accuracy_top1"])

    def measure(self, arch: Arch) -> LatencyMeasurement:
        """Return the latency of the calibrated subnet in the form that ships."""
        key = f"latency {arch.arch_id}"
        if key not in self.log.rows:
            subnet = self.evaluator.calibrated_subnet(arch).cpu()
            measured = self.meter.measure(subnet, resolution_px=arch.resolution_px)
            self.log.append(key, measured.to_dict())
            self.context.stopwatch.note()
        return LatencyMeasurement.from_dict(self.log.rows[key])

    def write(self, result: VerifiedSearch, knowledge: Knowledge) -> None:
        """Write the artifact."""
        describe = Describer(self.space, self.dataset.num_classes)
        front = describe.front_columns(result.last_search.front, knowledge.predictor)
        evaluations = describe.evaluation_columns(result.verified)
        document = picks_document(result, accuracy_noise=self.accuracy_noise)
        with write_artifact(self.context.layout.search(self.device), **self.inputs) as writer:
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


class VerificationLog(ResumeLog):
    """What was measured so far; a kill loses at most the last measurement."""
