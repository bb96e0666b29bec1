"""Answers of a registry: what look-ups print as JSON, and what the registry service returns."""

from typing import Literal

from pydantic import ConfigDict, RootModel

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents.base import Count, Digest, Document, Fraction, Milliseconds, Part
from ofa_pipeline.documents.latency import LatencyFigures, Quantile


class RegisteredFigures(Part):
    """A registered subnet: where it is, and what it was measured to do."""

    model_uri: str
    """What `mlflow.pyfunc.load_model` takes."""
    model_name: str
    """Name of the registered model."""
    version: int
    device: str
    """That it was picked for."""
    dataset: str
    """Name of the dataset; empty where it was registered before datasets had names."""
    dataset_digest: str
    space_id: str
    arch_id: str
    arch: Arch
    num_classes: Count
    budgets_ms: tuple[Milliseconds, ...]
    """That it was picked for, ascending."""
    accuracy_top1: Fraction
    """On test images."""
    accuracy_top5: Fraction
    num_test_images: Count
    accuracy_top1_selection: Fraction
    """On the images that it was chosen by."""
    latency_ms: Milliseconds
    """Median on its own device."""
    latency: dict[str, LatencyFigures]
    """By device."""
    macs: Count
    num_params: Count
    size_bytes: Count
    """Size of the file that runs; four bytes a parameter where it is not known."""
    num_bytes: Count | None = None
    """Size of the file that runs; null where it was registered before sizes were."""
    parity_max_abs_difference: float
    """Largest difference of a logit between PyTorch and the file that runs."""
    parity_top1_agreement: Fraction
    bundle_digest: str
    lineage: dict[str, str]
    """Digests of everything that it was made from, by path relative to the workspace."""


class SubnetAnswer(RegisteredFigures, Document):
    """The answer of ``ofa-pipeline best``."""

    model_config = ConfigDict(title="a registered subnet")


class FrontAnswer(Document):
    """The answer of ``ofa-pipeline front``."""

    model_config = ConfigDict(title="the Pareto front of a device")

    device: str
    quantile: Quantile
    subnets: tuple[RegisteredFigures, ...]
    """The fastest first; each is more accurate than all that are as fast."""


class SubnetList(RootModel[tuple[RegisteredFigures, ...]]):
    """The answer of ``ofa-pipeline subnets``, ordered by device, then latency."""

    model_config = ConfigDict(title="registered subnets", frozen=True)


class SubnetPage(Document):
    """A page of the list of the registry service."""

    model_config = ConfigDict(title="a page of registered subnets")

    total: Count
    """Of all pages."""
    offset: Count
    """Place of the first one of this page."""
    subnets: tuple[RegisteredFigures, ...]


class Difference(Part):
    """How a subnet differs from the first of a comparison."""

    model_uri: str
    accuracy_points: float
    """Percentage points of top-1 on test that it has more."""
    is_within_noise: bool
    """Whether the accuracies differ by no more than the standard error of one."""
    latency_ratio: dict[str, float]
    """Its median over that of the first, by device that both were measured on."""
    size_ratio: float


class ComparisonAnswer(Document):
    """The answer of ``ofa-pipeline compare``."""

    model_config = ConfigDict(title="a comparison of registered subnets")

    subnets: tuple[RegisteredFigures, ...]
    """As they were named."""
    differences: tuple[Difference, ...]
    """Of the second and later ones from the first."""


class ExplanationAnswer(Document):
    """The answer of ``ofa-pipeline explain``."""

    model_config = ConfigDict(title="the price of a budget")

    subnet: RegisteredFigures
    """The best within the bounds."""
    runner_up: RegisteredFigures | None
    """The second best within the bounds."""
    next_better: RegisteredFigures | None
    """The fastest that is more accurate."""
    extra_ms: float | None
    """What the next better one takes more."""
    points_gained: float | None
    """Percentage points of top-1 that it has more."""
    points_per_ms: float | None
    noise_points: float
    """Standard error of the accuracy of the best."""
    is_gain_noise: bool
    """Whether the points gained are no more than that."""


class PromotionCheck(Part):
    """A condition of a promotion."""

    name: str
    is_met: bool
    reason: str


class PromotionAnswer(Document):
    """The answer of ``ofa-pipeline promote``."""

    model_config = ConfigDict(title="the promotion of a version")

    model_uri: str
    alias: Literal["candidate", "champion"]
    """What it is to become."""
    before: str | None
    """The version that bore the alias; null for none."""
    is_allowed: bool
    """Whether every condition is met."""
    is_done: bool
    """Whether the alias names the version now; false in a dry run."""
    checks: tuple[PromotionCheck, ...]


class PullAnswer(Part):
    """The answer of ``ofa-pipeline pull``; its format is that of what was fetched."""

    model_config = ConfigDict(title="a registered subnet in a folder")

    model_uri: str
    folder: str
    """As it was named."""
    format: Literal["bundle", "onnx", "weights"]
    """What was fetched of the version."""
    bundle_digest: Digest
    """Of all files of the version."""
    device: str
    """That it was picked for."""
    accuracy_top1: Fraction
    """On test images."""
    latency_ms: Milliseconds
    """Median on its own device."""
    files: dict[str, Digest]
    """SHA-256 of each file in the folder."""
