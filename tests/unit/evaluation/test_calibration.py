import pytest
import torch
from torch import nn

from ofa_pipeline.errors import NotEnoughBatchesError
from ofa_pipeline.evaluation import calibrate_batch_norm, calibration
from ofa_pipeline.supernet import build_subnet
from tests.support.training import tiny_space


@pytest.fixture
def subnet():
    return build_subnet(tiny_space(), tiny_space().largest, num_classes=3).double()


def images(count, *, side_px=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Images of different brightness, so that the means of batches differ.
    brightness = torch.linspace(-2, 2, count, dtype=torch.double)[:, None, None, None]
    noise = torch.randn(count, 3, side_px, side_px, generator=generator, dtype=torch.double)
    return brightness + noise


def statistics(network):
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return [(norm.running_mean, norm.running_var) for norm in norms]


def test_statistics_are_those_of_the_whole_batch(subnet):
    batch = images(16)
    stem = subnet.stem.conv(batch)
    mean, variance = statistics(calibrate_batch_norm(subnet, [batch]))[0]
    torch.testing.assert_close(mean, stem.mean((0, 2, 3)))
    torch.testing.assert_close(variance, stem.var((0, 2, 3), unbiased=False))


def test_a_calibrated_network_gives_what_training_mode_gave_on_the_batch(subnet):
    batch = images(16)
    calibrated = calibrate_batch_norm(subnet, [batch])
    torch.testing.assert_close(calibrated(batch), subnet.train()(batch))


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (1, 15), (7, 2, 7)])
def test_how_the_images_are_cut_makes_no_difference(subnet, sizes):
    batch = images(16)
    whole = statistics(calibrate_batch_norm(subnet, [batch]))
    for one, other in zip(
        whole, statistics(calibrate_batch_norm(subnet, batch.split(sizes))), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_beyond_the_memory_limit_variances_within_and_between_batches_add_up(monkeypatch):
    monkeypatch.setattr(calibration, "MAX_JOINT_PIXELS", 1)
    norm = nn.Sequential(nn.BatchNorm2d(3)).double()
    batch = images(16)
    [(mean, variance)] = statistics(calibrate_batch_norm(norm, batch.split((5, 1, 10))))
    torch.testing.assert_close(mean, batch.mean((0, 2, 3)))
    torch.testing.assert_close(variance, batch.var((0, 2, 3), unbiased=False))


def test_the_argument_is_unchanged_and_the_result_is_in_evaluation_mode(subnet):
    before = {name: tensor.clone() for name, tensor in subnet.state_dict().items()}
    momenta = [m.momentum for m in subnet.modules() if isinstance(m, nn.BatchNorm2d)]
    calibrated = calibrate_batch_norm(subnet, [images(4)])
    assert not calibrated.training
    assert momenta == [m.momentum for m in calibrated.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(module._forward_hooks for module in calibrated.modules())
    for name, tensor in subnet.state_dict().items():
        assert torch.equal(tensor, before[name])
    for name, parameter in calibrated.named_parameters():
        assert torch.equal(parameter, subnet.get_parameter(name))


def test_no_images_are_refused(subnet):
    with pytest.raises(NotEnoughBatchesError, match="at least one image"):
        calibrate_batch_norm(subnet, [])


def test_a_single_value_a_channel_is_refused(subnet):
    with pytest.raises(NotEnoughBatchesError, match="more than one value a channel"):
        calibrate_batch_norm(subnet, [images(1, side_px=2)])
