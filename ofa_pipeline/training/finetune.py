"""Training of one subnet: fine-tuning with a teacher, or alone from scratch."""

import copy

from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.supernet import Subnet
from ofa_pipeline.training.loop import Hooks, train_phase
from ofa_pipeline.training.phases import Fixed, Phase
from ofa_pipeline.training.schedule import Schedule
from ofa_pipeline.training.step import Recipe, Teacher, TrainingImages


class _OneArch(nn.Module):
    """A subnet behind the interface of a supernet that only has this architecture."""

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet = subnet
        self._norms = [
            norm
            for norm in subnet.modules()
            if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats
        ]
        self.track_statistics(False)

    def track_statistics(self, is_on: bool) -> None:
        """Let batch norm collect statistics or not; gradients side by side would race for them."""
        for norm in self._norms:
            norm.track_running_stats = is_on

    def forward(self, images: Tensor, arch: Arch) -> Tensor:
        assert arch == self.subnet.arch
        logits: Tensor = self.subnet(images)
        return logits


def finetune(
    subnet: Subnet,
    teacher: Teacher | None,
    *,
    schedule: Schedule,
    images: TrainingImages,
    recipe: Recipe,
    hooks: Hooks | None = None,
) -> Subnet:
    """Train a copy of a subnet at its own resolution.

    Args:
        subnet: Where to start; it is not changed.
        teacher: Soft labels, or None for the labels alone.
        schedule: Epochs and learning rate.
        images: Where the batches come from.
        recipe: As for the supernet; give it another seed for another run.
        hooks: Validation, checkpoints, progress; by default nothing. The stopwatch is started
            and stopped here.

    Returns:
        The trained copy in evaluation mode, with the batch-norm statistics that it came with;
        calibrate it before use.

    Raises:
        NotEnoughBatchesError: If there are fewer images than one batch.
        TrainingDivergedError: If the loss is not finite.
    """
    network = _OneArch(copy.deepcopy(subnet))
    phase = Phase(
        name=f"finetune {subnet.arch.arch_id}",
        archs=Fixed(arch=subnet.arch),
        schedule=schedule,
    )
    hooks = hooks or Hooks()
    with hooks.stopwatch:
        train_phase(network, phase, images=images, recipe=recipe, teacher=teacher, hooks=hooks)
    network.track_statistics(True)
    for parameter in network.parameters():
        parameter.grad = None
    return network.subnet.eval()
