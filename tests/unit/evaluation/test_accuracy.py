import pytest
import torch
from torch import nn

from ofa_pipeline.evaluation import Predictions, evaluate_network
from tests.support.training import NORMALIZATION, NUM_CLASSES, striped_images


class BrightestChannel(nn.Module):
    """Knows the answer of `striped_images`."""

    def forward(self, images):
        return images.mean((2, 3))


def test_top1_and_top5_count_the_most_likely_classes():
    logits = torch.arange(6.0).repeat(4, 1)  # class 5 first, class 0 last
    predictions = Predictions(logits=logits, labels=torch.tensor([5, 4, 1, 0]))
    assert predictions.accuracy_top1 == 0.25
    assert predictions.accuracy_top5 == 0.75
    assert predictions.correct.tolist() == [True, False, False, False]


def test_top5_of_few_classes_is_always_right():
    predictions = Predictions(logits=torch.randn(4, 3), labels=torch.tensor([0, 1, 2, 0]))
    assert predictions.accuracy_top5 == 1.0


@pytest.mark.parametrize("resolution_px", [6, 12])
def test_a_network_is_evaluated_on_every_image_of_a_split_in_order(resolution_px):
    split = striped_images(37)
    predictions = evaluate_network(
        BrightestChannel(),
        split,
        resolution_px=resolution_px,
        normalization=NORMALIZATION,
        batch_size=8,
    )
    assert predictions.logits.shape == (37, NUM_CLASSES)
    assert torch.equal(predictions.labels, split.labels)
    assert predictions.accuracy_top1 == 1.0
