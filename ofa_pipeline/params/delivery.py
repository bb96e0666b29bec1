"""The sections of what follows the search: fine-tuning, registry, report, schedule."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ofa_pipeline.cron import check_cron, check_timezone
from ofa_pipeline.params.values import Name, Positive, Section, Seed, Text


class SpecializeParams(Section):
    """Fine-tuning of the picked subnets."""

    epochs: Annotated[int, Field(ge=0, le=10**9)] | Literal["auto"]
    """At most; ``auto``: a third of what the supernet was trained for."""
    learning_rate: Positive | Literal["auto"]
    """``auto``: three quarters of that of the first phase."""
    teacher: Literal["none", "largest"] = Field(
        default="none", exclude_if=lambda value: value == "none"
    )
    """Whose soft labels the picks learn from beside the labels: of nobody, or of the largest subnet
    of the supernet."""
    seed: Seed
    max_quantization_loss: Annotated[float, Field(ge=0, le=100)] = Field(
        default=2.0,
        exclude_if=lambda value: value == 2.0,  # noqa: PLR2004 - the default
    )
    """Percentage points of top-1 that an int8 file may lose; one that loses more is refused."""


class RegistryParams(Section):
    """Names in the model registry."""

    experiment: Text
    model_prefix: Name


class ReportParams(Section):
    """The HTML report."""

    title: Text


class ScheduleParams(Section):
    """When the served flow runs."""

    cron: Annotated[str, AfterValidator(check_cron)]
    timezone: Annotated[str, AfterValidator(check_timezone)]
    when_busy: Literal["refuse", "wait"] = "refuse"
    """What a run on a server does while another holds the workspace."""
    quiet_wait_minutes: Annotated[float, Field(ge=0, le=1440)] = 60.0
    """How long re-certify tries, for each device, until the machine is quiet enough to measure."""
