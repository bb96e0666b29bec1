import pytest
import torch

from ofa_pipeline.errors import TrainingDivergedError
from ofa_pipeline.training.checkpoint import Position
from ofa_pipeline.training.divergence import STEPS_UNREAD, Losses
from ofa_pipeline.training.phases import Fixed, Phase, Sampled
from ofa_pipeline.training.schedule import Schedule
from tests.support.networks import tiny_space


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


@pytest.mark.parametrize(
    ("cosine", "advice"),
    [
        ((0.0, 1.0), "Lower phases.p.learning_rate, lengthen phases.p.warmup_epochs, or clip"),
        ((0.3, 1.0), "Lower phases.p.learning_rate, or clip gradients with phases.p.clip_value"),
    ],
)
def test_a_phase_that_diverges_is_told_what_it_may_change(cosine, advice):
    schedule = Schedule(epochs=1, warmup_epochs=0, learning_rate=1.0, cosine=cosine)
    space = tiny_space()
    phase = Phase(name="p", archs=Sampled(space=space, per_step=1), schedule=schedule)
    losses = Losses(phase.name, Position(), remedy=phase.remedy)
    with pytest.raises(TrainingDivergedError, match=advice):
        losses.note(torch.tensor(float("nan")), 0)


def test_fine_tuning_that_diverges_names_the_rate_of_fine_tuning():
    schedule = Schedule(epochs=1, warmup_epochs=0, learning_rate=1.0)
    phase = Phase(name="finetune x", archs=Fixed(arch=tiny_space().largest), schedule=schedule)
    assert phase.remedy == "Lower specialize.learning_rate."
