import pytest
import torch

from ofa_pipeline.errors import TrainingDivergedError
from ofa_pipeline.training.checkpoint import Position
from ofa_pipeline.training.divergence import STEPS_UNREAD, Losses


class OnDevice:
    """The loss of a step on an accelerator."""

    device = torch.device("cuda")

    def __init__(self, value):
        self.value = value


@pytest.fixture
def _stacked(monkeypatch):
    monkeypatch.setattr(
        torch, "stack", lambda losses: torch.tensor([loss.value for loss in losses])
    )


def test_on_the_cpu_each_loss_is_known_at_once():
    at = Position(loss_sum=1.0)
    losses = Losses("elastic", at)
    losses.note(torch.tensor(0.5), 0)
    assert (at.loss_sum, losses.last) == (1.5, 0.5)


@pytest.mark.usefixtures("_stacked")
def test_on_an_accelerator_losses_are_read_now_and_then():
    at = Position()
    losses = Losses("elastic", at)
    for number in range(STEPS_UNREAD - 1):
        losses.note(OnDevice(1.0), number)
    assert (at.loss_sum, losses.last) == (0, None)
    losses.note(OnDevice(2.0), STEPS_UNREAD - 1)
    assert (at.loss_sum, losses.last) == (STEPS_UNREAD + 1, 2.0)


@pytest.mark.usefixtures("_stacked")
def test_the_first_loss_that_is_not_finite_is_named():
    losses = Losses("elastic", Position())
    losses.note(OnDevice(1.0), 100)
    losses.read()
    for number, value in enumerate((1.0, float("nan"), float("inf")), 101):
        losses.note(OnDevice(value), number)
    with pytest.raises(TrainingDivergedError, match="got nan in step 102 of phase elastic"):
        losses.read()
