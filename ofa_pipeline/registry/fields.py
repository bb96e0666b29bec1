"""How a record is written in MLflow: tags, params and metrics, and the filters that find it."""

import json
import re
from typing import TYPE_CHECKING, Any

from ofa_pipeline.errors import RegistryError, shorten, shown
from ofa_pipeline.registry.record import (
    NewerRecordError,
    RegisteredSubnet,
    SubnetRecord,
    UnreadableRecordError,
)

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

OWNER_TAG = "ofa.owner"
OWNER = "ofa-pipeline"
"""On experiments, registered models, LoggedModels and runs that are ours."""
EXPERIMENT_TAGS = {
    OWNER_TAG: OWNER,
    # The switch of MLflow's pages between model training and traces of language models.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": (
        "Supernets that were trained once (a run each phase, with curves by epoch), and the "
        "subnets taken out of them for devices (a registration each device, with a run each "
        "subnet). *Model training*, at the top of MLflow's sidebar, shows them; *GenAI* shows none."
    ),
}
RECORD_TAG = "ofa.record"
"""The whole record as JSON, on the LoggedModel."""
VERSION_TAG = "ofa.version"
"""The commit mark of a registration."""
SIGNATURE_TAG = "ofa.signature"
"""On the LoggedModel, where somebody has signed it: a `signatures.Signature` as JSON."""
STALE_TAG = "ofa.stale"
"""On the LoggedModel, where its device has changed since it was certified: why, and when."""
DIGEST_TAG = "ofa.bundle_digest"
MODEL_TAG = "ofa.model_name"
DATASET_TAG = "ofa.dataset"
"""Name of the dataset; the digest is `DATASET_DIGEST_TAG`."""
DATASET_DIGEST_TAG = "ofa.dataset_digest"
ACCURACY_METRIC = "accuracy_top1"
DEVICE_PATTERN = re.compile(r"[A-Za-z0-9][\w.-]*")


def check_device(name: str) -> None:
    """Refuse what is no name of a device: names become parts of names in MLflow.

    Raises:
        RegistryError: If it is none.
    """
    if not DEVICE_PATTERN.fullmatch(name):
        raise RegistryError(f"a device must be a name as in params.yaml, got {shown(name)}.")


def latency_metric(device: str) -> str:
    """Return the metric that holds the median latency on a device.

    Raises:
        RegistryError: If the device is no name.
    """
    check_device(device)
    return f"latency_p50_ms.{device}"


def of_bundle(record: SubnetRecord) -> list[str]:
    """Return the filters for the content of a record in its registered model.

    MLflow compares the names of all LoggedModels, and the tags of those alone that have the name.
    """
    return [
        f"name = '{title_of(record)}'",
        f"tags.`{MODEL_TAG}` = '{record.model_name}'",
        f"tags.`{DIGEST_TAG}` = '{record.bundle_digest}'",
    ]


def read_model(model: "LoggedModel") -> RegisteredSubnet:
    """Return what a complete LoggedModel stands for."""
    name, version = model.tags.get(MODEL_TAG, ""), int(model.tags[VERSION_TAG])
    return read_record(model.tags.get(RECORD_TAG, ""), name, version)


def read_record(text: str, name: str, version: int) -> RegisteredSubnet:
    """Return what a version stands for.

    Args:
        text: The tag `RECORD_TAG` of its LoggedModel.
        name: Name of its registered model, for messages.
        version: Its number.

    Raises:
        UnreadableRecordError: If another version of this package wrote it, or somebody changed it.
    """
    device = "DEVICE"
    try:
        values = json.loads(text)
        if isinstance(values, dict) and DEVICE_PATTERN.fullmatch(str(values.get("device", ""))):
            device = shorten(str(values["device"]))
        record = SubnetRecord.from_dict(values)
    except NewerRecordError as error:
        raise NewerRecordError(
            f"the record of models:/{name}/{version} is newer: {error}"
        ) from error
    except (ValueError, RecursionError, RegistryError) as error:
        # Its fault is one of JSON, of a value, or of what a record must be.
        raise UnreadableRecordError(
            f"the record of models:/{name}/{version} (its tag {RECORD_TAG}) cannot be read: "
            f"{shorten(str(error))}. An earlier version of this package wrote it, or somebody "
            "changed it. Write it anew in the workspace that made it: ofa-pipeline stage register "
            f"--item {device}. Where that is gone, delete the version in MLflow."
        ) from error
    return RegisteredSubnet(record=record, version=version)


def title_of(record: SubnetRecord) -> str:
    """Return the name of a LoggedModel: what MLflow finds it by quickly among many."""
    return f"subnet-{record.arch.arch_id}"


def text_of(record: SubnetRecord) -> str:
    """Return what the tag `RECORD_TAG` holds of a record."""
    return json.dumps(record.to_dict(), sort_keys=True)


def tags_of(record: SubnetRecord) -> dict[str, str]:
    """Return what look-ups find a LoggedModel by, and the device, for people who filter by it.

    Everything else that is known of a subnet is in the record.
    """
    return {
        OWNER_TAG: OWNER,
        MODEL_TAG: record.model_name,
        DIGEST_TAG: record.bundle_digest,
        DATASET_TAG: record.dataset,
        DATASET_DIGEST_TAG: record.dataset_digest,
        "ofa.device": record.device,
    }


def version_tags_of(record: SubnetRecord) -> dict[str, str]:
    """Return the tags of a version: what registering looks for, and two figures for its table."""
    return {
        ACCURACY_METRIC: f"{record.accuracy_top1:.4f}",
        "latency_p50_ms": f"{record.latency_ms:.4g}",
        DIGEST_TAG: record.bundle_digest,
    }


def params_of(record: SubnetRecord) -> dict[str, str]:
    """Return what describes the network."""
    arch = record.arch
    return {
        "arch_id": arch.arch_id,
        "arch": str(arch),
        "resolution_px": str(arch.resolution_px),
        "depths": " ".join(map(str, arch.depths)),
        "kernel_sizes": " ".join(map(str, arch.kernel_sizes)),
        "expand_ratios": " ".join(f"{ratio:g}" for ratio in arch.expand_ratios),
        "num_classes": str(record.num_classes),
    }


def metrics_of(record: SubnetRecord) -> dict[str, float]:
    """Return every figure, as `best` compares them."""
    metrics: dict[str, Any] = {
        ACCURACY_METRIC: record.accuracy_top1,
        "accuracy_top5": record.accuracy_top5,
        "accuracy_top1_selection": record.accuracy_top1_selection,
        "macs": record.macs,
        "num_params": record.num_params,
        "parity_max_abs_difference": record.parity_max_abs_difference,
        "parity_top1_agreement": record.parity_top1_agreement,
    }
    for device, figures in record.latency.items():
        metrics |= {
            latency_metric(device): figures.p50_ms,
            f"latency_p95_ms.{device}": figures.p95_ms,
            f"latency_ci_low_ms.{device}": figures.ci_low_ms,
            f"latency_ci_high_ms.{device}": figures.ci_high_ms,
        }
    return {key: float(value) for key, value in metrics.items()}
