"""Our supernets beside the reference's, with the same random weights."""

import pytest
import torch
import torch.nn.functional as F

from ofa_pipeline.reference.checkpoints import load_reference_state
from ofa_pipeline.reference.names import reference_names, to_reference
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
from ofa_pipeline.supernet import build_supernet, extract_subnet, sort_channels
from tests.support.networks import random_archs, randomize
from tests.support.reference import build_reference, reference_setting

networks = pytest.importorskip(
    "ofa.imagenet_classification.elastic_nn.networks",
    reason="needs the reference implementation: pip install ofa-pipeline[reference]",
)
pytestmark = [
    pytest.mark.reference,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("one_thread"),
]

NUM_CLASSES = 7
NUM_ARCHS = 20
MAIN = "ofa_mbv3_d234_e346_k357_w1.0"


def images(count: int = 2, side_px: int = 33) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, side_px, side_px, generator=generator, dtype=torch.float64)


def pair(space_id, *, seed=1):
    ours = build_supernet(reference_space(space_id), num_classes=NUM_CLASSES, seed=seed)
    randomize(ours, seed=seed)
    ours.double().eval()
    reference = build_reference(networks, space_id, num_classes=NUM_CLASSES).eval()
    reference.load_state_dict(to_reference(ours))
    return ours, reference


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_our_weights_give_the_same_logits_there(space_id):
    ours, reference = pair(space_id)
    for arch in random_archs(ours.space, NUM_ARCHS):
        reference.set_active_subnet(**reference_setting(ours.space, arch))
        torch.testing.assert_close(ours(images(), arch), reference(images()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_its_weights_give_the_same_logits_here(space_id):
    reference = build_reference(networks, space_id, num_classes=NUM_CLASSES).eval()
    ours = build_supernet(reference_space(space_id), num_classes=NUM_CLASSES, seed=2)
    ours.double().eval()
    load_reference_state(ours, reference.state_dict(), origin="the reference")
    for arch in random_archs(ours.space, NUM_ARCHS, seed=1):
        reference.set_active_subnet(**reference_setting(ours.space, arch))
        torch.testing.assert_close(ours(images(), arch), reference(images()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_extracted_subnets_have_the_same_weights(space_id):
    ours, reference = pair(space_id)
    for arch in random_archs(ours.space, 2):
        reference.set_active_subnet(**reference_setting(ours.space, arch))
        expected = reference.get_active_subnet().state_dict()
        found = to_reference(extract_subnet(ours, arch))
        assert found.keys() == expected.keys()
        for key, tensor in found.items():
            torch.testing.assert_close(tensor.float(), expected[key].float())


@pytest.mark.parametrize("space_id", REFERENCE_SPACES)
@torch.no_grad()
def test_sorting_by_importance_gives_the_same_weights(space_id):
    ours, reference = pair(space_id)
    sort_channels(ours, trained_expand_ratios=[ours.space.block_groups[-1].expand_ratios[-1]])
    reference.re_organize_middle_weights(expand_ratio_stage=0)
    expected = reference.state_dict()
    for key, tensor in to_reference(ours).items():
        torch.testing.assert_close(tensor, expected[key])


def test_training_has_the_same_loss_and_gradients():
    ours, reference = pair(MAIN)
    ours.train()
    reference.train()
    labels = torch.tensor([0, 3, 5, 6])
    names = reference_names(ours, "supernet")
    for arch in random_archs(ours.space, 3):
        ours.zero_grad()
        reference.zero_grad()
        reference.set_active_subnet(**reference_setting(ours.space, arch))
        losses = [
            F.cross_entropy(ours(images(4, 64), arch), labels),
            F.cross_entropy(reference(images(4, 64)), labels),
        ]
        for loss in losses:
            loss.backward()
        torch.testing.assert_close(losses[0], losses[1])
        expected = {key: parameter.grad for key, parameter in reference.named_parameters()}
        for name, parameter in ours.named_parameters():
            gradient = expected[names[name]]
            if parameter.grad is None:
                assert gradient is None or gradient.abs().max() == 0
            else:
                torch.testing.assert_close(
                    parameter.grad, gradient.reshape(parameter.shape), rtol=1e-5, atol=1e-7
                )
