"""Files of supernets and subnets: exact, self-describing, and checked when read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.supernet import (
    extract_subnet,
    load_subnet,
    load_supernet,
    save_subnet,
    save_supernet,
)
from tests.support.networks import random_images, random_supernet, tiny_space


def test_a_supernet_is_read_back_exactly(tmp_path):
    space = tiny_space()
    supernet = random_supernet(space, dropout=0.2)
    path = tmp_path / "weights.safetensors"
    save_supernet(supernet, path)
    read = load_supernet(path)
    assert (read.space, read.num_classes, read.dropout) == (space, supernet.num_classes, 0.2)
    assert not read.training
    images = random_images()
    with torch.no_grad():
        assert torch.equal(read(images, space.largest), supernet(images, space.largest))


def test_a_subnet_is_read_back_exactly(tmp_path):
    space = tiny_space()
    arch = space.arch(depths=[1, 2], kernel_sizes=5, expand_ratios=3.0)
    subnet = extract_subnet(random_supernet(space), arch)
    path = tmp_path / "weights.safetensors"
    save_subnet(subnet, path)
    read = load_subnet(path)
    assert read.arch == arch
    images = random_images()
    with torch.no_grad():
        assert torch.equal(read(images), subnet(images))


def test_equal_networks_give_equal_bytes(tmp_path):
    space = tiny_space()
    for name in ("a", "b"):
        save_supernet(random_supernet(space), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"weights\.safetensors must be .* but is missing"):
        load_supernet(tmp_path / "weights.safetensors")


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_supernet(random_supernet(tiny_space()), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_supernet(path)


def test_an_html_page_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("<!DOCTYPE html><html>404</html>")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_supernet(path)


def test_a_subnet_is_not_read_as_a_supernet(tmp_path):
    space = tiny_space()
    path = tmp_path / "weights.safetensors"
    save_subnet(extract_subnet(random_supernet(space), space.smallest), path)
    with pytest.raises(CheckpointError, match="its kind is 'ofa-pipeline subnet'"):
        load_supernet(path)


@pytest.mark.parametrize("broken", ["space", "num_classes", "arch"])
def test_a_description_that_is_incomplete_is_refused(tmp_path, broken):
    space = tiny_space()
    metadata = {
        "kind": "ofa-pipeline subnet",
        "space": json.dumps(space.to_dict()),
        "num_classes": "5",
        "dropout": "0.0",
        "arch": json.dumps(space.smallest.to_dict()),
    }
    del metadata[broken]
    path = tmp_path / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"description": json.dumps(metadata)})
    with pytest.raises(CheckpointError, match=broken):
        load_subnet(path)


def test_tensors_that_do_not_fit_the_description_are_listed(tmp_path):
    space = tiny_space()
    metadata = {
        "kind": "ofa-pipeline supernet",
        "space": json.dumps(space.to_dict()),
        "num_classes": "5",
        "dropout": "0.0",
    }
    path = tmp_path / "weights.safetensors"
    tensors = random_supernet(space).state_dict()
    del tensors["stem.norm.bias"]
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    tensors["classifier.bias"] = torch.zeros(7)
    tensors["extra"] = torch.zeros(1)
    save_file(tensors, path, {"description": json.dumps(metadata)})
    with pytest.raises(CheckpointError, match=r"stem\.norm\.bias.*extra.*classifier\.bias"):
        load_supernet(path)
