"""Parts of a step as CUDA graphs: recorded once, replayed with one launch.

A pass of a small network over small images is some hundred kernels of a few microseconds; to
launch each takes longer. A graph launches all of them at once, but its computation is fixed. So
what changes from step to step lies in tensors that are filled before: images, labels, the teacher's
logits, the weight of the loss, the seed of dropout, and the masks of the architecture
(`ofa_pipeline.supernet.padded`). An architecture that is in every step, such as the ends of a
sandwich, gets a graph of its own, without masks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import compute_device, copied_to
from ofa_pipeline.supernet import MBConvSupernet, PaddedSupernet
from ofa_pipeline.training.part import Group, Lesson, Part, Task
from ofa_pipeline.training.phases import ArchSource
from ofa_pipeline.training.regularization import Regularization
from ofa_pipeline.training.replica import Replica, add_gradients

LARGEST_PX = 64
"""Above, kernels take longer than their launch, and padding would cost more than it saves."""
DRAWS = 8
"""An architecture that is in each of so many draws is taken to be in every step."""

Launch = Callable[[], None]
Key = tuple[int, bool, Regularization, Arch | None]


def records_graphs(device: torch.device) -> bool:
    """Return whether a device replays what was recorded: CUDA does."""
    return device.type == "cuda"


def launches_kernels(resolutions_px: Sequence[int]) -> bool:
    """Return whether this machine launches the kernels of some of these image sizes one by one."""
    return compute_device() == "cuda" and max(resolutions_px) > LARGEST_PX


@dataclass(frozen=True, slots=True, eq=False)
class _Recording:
    """A part whose inputs and results lie where they were when it was recorded."""

    group: Group
    weight: Tensor
    masks: Tensor | None
    result: Part
    launch: Launch

    def replay(self, group: Group, *, weight: float, masks: Tensor | None) -> Part:
        """Compute the part of another group; the gradients are added to their totals."""
        self.group.images.copy_(group.images)
        self.group.labels.copy_(group.labels)
        if self.group.teacher_logits is not None and group.teacher_logits is not None:
            self.group.teacher_logits.copy_(group.teacher_logits)
        if self.masks is not None and masks is not None:
            self.masks.copy_(copied_to(self.masks.device, masks))
        self.weight.fill_(weight)
        self.launch()
        return Part(self.result.loss.clone(), None, self.result.logits.clone())


class GraphedParts:
    """Parts at small image sizes, each kind recorded when it is first asked for."""

    def __init__(
        self, replica: Replica, archs: ArchSource, lesson: Lesson, totals: Sequence[Tensor]
    ) -> None:
        """Record nothing yet.

        Args:
            archs: Where the subnets of a step come from.
            replica: The network that computes.
            lesson: How it learns.
            totals: What gradients are added to; always these tensors.
        """
        self._replica, self._lesson, self._totals = replica, lesson, totals
        self._device = totals[0].device
        network = replica.network
        self._padded = PaddedSupernet(network) if isinstance(network, MBConvSupernet) else None
        self._recurring = recurring_archs(archs)
        self._recordings: dict[Key, _Recording] = {}
        self._recorder = Recorder(self._device)

    def part(self, task: Task) -> Part | None:
        """Return what a subnet learns from a group; its gradients are in the totals already.

        Returns:
            None for what is not recorded: large images, a network that cannot be padded, or blocks
            that are left out by chance, at rates that depend on the architecture.
        """
        arch, group = task.arch, task.group
        if arch.resolution_px > LARGEST_PX:
            return None
        own, masks = arch if arch in self._recurring else None, None
        if own is None:
            if self._padded is None or task.given.drop_connect:
                return None
            masks = self._padded.values(arch)
        key = (arch.resolution_px, group.teacher_logits is not None, task.given, own)
        if key not in self._recordings:
            self._recordings[key] = self._record(own, task, masks)
        self._recorder.generator.manual_seed(task.seed)
        return self._recordings[key].replay(group, weight=task.weight, masks=masks)

    def _record(self, own: Arch | None, task: Task, masks: Tensor | None) -> _Recording:
        """Record what a task computes, for all like it: of one architecture, or padded."""
        like = task.group
        group = Group(
            torch.empty_like(like.images),
            like.labels.clone(),
            None if like.teacher_logits is None else like.teacher_logits.clone(),
            like.share,
        )
        group.images.copy_(like.images)
        held = None if masks is None else copied_to(self._device, masks)
        weight = torch.ones((), dtype=like.images.dtype, device=self._device)

        def forward(images: Tensor) -> Tensor:
            if own is not None:
                logits: Tensor = self._replica.network(images, own)
                return logits
            assert self._padded is not None
            assert held is not None
            return self._padded(images, held)

        def learn() -> Part:
            return self._lesson.learn(
                forward,
                self._replica.parameters,
                group,
                task.given,
                weight=weight,
                generator=self._recorder.generator,
            )

        first = self._recorder.warm_up(learn)
        result = Part(torch.empty_like(first.loss), None, torch.empty_like(first.logits))
        del first

        def compute() -> None:
            part = learn()
            assert part.gradients is not None
            add_gradients(self._totals, part.gradients)
            result.loss.copy_(part.loss)
            result.logits.copy_(part.logits)

        return _Recording(group, weight, held, result, self._recorder.record(compute))


def recurring_archs(archs: ArchSource) -> frozenset[Arch]:
    """Return the architectures of every step.

    A function of the phase alone: a run that goes on computes as one that was never stopped.
    """
    draws = [archs.draw(np.random.default_rng(seed)) for seed in range(DRAWS)]
    return frozenset(draws[0]).intersection(*draws[1:])


class Recorder:
    """Records what a function launches on a device."""

    def __init__(self, device: torch.device) -> None:
        """Give all recordings one memory for what they hold between: one runs at a time."""
        self.generator = torch.Generator(device)
        """What recorded functions draw from; a seed that is set before a replay is its seed."""
        self._pool = torch.cuda.graph_pool_handle()
        # All captures use this stream: what libraries keep for a stream is there before.
        stream = torch.cuda.graph(torch.cuda.CUDAGraph()).capture_stream
        assert stream is not None
        self._stream = stream

    def warm_up(self, function: Callable[[], Part]) -> Part:
        """Run a function as often as libraries need to choose and load their kernels."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            function()
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Launch) -> Launch:
        """Return what launches all that a function launches, with the same tensors."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            function()
        return graph.replay
