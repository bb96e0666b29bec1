"""Weights are found by what params.yaml says of them, and are the ones that are meant."""

import pytest
import torch

from ofa_pipeline.artifacts import digest_file
from ofa_pipeline.errors import (
    CheckpointError,
    ManifestMismatchError,
    MissingArtifactError,
    RegistryError,
)
from ofa_pipeline.initial_weights import is_at_hand, read_weights
from ofa_pipeline.reference.zoo import import_file, supernet_file
from ofa_pipeline.registry import open_registry
from ofa_pipeline.spaces import reference_space
from ofa_pipeline.supernet import extract_subnet, save_supernet
from ofa_pipeline.weights_source import parse_source
from tests.support.networks import tiny_space
from tests.support.registry import digest_of, subnet_record
from tests.support.weights import (
    weights_of,
    write_checkpoint,
    write_subnet_bundle,
    write_supernet,
)

SPACE = tiny_space()
NAMES = ("cat", "dog", "eel")
PUBLISHED = "ofa_mbv3_d234_e346_k357_w1.0"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_PIPELINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def read(root, kind, text, space=SPACE):
    return read_weights(parse_source(kind, text), root=root, space=space)


def assert_same(network, expected):
    state = expected.state_dict()
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(t, state[name]) for name, t in network.state_dict().items())


def test_a_supernet_file_of_ours(tmp_path):
    expected = write_supernet(tmp_path / "own.safetensors", SPACE)
    found = read(tmp_path, "supernet", "own.safetensors")
    assert_same(found.network, expected)
    assert found.sha256 == digest_file(tmp_path / "own.safetensors")
    assert found.class_names is None


def test_the_folder_of_a_phase_with_the_classes_of_its_workspace(tmp_path):
    folder = tmp_path / "other" / "artifacts" / "supernet" / "elastic"
    folder.mkdir(parents=True)
    expected = write_supernet(folder / "supernet.safetensors", SPACE)
    dataset = tmp_path / "other" / "artifacts" / "dataset"
    dataset.mkdir()
    (dataset / "classes.json").write_text('{"class_names": ["cat", "dog", "eel"]}')
    found = read(tmp_path, "supernet", str(folder))
    assert_same(found.network, expected)
    assert found.class_names == NAMES


def test_a_checkpoint_of_the_reference(tmp_path):
    expected = weights_of(SPACE)
    write_checkpoint(tmp_path / "weights.pth", expected)
    assert_same(read(tmp_path, "checkpoint", "weights.pth").network, expected)


def test_a_checkpoint_of_the_largest_static_network(tmp_path):
    supernet = weights_of(SPACE)
    write_checkpoint(tmp_path / "static.pth", extract_subnet(supernet, SPACE.largest))
    found = read(tmp_path, "checkpoint", "static.pth").network
    assert torch.equal(found.final.conv.weight, supernet.final.conv.weight)


def test_a_published_supernet_from_the_cache(tmp_path):
    space = reference_space(PUBLISHED)
    assert not is_at_hand(parse_source("published", PUBLISHED))
    expected = weights_of(space, num_classes=10)
    write_checkpoint(tmp_path / PUBLISHED, expected)
    import_file(supernet_file(PUBLISHED), tmp_path / PUBLISHED)  # as zoo get --from
    assert is_at_hand(parse_source("published", PUBLISHED))
    assert_same(read(tmp_path, "published", PUBLISHED, space).network, expected)


def test_a_bundle_with_its_classes(tmp_path):
    expected = write_subnet_bundle(tmp_path / "phone", SPACE, SPACE.smallest, class_names=NAMES)
    found = read(tmp_path, "bundle", "phone")
    assert_same(found.network, expected)
    assert found.class_names == NAMES
    assert found.sha256 == digest_file(tmp_path / "phone" / "weights.safetensors")


def test_a_registered_subnet(tmp_path):
    folder = tmp_path / "phone"
    expected = write_subnet_bundle(folder, SPACE, SPACE.smallest, class_names=NAMES)
    record = subnet_record(bundle_digest=digest_of(folder))
    registered = open_registry(tmp_path).register(record, folder)
    found = read(tmp_path, "registry", f"{registered.record.model_name}/{registered.version}")
    assert_same(found.network, expected)
    with pytest.raises(RegistryError, match="the registry has no models:/ofa-tiny-cpu/9"):
        read(tmp_path, "registry", "ofa-tiny-cpu/9")


def test_the_digest_that_is_named_must_be_that_of_the_file(tmp_path):
    write_supernet(tmp_path / "own.safetensors", SPACE)
    right = digest_file(tmp_path / "own.safetensors")
    assert read(tmp_path, "supernet", f"own.safetensors@sha256:{right}").sha256 == right
    with pytest.raises(CheckpointError, match=f"aaaaaaaaaaaa..., found {right}"):
        read(tmp_path, "supernet", f"own.safetensors@sha256:{'a' * 64}")


@pytest.mark.parametrize("kind", ["supernet", "checkpoint", "bundle"])
def test_what_is_not_there_is_named(tmp_path, kind):
    with pytest.raises(MissingArtifactError, match=f"{tmp_path}/nowhere"):
        read(tmp_path, kind, "nowhere")


@pytest.mark.parametrize("kind", ["supernet", "checkpoint"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, kind):
    (tmp_path / "broken").write_bytes(b"\x00 not weights")
    with pytest.raises(CheckpointError, match="broken"):
        read(tmp_path, kind, "broken")


def test_a_damaged_artifact_is_refused(tmp_path):
    folder = tmp_path / "phone"
    write_subnet_bundle(folder, SPACE, SPACE.smallest, class_names=NAMES)
    save_supernet(weights_of(SPACE), folder / "weights.safetensors")
    with pytest.raises(ManifestMismatchError, match=r"weights\.safetensors"):
        read(tmp_path, "bundle", "phone")


def test_a_checkpoint_of_another_space_says_of_which_it_is(tmp_path):
    write_checkpoint(tmp_path / "weights.pth", weights_of(reference_space(PUBLISHED)))
    with pytest.raises(CheckpointError, match=f"It is a checkpoint of {PUBLISHED}"):
        read(tmp_path, "checkpoint", "weights.pth")
