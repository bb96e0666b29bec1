"""The record as a value."""

import json

import pytest

from ofa_pipeline.errors import RegistryError
from ofa_pipeline.registry import SubnetRecord, budget_alias, registered_model_name
from ofa_pipeline.registry.record import NewerRecordError
from tests.support.registry import latency_figures, subnet_record


def test_record_round_trips_through_json():
    record = subnet_record()
    assert SubnetRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize("name", ["accuracy_top1", "accuracy_top5", "accuracy_top1_selection"])
@pytest.mark.parametrize("value", [-0.1, 1.1, 91.5, float("nan")])
def test_accuracy_that_is_no_fraction_is_refused(name, value):
    with pytest.raises(RegistryError, match=f"{name} must be a fraction"):
        subnet_record(**{name: value})


@pytest.mark.parametrize("latency", [{}, {"gpu": latency_figures(1)}])
def test_record_without_latency_on_its_device_is_refused(latency):
    with pytest.raises(RegistryError, match="latency measured on its device cpu"):
        subnet_record(latency=latency)


@pytest.mark.parametrize(
    "change",
    [
        {"arch": {}},
        {"latency": 3},
        {"latency": {"cpu": {"p50_ms": 0}}},
        {"budgets_ms": None},
    ],
)
def test_record_of_another_version_is_explained(change):
    with pytest.raises(RegistryError, match="not a subnet record: "):
        SubnetRecord.from_dict(subnet_record().to_dict() | change)


def test_what_a_newer_version_adds_is_left_alone():
    record = subnet_record()
    values = record.to_dict() | {"energy_mj": 3.5, "format": 1}
    values["arch"] = values["arch"] | {"groups": [1]}
    assert SubnetRecord.from_dict(values) == record


def test_newer_format_is_told_from_what_is_wrong():
    with pytest.raises(NewerRecordError, match=r"of format 2, this version reads 1\. Install"):
        SubnetRecord.from_dict(subnet_record().to_dict() | {"format": 2})


def test_dataset_that_is_not_in_the_lineage_is_unknown():
    assert subnet_record(lineage={}).dataset_digest == ""


def test_model_name_says_prefix_dataset_space_and_device():
    name = registered_model_name("ofa", dataset="pets", space_id="tiny", device="cpu")
    assert name == "ofa-pets-tiny-cpu"


def test_record_from_before_datasets_had_names_is_read():
    values = subnet_record().to_dict()
    del values["dataset"]
    assert SubnetRecord.from_dict(values) == subnet_record(dataset="")


@pytest.mark.parametrize(
    ("budget_ms", "alias"), [(3.0, "best-3ms"), (0.45, "best-450us"), (12.25, "best-12250us")]
)
def test_alias_of_a_budget_is_one_that_mlflow_allows(budget_ms, alias):
    assert budget_alias(budget_ms) == alias
