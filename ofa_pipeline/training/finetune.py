"""Training of one subnet: fine-tuning with a teacher, or alone from scratch."""

import copy

from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.supernet import ElasticBatchNorm, Subnet
from ofa_pipeline.training.loop import Hooks, train_phase
from ofa_pipeline.training.phases import Fixed, Phase
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.schedule import Schedule
from ofa_pipeline.training.step import Teacher, TrainingImages


class _OneArch(nn.Module):
    """A subnet behind the interface of a supernet that only has this architecture.

    Its batch norms are trained as the supernet's: with the statistics of the batch or of groups of
    it, and without a write to their buffers, for which gradients side by side would race.
    """

    def __init__(self, subnet: Subnet) -> None:
        super().__init__()
        self.subnet = subnet
        self._plain = {
            name: module
            for name, module in subnet.named_modules()
            if isinstance(module, nn.BatchNorm2d)
        }
        for name, norm in self._plain.items():
            subnet.set_submodule(name, _elastic(norm))

    def plain_subnet(self) -> Subnet:
        """Return the subnet with its own batch norms, whose parameters have been trained."""
        for name, norm in self._plain.items():
            self.subnet.set_submodule(name, norm)
        return self.subnet

    def forward(self, images: Tensor, arch: Arch) -> Tensor:
        assert arch == self.subnet.arch
        logits: Tensor = self.subnet(images)
        return logits


def _elastic(norm: nn.BatchNorm2d) -> ElasticBatchNorm:
    """Return a batch norm for training that has the parameters of a plain one."""
    elastic = ElasticBatchNorm(norm.num_features, eps=norm.eps)
    elastic.weight, elastic.bias = norm.weight, norm.bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    elastic.running_mean, elastic.running_var = norm.running_mean, norm.running_var
    return elastic


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
    for parameter in network.parameters():
        parameter.grad = None
    return network.plain_subnet().eval()
