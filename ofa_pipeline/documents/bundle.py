"""Documents of bundles: what a subnet is, what it was measured to do, and which there are."""

from typing import Annotated

from pydantic import (
    ConfigDict,
    Field,
    model_validator,
)

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents.base import (
    Count,
    Digest,
    Document,
    Fraction,
    Milliseconds,
    Part,
    RuntimeOptions,
)
from ofa_pipeline.documents.latency import DeviceCard, LatencyMeasurement, Verdict
from ofa_pipeline.documents.space import Space
from ofa_pipeline.errors import ArchError

Channels = tuple[float, float, float]


class CalibrationImages(Part):
    """The images that batch-norm statistics were taken from."""

    split: str
    images: tuple[int, ...]
    """Places in the split."""


class Runs(Part):
    """What runs a bundle, and which of its files."""

    runtime: str
    file: str
    accelerator: str
    threads: int
    precision: str = Field(default="fp32", exclude_if=lambda value: value == "fp32")
    options: RuntimeOptions | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of the runtime, as it was measured."""


class SubnetDescription(Document):
    """What a subnet is, and how images are prepared for it: all that classifying needs.

    `specialize.classify`, which ships alone, checks what it uses of it by itself.
    """

    model_config = ConfigDict(title="the description of a subnet")

    arch: Arch
    arch_id: str
    space: Space
    num_classes: Annotated[int, Field(ge=1)]
    class_names: tuple[str, ...]
    """By label."""
    mean: Channels
    """Mean of each channel, of training pixels in [0, 1]."""
    std: Channels
    image_size_px: int
    """Side that images had in the dataset."""
    value_range: tuple[float, float] | None = Field(default=None, exclude_if=lambda v: v is None)
    """Values of deep images that became 0 and 255; left out where the dataset sets none."""
    calibration: CalibrationImages
    runs: Runs | None = Field(default=None, exclude_if=lambda v: v is None)
    """Without it, as bundles were written first, the ONNX file runs on one thread."""

    @model_validator(mode="after")
    def _arch_is_of_its_space(self) -> "SubnetDescription":
        try:
            self.space.check(self.arch)
        except ArchError as error:
            raise ValueError(f"arch must be an architecture of its space: {error}") from error
        return self


class AccuracyFigures(Part):
    """Accuracy of the file that ships, a fraction."""

    accuracy_top1: Fraction
    """On test images, which have decided nothing."""
    accuracy_top5: Fraction
    num_test_images: Annotated[int, Field(ge=1)]
    accuracy_top1_selection: Fraction
    """On selection images, of the weights that ship; of the quantised file, where one ships."""
    accuracy_top1_selection_extracted: Fraction
    """The same before fine-tuning."""
    accuracy_top1_selection_finetuned: Fraction | None
    """The same after fine-tuning; null where nothing was fine-tuned."""
    num_selection_images: Count
    is_finetuned: bool
    """Whether the fine-tuned weights ship: they are better."""
    evaluated_file: str


class BudgetVerdict(Part):
    """Whether a latency is within a budget."""

    budget_ms: Milliseconds
    verdict: Verdict
    """The confidence interval is within the budget; only the median is; neither is."""


class LatencyCertificate(LatencyMeasurement):
    """Latency of the file that ships, on one device."""

    attempts_p50_ms: tuple[Milliseconds, ...]
    """Medians of all attempts, in order; the middle one is certified."""
    card: DeviceCard
    file: str
    file_digest: Digest
    verdicts: tuple[BudgetVerdict, ...]


class ComputeCost(Part):
    """Cost of a subnet, counted."""

    macs: Count
    """Multiply-accumulate operations an image."""
    num_params: Count


class SpentSeconds(Part):
    """Seconds of a piece of work, see `stopwatch.Seconds`."""

    cpu_s: float
    """CPU seconds of the process, over all its threads."""
    wall_s: float
    is_complete: bool
    """Whether nothing is missing."""
    on_cuda: bool


class FinetuningCost(SpentSeconds):
    """What the fine-tuning of a subnet took; its weights may not be kept."""

    epochs: Count
    teacher_macs: Count


class ParityFigures(Part):
    """How far the exported file is from the network that it was made from, on test images."""

    max_abs_difference: float
    """Largest difference of a logit."""
    max_relative_difference: float
    """The same over the largest logit."""
    top1_agreement: Fraction
    num_images: Count


class QuantizationFigures(Part):
    """What int8 costs: the file that ships beside the weights that it was made from."""

    accuracy_top1_selection_float: Fraction
    """On selection images, of the weights."""
    accuracy_top1_selection: Fraction
    """The same of the file, as the device's runtime computes it."""
    num_selection_images: Count
    num_calibration_images: Count
    """That the ranges of activations were found on."""
    p50_ms_float: Milliseconds | None = Field(default=None, exclude_if=lambda v: v is None)
    """Latency of the float32 file on the same device."""

    @property
    def loss_points(self) -> float:
        """Percentage points that are lost; below zero where the file is better."""
        return 100 * (self.accuracy_top1_selection_float - self.accuracy_top1_selection)


class CardFigures(Part):
    """What a subnet was measured to do, and what it was made from."""

    arch_id: str
    budgets_ms: tuple[Milliseconds, ...]
    """That it was picked for, ascending."""
    accuracy: AccuracyFigures
    latency: dict[str, LatencyCertificate]
    """By device."""
    cost: ComputeCost
    finetuning: FinetuningCost | None = Field(default=None, exclude_if=lambda v: v is None)
    """Not in bundles that were written first."""
    parity: ParityFigures
    quantization: QuantizationFigures | None = Field(default=None, exclude_if=lambda v: v is None)
    """Of a device that computes in int8."""
    lineage: dict[str, str]
    """Digests of everything that it was made from, by path relative to the workspace."""


class Card(CardFigures, Document):
    """The card of a bundle."""

    model_config = ConfigDict(title="the card of a bundle")

    files: dict[str, Digest] = Field(default_factory=dict)
    """SHA-256 of the other files of the bundle; not in bundles that were written first."""


class BundleEntry(CardFigures):
    """A bundle in an index."""

    name: str
    """Name of its folder."""
    bundle_digest: str
    arch: Arch
    space_id: str
    num_classes: int


class BudgetChoice(Part):
    """Which bundle serves a budget."""

    budget_ms: Milliseconds
    bundle: str
    rank: Count
    """0 for the pick of the search, 1 for its first runner-up."""


class BundleIndex(Document):
    """The bundles of a device."""

    model_config = ConfigDict(title="an index of bundles")

    device: str
    bundles: tuple[BundleEntry, ...]
    picks: tuple[BudgetChoice, ...]
    """By budget."""
