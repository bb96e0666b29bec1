"""What the registry knows about one subnet: a plain value, without any MLflow in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from ofa_pipeline.arch import Arch
from ofa_pipeline.documents import LatencyFigures
from ofa_pipeline.errors import RegistryError, shown
from ofa_pipeline.explain import explain

DATASET_KEY = "artifacts/dataset"
"""Key of the dataset in a lineage."""


RECORD_FORMAT = 1
"""Of records as they are written; all up to now lack it. It grows when an older version of this
package could not read them any more."""


class UnreadableRecordError(RegistryError):
    """A record that this version of the package cannot read."""


class NewerRecordError(UnreadableRecordError):
    """A record that only a newer version of the package can read."""


# A newer version may register beside this one: what it adds without a new format is left alone.
@with_config(ConfigDict(extra="ignore"))
@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetRecord:
    """One subnet as it is registered. Every figure was measured or counted, none estimated."""

    model_name: str
    """Name of the registered model: one for each dataset, supernet and device."""
    device: str
    """That the subnet was picked for."""
    space_id: str
    arch: Arch
    num_classes: int
    budgets_ms: tuple[float, ...]
    """Latency budgets that it was picked for, ascending."""
    accuracy_top1: float
    """On test, fraction."""
    accuracy_top5: float
    """On test, fraction."""
    num_test_images: int
    accuracy_top1_selection: float
    """On selection, where it was chosen; fraction."""
    latency: Mapping[str, LatencyFigures]
    """By device."""
    macs: int
    num_params: int
    parity_max_abs_difference: float
    """Largest difference of a logit between PyTorch and the exported file."""
    parity_top1_agreement: float
    """Fraction of test images with the same answer of both."""
    bundle_digest: str
    """Content digest of the bundle, its certificate included."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Digests of everything that it was made from, by path relative to the workspace."""
    dataset: str = ""
    """Name of the dataset; empty where it was registered before datasets had names."""
    num_bytes: int | None = None
    """Size of the file that runs; None where it was registered before sizes were."""

    def __post_init__(self) -> None:
        """Refuse what may not be registered.

        Raises:
            RegistryError: If accuracy or the latency on its own device is missing or impossible.
        """
        for name in ("accuracy_top1", "accuracy_top5", "accuracy_top1_selection"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise RegistryError(
                    f"{self.label}: {name} must be a fraction from 0 to 1, got {value}. "
                    "Run the stage specialize again."
                )
        if self.device not in self.latency:
            raise RegistryError(
                f"{self.label}: a subnet must have a latency measured on its device "
                f"{self.device}, got {sorted(self.latency)}. Run the stage specialize again."
            )

    @property
    def label(self) -> str:
        """A short name for messages."""
        return f"{self.model_name} {self.arch.arch_id}"

    @property
    def latency_ms(self) -> float:
        """Median on its own device."""
        return self.latency[self.device].p50_ms

    @property
    def size_bytes(self) -> int:
        """Size of the file that runs; where it is not known, four bytes a parameter."""
        return 4 * self.num_params if self.num_bytes is None else self.num_bytes

    @property
    def dataset_digest(self) -> str:
        """Digest of the dataset that its accuracy belongs to; empty when it is not known."""
        return self.lineage.get(DATASET_KEY, "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: object) -> "SubnetRecord":
        """Build from what `to_dict` returned.

        Raises:
            UnreadableRecordError: If it is not such a value; the message names what is wrong.
        """
        found = values.get("format", RECORD_FORMAT) if isinstance(values, Mapping) else None
        if isinstance(found, int) and found > RECORD_FORMAT:
            raise NewerRecordError(
                f"it is of format {shown(found)}, this version reads {RECORD_FORMAT}. Install "
                "ofa-pipeline in the version that registered it"
            )
        try:
            return _adapter().validate_python(values)
        except ValidationError as error:
            raise UnreadableRecordError(f"not a subnet record: {explain(error)}") from error


@cache
def _adapter() -> TypeAdapter[SubnetRecord]:
    return TypeAdapter(SubnetRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredSubnet:
    """An answer of the registry: the record, and where it is."""

    record: SubnetRecord
    version: int
    """Version of the registered model ``record.model_name`` on this registry."""

    @property
    def model_uri(self) -> str:
        """What `mlflow.pyfunc.load_model` takes."""
        return f"models:/{self.record.model_name}/{self.version}"


def registered_model_name(prefix: str, *, dataset: str, space_id: str, device: str) -> str:
    """Return the name of the registered model of a dataset, a supernet and a device."""
    return f"{prefix}-{dataset}-{space_id}-{device}"
