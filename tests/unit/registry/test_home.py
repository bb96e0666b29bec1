"""A workspace sees its own dataset in a registry that many share."""

from pathlib import Path

import pytest
import yaml

from ofa_pipeline.artifacts import Layout, Manifest, write_artifact
from ofa_pipeline.errors import ParamsError, RegistryError
from ofa_pipeline.registry import HomeDataset, open_registry
from ofa_pipeline.registry.home import home_dataset
from tests.support.registry import DATASET, InMemoryRegistry, subnet_record

ROOT = Path(__file__).parents[3]
OWN, OTHER = "0a" * 32, "0b" * 32


def register(registry, accuracy, **changes):
    """Register what lies nowhere."""
    return registry.register(subnet_record(accuracy=accuracy, **changes), Path())


@pytest.fixture
def shared():
    """A registry of two teams, asked from the workspace of the less accurate one."""
    registry = InMemoryRegistry(home=HomeDataset(name="pets", digest=OWN))
    register(registry, 0.7, dataset="pets", lineage={DATASET: OWN})
    register(registry, 0.9, dataset="cars", lineage={DATASET: OTHER})
    return registry


def test_workspace_is_answered_with_its_own_dataset(shared):
    assert shared.best(device="cpu", max_latency_ms=9).record.dataset == "pets"
    assert shared.choose().record.dataset == "pets"
    assert [item.record.dataset for item in shared.list_subnets()] == ["pets"]


def test_workspace_is_answered_with_another_dataset_when_it_names_it(shared):
    assert shared.choose(dataset="cars").record.dataset == "cars"
    assert len(shared.list_subnets(dataset="any")) == 2


def test_any_dataset_is_looked_through_but_never_compared(shared):
    with pytest.raises(RegistryError, match="do not compare, and several are registered: cars, pe"):
        shared.choose(dataset="any")
    register(shared, 0.5, dataset="cars", lineage={DATASET: OTHER}, device="gpu")
    assert shared.choose(dataset="any", device="gpu").record.dataset == "cars"


def test_teams_whose_datasets_share_a_name_see_their_own_images(shared):
    register(shared, 0.95, dataset="pets", lineage={DATASET: OTHER})
    assert shared.choose().record.accuracy_top1 == 0.7
    assert shared.choose(dataset="pets").record.accuracy_top1 == 0.95


def test_workspace_whose_images_changed_is_answered_with_the_newest_until_it_registered(shared):
    shared.home = HomeDataset(name="pets", digest="0c" * 32)
    register(shared, 0.6, dataset="pets", lineage={DATASET: OTHER})
    assert shared.choose().record.accuracy_top1 == 0.6
    register(shared, 0.5, dataset="pets", lineage={DATASET: "0c" * 32})
    assert shared.choose().record.accuracy_top1 == 0.5


def test_entries_from_before_datasets_had_names_are_known_by_the_digest(shared):
    old = register(shared, 0.8, lineage={DATASET: OWN}, bundle_digest="01d")
    register(shared, 0.99, lineage={DATASET: OTHER})
    assert shared.choose() == old
    assert len(shared.list_subnets()) == 2
    register(
        shared, 0.8, lineage={DATASET: OWN}, bundle_digest="01d", dataset="pets", model_name="m"
    )
    assert [item.record.dataset for item in shared.list_subnets()] == ["pets", "pets"]


def test_workspace_without_subnets_is_told_whose_there_are(shared):
    shared.home = HomeDataset(name="birds")
    message = r"dataset 'birds' \(this workspace's\).*Registered: cars, pets|Known: cars, pets"
    with pytest.raises(RegistryError, match=message):
        shared.choose()
    assert shared.list_subnets() == ()


def test_every_name_of_the_same_images_is_told(shared):
    for name in ("pets", "animals"):
        register(shared, 0.8, lineage={DATASET: OWN}, dataset=name, model_name=name)
    with pytest.raises(RegistryError, match="animals, cars, pets"):
        shared.choose(dataset="none of them")


@pytest.fixture
def workspace_of(tmp_path):
    def make(**dataset):
        values = yaml.safe_load((ROOT / "params.yaml").read_text())
        values["dataset"] |= dataset
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return tmp_path

    return make


def test_home_is_what_params_and_the_prepared_dataset_say(workspace_of):
    folder = workspace_of(source="image_folder:/data/pets/train")
    assert home_dataset(folder) == HomeDataset(name="pets", digest="")
    dataset = Layout(folder).dataset
    with write_artifact(dataset, stage="prepare_dataset", item=None, params={}, inputs=[]):
        pass
    digest = Manifest.read(dataset, made_by="a test").digest
    assert home_dataset(folder) == HomeDataset(name="pets", digest=digest)
    assert home_dataset(workspace_of(name="mine")).name == "mine"


@pytest.mark.parametrize("text", ["alpha: 1\n", "", "dataset: 3\n", "dataset: {path: x}\n"])
def test_folder_of_another_program_is_no_workspace(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    assert home_dataset(tmp_path) is None
    assert open_registry(tmp_path).list_subnets() == ()


def test_folder_without_params_is_no_workspace(tmp_path):
    assert home_dataset(tmp_path) is None


@pytest.mark.parametrize("text", ["dataset: {source: 3}\n", "a: [\n"])
def test_params_that_are_wrong_are_not_guessed_around(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError):
        open_registry(tmp_path).list_subnets()
    assert open_registry(tmp_path).list_subnets(dataset="pets") == ()
