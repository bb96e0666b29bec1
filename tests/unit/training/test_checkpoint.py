import json

import pytest
import torch
from torch import nn

from ofa_pipeline.errors import CheckpointError
from ofa_pipeline.progress import Reporter
from ofa_pipeline.training import Checkpoints, EpochRecord
from ofa_pipeline.training.checkpoint import FILE_NAME, PREVIOUS_NAME, Position
from ofa_pipeline.training.optimizer import build_optimizer, set_learning_rate
from tests.support.limits import no_file_larger_than

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


def test_full_disk_keeps_the_last_checkpoint_and_the_next_run_goes_on_from_it(tmp_path):
    network, optimizer = stepped()
    checkpoints = Checkpoints(tmp_path)
    for epoch in (1, 2):
        checkpoints.save(network, optimizer, Position(epoch=epoch))
    for _ in range(2):  # another try on the full disk does no harm
        with no_file_larger_than(100), pytest.raises(OSError, match="File too large"):
            checkpoints.save(network, optimizer, Position(epoch=3))
        assert [path.name for path in tmp_path.iterdir()] == [PREVIOUS_NAME]
    assert Checkpoints(tmp_path).restore(*stepped()) == Position(epoch=2)
    checkpoints.save(network, optimizer, Position(epoch=3))
    assert Checkpoints(tmp_path).restore(*stepped()) == Position(epoch=3)


def restored(folder):
    """Restore into a fresh network; return everything that came back, and what was said."""
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    optimizer = build_optimizer(network, momentum=0.9, weight_decay=0.0)
    lines = []
    reporter = Reporter(lambda event: lines.append(event.label))
    at = Checkpoints(folder).restore(network, optimizer, reporter=reporter)
    momentum = [
        optimizer.state.get(p, {}).get("momentum_buffer", torch.zeros(0)).flatten().tolist()
        for p in network.parameters()
    ]
    weights = {name: tensor.tolist() for name, tensor in network.state_dict().items()}
    return (at, weights, momentum), lines


def save_two(folder):
    """Save a checkpoint, train a step, save another; return what restores from each."""
    network, optimizer = stepped()
    first = Position(epoch=1, batch=0, loss_sum=0.0, history=[RECORD])
    Checkpoints(folder).save(network, optimizer, first)
    expected = [restored(folder)[0]]
    optimizer.step()
    Checkpoints(folder).save(network, optimizer, Position(epoch=1, batch=5, history=[RECORD]))
    expected.append(restored(folder)[0])
    assert expected[0] != expected[1]
    return expected


def flip(path, offset, bit=1):
    content = bytearray(path.read_bytes())
    content[offset] ^= bit
    path.write_bytes(content)


def test_no_flipped_bit_is_resumed_from(tmp_path):
    before, _ = save_two(tmp_path)
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    (tmp_path / PREVIOUS_NAME).unlink()  # so that nothing is left but the damaged one
    fresh, _ = restored(tmp_path / "none")
    for offset in range(len(whole)):
        path.write_bytes(whole)
        flip(path, offset, 1 << offset % 8)
        found, lines = restored(tmp_path)
        assert found == fresh, offset
        assert "is damaged" in lines[0]
        assert "starts again from its beginning" in lines[0]
        assert not path.exists()
    assert before != fresh


def test_after_a_damaged_checkpoint_the_one_before_is_used(tmp_path):
    before, _ = save_two(tmp_path)
    path = tmp_path / FILE_NAME
    flip(path, path.stat().st_size - 1)
    damaged = path.read_bytes()
    found, lines = restored(tmp_path)
    assert found == before
    assert "goes on from the one before, epoch 1, batch 0" in lines[0]
    assert (tmp_path / f"{FILE_NAME}.bad").read_bytes() == damaged
    # It is still there for the next time, and the next save does not lose it for a bad one.
    assert restored(tmp_path) == (before, [])


def test_two_damaged_checkpoints_mean_a_fresh_start(tmp_path):
    save_two(tmp_path)
    for name in (FILE_NAME, PREVIOUS_NAME):
        flip(tmp_path / name, 100)
    found, lines = restored(tmp_path)
    assert found == restored(tmp_path / "none")[0]
    assert FILE_NAME in lines[0]
    assert PREVIOUS_NAME in lines[0]


def test_a_kill_between_two_checkpoints_leaves_the_one_before(tmp_path):
    before, _ = save_two(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    assert restored(tmp_path) == (before, [])


@pytest.mark.parametrize("size", [0, 1, 8, 9, 200, -1])
def test_a_cut_checkpoint_is_set_aside(tmp_path, size):
    before, _ = save_two(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:size])
    assert restored(tmp_path)[0] == before


def with_header(header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"no checkpoint",
        json.dumps({}).encode(),
        with_header([]),
        with_header({"__metadata__": None}),
        with_header({"__metadata__": {"position": "{}"}}),
        with_header({"__metadata__": {"sha256": 3}}),
    ],
)
def test_a_file_of_another_kind_is_set_aside_and_said(tmp_path, content):
    (tmp_path / FILE_NAME).write_bytes(content)
    found, lines = restored(tmp_path)
    assert found == restored(tmp_path / "none")[0]
    assert "starts again" in lines[0]
    assert (tmp_path / f"{FILE_NAME}.bad").read_bytes() == content


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    network, optimizer = stepped()
    Checkpoints(tmp_path).save(network, optimizer, Position())
    other = nn.Conv2d(3, 8, 3)
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        Checkpoints(tmp_path).restore(other, build_optimizer(other, momentum=0.9, weight_decay=0.0))
