"""Which registered subnet a command means: the version that was named, or the best one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


def choose_subnet(
    registry: "SubnetRegistry",
    *,
    device: str | None,
    max_latency_ms: float | None,
    min_accuracy: float | None,
    dataset: str | None,
) -> "RegisteredSubnet":
    """Return the best subnet within bounds, by the rule of ``ofa-pipeline best``.

    Raises:
        InfeasibleConstraintError: If none meets them.
        RegistryError: If nothing is registered that could.
    """
    try:
        return registry.choose(
            device=device,
            max_latency_ms=max_latency_ms,
            min_accuracy=min_accuracy,
            dataset=dataset,
        )
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
