import json

import pytest
import torch
from torch import nn

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.training import Checkpoints, EpochRecord
from ofa_pipeline.training.checkpoint import FILE_NAME, Position
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate

RECORD = EpochRecord(phase="p", epoch=1, learning_rate=0.1, loss=1 / 3, metrics={"a": 0.5})


def stepped():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, momentum=0.9, weight_decay=0.0)
    set_learning_rate(optimizer, 0.1)
    network(torch.ones(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    return network, optimizer


def test_weights_momentum_and_position_come_back_bit_for_bit(tmp_path):
    network, optimizer = stepped()
    at = Position(epoch=3, batch=7, loss_sum=0.1 + 0.2, history=[RECORD])
    Checkpoints(tmp_path).save(network, optimizer, at)
    other = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    other_optimizer = build_optimizer(other, momentum=0.9, weight_decay=0.0)
    assert Checkpoints(tmp_path).restore(other, other_optimizer) == at
    assert torch.equal(other.weight, network.weight)
    for one, two in zip(network.parameters(), other.parameters(), strict=True):
        saved = optimizer.state[one]["momentum_buffer"]
        assert torch.equal(other_optimizer.state[two]["momentum_buffer"], saved)


def test_nothing_saved_means_a_fresh_start(tmp_path):
    network, optimizer = stepped()
    assert Checkpoints(tmp_path / "none").restore(network, optimizer) == Position()


def test_without_a_folder_nothing_is_saved():
    network, optimizer = stepped()
    checkpoints = Checkpoints(None, interval_s=0)
    checkpoints.save(network, optimizer, Position(epoch=1))
    assert not checkpoints.is_due
    assert checkpoints.restore(network, optimizer) == Position()


def test_a_checkpoint_is_due_after_its_interval(tmp_path):
    assert Checkpoints(tmp_path, interval_s=0).is_due
    assert not Checkpoints(tmp_path, interval_s=3600).is_due


@pytest.mark.parametrize("content", [b"", b"no checkpoint", json.dumps({}).encode()])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    network, optimizer = stepped()
    with pytest.raises(CheckpointError, match="Remove it to start the phase again"):
        Checkpoints(tmp_path).restore(network, optimizer)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    network, optimizer = stepped()
    Checkpoints(tmp_path).save(network, optimizer, Position())
    other = nn.Conv2d(3, 8, 3)
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        Checkpoints(tmp_path).restore(other, build_optimizer(other, momentum=0.9, weight_decay=0.0))
