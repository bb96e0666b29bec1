"""The section `devices`: what runs the subnets, and the budgets to serve."""

from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from ofa_pipeline.params.values import Count, Few, Positive, Section, Share, part_of


class RuntimeSettings(Section):
    """What runs the subnets: the runtime and its settings; the hardware is this machine."""

    runtime: Annotated[str, AfterValidator(part_of("devices/runtimes"))]
    accelerator: Literal["cpu", "cuda"]
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    """Which of them a runtime computes in, it says itself."""
    threads: Count
    batch_size: Count
    """Images a call."""


class DeviceParams(Section):
    """A device and the budgets to serve on it, in milliseconds a call."""

    card: RuntimeSettings
    budgets_ms: Annotated[tuple[Positive, ...], Few] | None = None
    budget_fractions: Annotated[tuple[Share, ...], Few] | None = None

    @model_validator(mode="after")
    def _one_kind_of_budget(self) -> "DeviceParams":
        given = [v for v in (self.budgets_ms, self.budget_fractions) if v is not None]
        if len(given) != 1 or not given[0]:
            raise ValueError("give budgets_ms or budget_fractions, one of them, not empty")
        if list(given[0]) != sorted(set(given[0])):
            raise ValueError(f"budgets must be ascending without repeats, got {given[0]}")
        return self
