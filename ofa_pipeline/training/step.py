"""The gradient of one step: several subnets on one batch, computed at the same time.

Legend: N images of a batch, K classes, r resolution in pixels.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from queue import SimpleQueue
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import copied_to, free_workers, torch_threads
from ofa_pipeline.data import Batch, Normalization, Split
from ofa_pipeline.data.transforms import augment
from ofa_pipeline.training.device_memory import too_large
from ofa_pipeline.training.graphs import GraphedParts, records_graphs
from ofa_pipeline.training.part import Group, Lesson, Part, Task
from ofa_pipeline.training.phases import Phase, derive_seed
from ofa_pipeline.training.precision import autocast, mixes_precision
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.replica import Replica, add_gradients
from ofa_pipeline.training.together import Together, gradient_of

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Teacher:
    """Whose soft labels the subnets learn from."""

    logits: Callable[[Tensor], Tensor]
    """Returns the logits of a batch of images, at whatever image size they have."""
    resolution_px: int | None = None
    """Image size at which it sees the views of the subnets; None: at theirs. One that was trained
    at one image size has no good opinion of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingImages:
    """What is trained on, and how its pixels are normalized."""

    split: Split
    normalization: Normalization


class TrainingStep:
    """The gradient of one batch, as a pure function of the weights and the step number.

    A context manager: it owns threads.
    """

    def __init__(
        self,
        network: nn.Module,
        phase: Phase,
        *,
        images: TrainingImages,
        recipe: Recipe,
        teacher: Teacher | None,
        together: Together | None = None,
    ) -> None:
        """Hold what does not change from step to step.

        Args:
            network: What is trained.
            phase: What is drawn in each step.
            images: How the pixels are normalized.
            recipe: What all phases share.
            teacher: Soft labels; None trains on the labels alone.
            together: The processes that share each batch; None: this one alone.
        """
        self._phase = phase
        self._images = images
        self._recipe = recipe
        self._teacher = teacher
        self._totals = [gradient_of(parameter) for parameter in network.parameters()]
        self._device, self._dtype = self._totals[0].device, self._totals[0].dtype
        self._together = together or Together(network, recipe)
        # On an accelerator all groups are one pass; CPU threads take a group each.
        self._is_joined = joins_groups(self._device)
        workers = min(self._num_parts(), recipe.workers or free_workers())
        if self._device.type != "cpu":
            workers = 1
        self._pool = torch_threads(workers, "gradient") if workers > 1 else None
        self._replicas = [
            Replica(network, is_rounded=mixes_precision(self._device)) for _ in range(workers)
        ]
        self._idle: SimpleQueue[Replica] = SimpleQueue()
        for replica in self._replicas:
            if self._is_joined:
                replica.share_statistics(recipe.batch_norm_images)
            self._idle.put(replica)
        self._lesson = Lesson(
            teaching=phase.teaching,
            recipe=recipe,
            rows=self._together.part if self._is_joined else None,
        )
        self._graphs: GraphedParts | None = None
        if records_graphs(self._device):
            self._graphs = GraphedParts(self._replicas[0], phase.archs, self._lesson, self._totals)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def accumulate_gradients(self, batch: Batch, number: int) -> Tensor:
        """Add the mean gradient of the step's subnets to ``parameter.grad``.

        Args:
            batch: Images and labels; of several processes, those that are this one's.
            number: Number of the step, counted from the start of the phase.

        Returns:
            The loss, averaged over the subnets and all images of the batch: a scalar on the
            device, which nothing here waits for.

        Raises:
            DeviceMemoryError: If a pass over the batch does not fit the accelerator.
        """
        archs = self._phase.archs.draw(np.random.default_rng(self._seed(number, "archs")))
        try:
            return self._accumulate(archs, batch, number)
        except torch.OutOfMemoryError as error:
            largest_px = max(arch.resolution_px for arch in archs)
            raise too_large(
                error, recipe=self._recipe, phase_name=self._phase.name, largest_px=largest_px
            ) from error

    def _accumulate(self, archs: Sequence[Arch], batch: Batch, number: int) -> Tensor:
        """Add the gradients of some subnets; return the loss."""
        batch = replace(  # sizes stay on the CPU, where boxes are drawn
            batch,
            images=copied_to(self._device, batch.images),
            labels=copied_to(self._device, batch.labels),
        )
        for replica in self._replicas:
            replica.refresh()
        views = {
            size: self._groups(batch, size, number)
            for size in dict.fromkeys(arch.resolution_px for arch in archs)
        }
        lessons = self._lessons(views, batch, number)
        num_groups = len(views[archs[0].resolution_px])
        shares = self._phase.shares(len(archs), number=number)

        def part(place_of: tuple[int, int]) -> Part:
            subnet, place = place_of
            size = archs[subnet].resolution_px
            group = views[size][place]
            if lessons:
                group = replace(group, teacher_logits=lessons[size][place])
            return self._part(
                Task(
                    arch=archs[subnet],
                    group=group,
                    given=self._phase.regularization(subnet, self._recipe),
                    weight=group.share * shares[subnet],
                    seed=derive_seed(self._seed(number, "dropout"), self._index(subnet, place)),
                )
            )

        tasks = list(product(range(len(archs)), range(num_groups)))
        ahead: list[Part] = []
        if self._phase.teaching.is_in_place:  # the first subnet goes ahead and teaches the others
            ahead = list(self._map(part, tasks[:num_groups]))
            lessons = {size: [done.logits for done in ahead] for size in views}
        loss = torch.zeros((), dtype=self._dtype, device=self._device)
        for done in chain(ahead, self._map(part, tasks[len(ahead) :])):  # in order: equal bits
            loss += done.loss
            if done.gradients is not None:
                add_gradients(self._totals, done.gradients)
        self._together.add_up(loss)
        return loss

    def _group_size(self) -> int:
        """Return the images of a batch that are computed in one pass."""
        return self._recipe.batch_size if self._is_joined else self._recipe.group_size

    def _num_parts(self) -> int:
        """Return how many gradients this process adds up in a step."""
        groups = 1 if self._is_joined else len(self._together.groups)
        return self._phase.archs.per_step * groups

    def _index(self, subnet: int, place: int) -> int:
        """Return the number of a part among all of the step, whoever computes it."""
        if self._is_joined:
            return subnet
        return subnet * self._recipe.num_groups + self._together.groups[place]

    def _seed(self, number: int, purpose: str) -> int:
        return derive_seed(self._recipe.seed, self._phase.name, number, purpose)

    def _map(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> Iterator[_Result]:
        """Yield the results in order; with several threads, computed ahead."""
        return map(function, items) if self._pool is None else self._pool.map(function, items)

    def _groups(self, batch: Batch, resolution_px: int, number: int) -> list[Group]:
        """Return the augmented images and labels of each group: the same view at every size."""
        generator = torch.Generator().manual_seed(self._seed(number, "augmentation"))
        images = augment(
            batch.images,
            kind=self._recipe.augmentation,
            resolution_px=resolution_px,
            normalization=self._images.normalization,
            generator=generator,
            part=self._together.part,
            sizes=batch.sizes,
        ).to(self._dtype, memory_format=torch.channels_last)
        size = self._group_size()
        return [
            Group(images, labels, None, len(labels) / self._recipe.batch_size)
            for images, labels in zip(
                torch.split(images, size), torch.split(batch.labels, size), strict=True
            )
        ]

    def _lessons(
        self, views: dict[int, list[Group]], batch: Batch, number: int
    ) -> dict[int, list[Tensor]]:
        """Return the teacher's logits of each group, by the image size of the subnet."""
        if self._teacher is None:
            return {}
        own = self._teacher.resolution_px
        if own is None:
            return {size: list(self._map(self._opinion, groups)) for size, groups in views.items()}
        groups = views[own] if own in views else self._groups(batch, own, number)
        opinion = list(self._map(self._opinion, groups))
        return {size: list(opinion) for size in views}

    def _opinion(self, group: Group) -> Tensor:
        assert self._teacher is not None
        with torch.no_grad(), autocast(self._device):
            return self._teacher.logits(group.images).to(self._dtype)

    def _part(self, task: Task) -> Part:
        """Return the weighted loss of one subnet on one group, and its gradient."""
        if self._graphs is not None:
            replayed = self._graphs.part(task)
            if replayed is not None:
                return replayed
        replica = self._idle.get()
        try:
            return self._lesson.learn(
                lambda images: replica.network(images, task.arch),
                replica.parameters,
                task.group,
                task.given,
                weight=task.weight,
                generator=torch.Generator(self._device).manual_seed(task.seed),
            )
        finally:
            self._idle.put(replica)


def joins_groups(device: torch.device) -> bool:
    """Return whether the groups of a batch that share batch-norm statistics are one pass."""
    return device.type != "cpu"
