"""Which registered subnet a command means: the version that was named, or the best one."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ofa_pipeline.errors import InfeasibleConstraintError, RegistryError, shown

if TYPE_CHECKING:
    from ofa_pipeline.registry import RegisteredSubnet, SubnetRegistry

VERSION_PREFIX = "models:/"
LIST = "See what there is: ofa-pipeline subnets"

MaxLatencyOption = Annotated[
    float | None, typer.Option("--max-latency-ms", "-t", min=0, help="Measured median, a call.")
]
MinAccuracyOption = Annotated[
    float | None,
    typer.Option("--min-accuracy", "-a", min=0, max=1, help="Top-1 on test, a fraction."),
]
QuantileOption = Annotated[
    Literal["p50", "p95"],
    typer.Option("--quantile", help="Of the latency: the median, or what 95 of 100 calls take."),
]
VerdictOption = Annotated[
    Literal["within", "within_noise"] | None,
    typer.Option(
        "--verdict",
        help="within: the whole 95 % confidence interval is; within_noise: the figure is.",
        show_default="within_noise",
    ),
]
MaxSizeOption = Annotated[
    float | None,
    typer.Option("--max-size-mb", min=0, help="Size of the file that runs, in 10^6 bytes."),
]


def bytes_of(megabytes: float | None) -> float | None:
    """Return a bound in bytes; None stays none."""
    return None if megabytes is None else megabytes * 1e6


def bounds_of(  # noqa: PLR0913 - options of a command
    *,
    device: str | None,
    max_latency_ms: float | None,
    quantile: str,
    verdict: str | None,
    min_accuracy: float | None,
    max_size_mb: float | None,
    dataset: str | None,
) -> dict[str, Any]:
    """Return the bounds that were given, by the names of their options."""
    given = {
        "device": device,
        "max_latency_ms": max_latency_ms,
        "quantile": None if quantile == "p50" else quantile,
        "verdict": verdict,
        "min_accuracy": min_accuracy,
        "max_size_mb": max_size_mb,
        "dataset": dataset,
    }
    return {name: value for name, value in given.items() if value is not None}


def choose_subnet(registry: "SubnetRegistry", bounds: Mapping[str, Any]) -> "RegisteredSubnet":
    """Return the best subnet within bounds, by the rule of ``ofa-pipeline best``.

    Args:
        registry: What is asked.
        bounds: Of `bounds_of`.

    Raises:
        InfeasibleConstraintError: If none meets them.
        RegistryError: If nothing is registered that could.
    """
    asked = dict(bounds)
    size_bytes = bytes_of(asked.pop("max_size_mb", None))
    try:
        return registry.choose(**asked, max_size_bytes=size_bytes)
    except InfeasibleConstraintError as error:
        raise InfeasibleConstraintError(f"{error} {LIST}") from error


def describe_subnet(subnet: "RegisteredSubnet") -> str:
    """Return what a subnet is in a line."""
    from ofa_pipeline.registry import dataset_label

    record = subnet.record
    return (
        f"{subnet.model_uri}: top-1 {record.accuracy_top1:.2%} on {record.num_test_images} test "
        f"images of {dataset_label(record)}, {record.latency_ms:.3g} ms on {record.device}"
    )


def default_folder(subnet: "RegisteredSubnet") -> Path:
    """Return where a subnet is pulled to when no folder is named.

    Raises:
        RegistryError: If the name of its model, which the registry tells, leads elsewhere.
    """
    from ofa_pipeline.registry import is_plain_name

    if not is_plain_name(subnet.record.model_name):
        raise RegistryError(
            f"the folder cannot be called like the model {shown(subnet.record.model_name)}: the "
            "name leads elsewhere. Name the folder."
        )
    return Path(f"{subnet.record.model_name}-v{subnet.version}")
