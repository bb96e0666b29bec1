"""The gradient of one step: several subnets on one batch, computed at the same time.

Legend: N images of a batch, K classes, r resolution in pixels.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, product
from queue import SimpleQueue
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ofa_pipeline.arch import Arch
from ofa_pipeline.compute import free_workers
from ofa_pipeline.data import Batch, Normalization, Split
from ofa_pipeline.data.transforms import augment
from ofa_pipeline.errors import TrainingDivergedError
from ofa_pipeline.supernet import ElasticBatchNorm, dropout_generator
from ofa_pipeline.training.phases import Phase, derive_seed
from ofa_pipeline.training.recipe import Recipe
from ofa_pipeline.training.regularization import Regularization
from ofa_pipeline.training.together import Together

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


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Images of a batch that are computed in one pass."""

    images: Tensor
    labels: Tensor
    teacher_logits: Tensor | None
    share: float
    """Share of the images of the batch."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What one subnet has learned from one group."""

    loss: Tensor
    gradients: list[Tensor | None]
    logits: Tensor


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
        self._parameters = list(network.parameters())
        self._device, self._dtype = self._parameters[0].device, self._parameters[0].dtype
        self._together = together or Together(network, recipe)
        self._norms = [norm for norm in network.modules() if isinstance(norm, ElasticBatchNorm)]
        # On an accelerator all groups are one pass; CPU threads take a group each.
        self._is_joined = joins_groups(self._device)
        workers = min(self._num_parts(), recipe.workers or free_workers())
        if self._device.type != "cpu":
            workers = 1
        self._pool = ThreadPoolExecutor(workers, "gradient") if workers > 1 else None
        # Every thread has parameters of its own, with the same memory: torch takes a lock of a
        # parameter and then waits for Python's, so two threads at one parameter may wait forever.
        self._replicas: SimpleQueue[nn.Module] = SimpleQueue()
        for replica in [_replica(network) for _ in range(workers)] if self._pool else [network]:
            self._replicas.put(replica.train())

    def __enter__(self) -> Self:
        """Return itself."""
        if self._is_joined:
            self._share_statistics(self._recipe.batch_norm_images)
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads."""
        self._share_statistics(None)
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def accumulate_gradients(self, batch: Batch, number: int) -> float:
        """Add the mean gradient of the step's subnets to ``parameter.grad``.

        Args:
            batch: Images and labels; of several processes, those that are this one's.
            number: Number of the step, counted from the start of the phase.

        Returns:
            The loss, averaged over the subnets and all images of the batch.

        Raises:
            TrainingDivergedError: If it is not finite.
        """
        archs = self._phase.archs.draw(np.random.default_rng(self._seed(number, "archs")))
        views = {
            size: self._groups(batch, size, number)
            for size in dict.fromkeys(arch.resolution_px for arch in archs)
        }
        lessons = self._lessons(views, batch, number)
        num_groups = len(views[archs[0].resolution_px])
        shares = self._phase.shares(len(archs), number=number)

        def part(task: tuple[int, int]) -> _Part:
            subnet, place = task
            size = archs[subnet].resolution_px
            group = views[size][place]
            if lessons:
                group = replace(group, teacher_logits=lessons[size][place])
            seed = derive_seed(self._seed(number, "dropout"), self._index(subnet, place))
            weight = group.share * shares[subnet]
            regularization = self._phase.regularization(subnet, self._recipe)
            return self._part(archs[subnet], group, regularization, weight=weight, seed=seed)

        tasks = list(product(range(len(archs)), range(num_groups)))
        ahead: list[_Part] = []
        if self._phase.teaching.is_in_place:  # the first subnet goes ahead and teaches the others
            ahead = list(self._map(part, tasks[:num_groups]))
            lessons = {size: [done.logits for done in ahead] for size in views}
        loss = torch.zeros((), dtype=self._dtype, device=self._device)
        for done in chain(ahead, self._map(part, tasks[len(ahead) :])):  # in order: equal bits
            loss += done.loss
            _add_gradients(self._parameters, done.gradients)
        self._together.add_up(loss)
        if not torch.isfinite(loss):
            raise TrainingDivergedError(
                f"the loss must be finite, got {float(loss)} in step {number} of phase "
                f"{self._phase.name}. Lower phases.{self._phase.name}.learning_rate or lengthen "
                "its warm-up. The last checkpoint is kept."
            )
        return float(loss)

    def _share_statistics(self, images: int | None) -> None:
        for norm in self._norms:
            norm.images_per_group = images

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

    def _groups(self, batch: Batch, resolution_px: int, number: int) -> list[_Group]:
        """Return the augmented images and labels of each group: the same view at every size."""
        generator = torch.Generator().manual_seed(self._seed(number, "augmentation"))
        images = augment(
            batch.images.to(self._device),
            kind=self._recipe.augmentation,
            resolution_px=resolution_px,
            normalization=self._images.normalization,
            generator=generator,
            part=self._together.part,
        ).to(self._dtype, memory_format=torch.channels_last)
        labels = batch.labels.to(self._device)
        size = self._group_size()
        return [
            _Group(images, labels, None, len(labels) / self._recipe.batch_size)
            for images, labels in zip(
                torch.split(images, size), torch.split(labels, size), strict=True
            )
        ]

    def _lessons(
        self, views: dict[int, list[_Group]], batch: Batch, number: int
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

    def _opinion(self, group: _Group) -> Tensor:
        assert self._teacher is not None
        with torch.no_grad(), autocast(self._device):
            return self._teacher.logits(group.images).to(self._dtype)

    def _part(
        self, arch: Arch, group: _Group, given: Regularization, *, weight: float, seed: int
    ) -> _Part:
        """Return the weighted loss of one subnet on one group, and its gradient."""
        generator = torch.Generator(self._device).manual_seed(seed)
        network = self._replicas.get()
        try:
            draws = dropout_generator(
                generator,
                part=self._together.part if self._is_joined else None,
                dropout=given.dropout,
                drop_connect=given.drop_connect,
            )
            with autocast(self._device), draws:
                logits = network.train()(group.images, arch).to(self._dtype)
                loss = weight * self._phase.teaching.loss(
                    logits,
                    group.labels,
                    label_smoothing=given.label_smoothing,
                    teacher_logits=group.teacher_logits,
                    distillation_weight=self._recipe.distillation_weight,
                )
            gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        finally:
            self._replicas.put(network)
        return _Part(loss.detach(), list(gradients), logits.detach())


def joins_groups(device: torch.device) -> bool:
    """Return whether the groups of a batch that share batch-norm statistics are one pass."""
    return device.type != "cpu"


def _replica(network: nn.Module) -> nn.Module:
    """Return a network with parameters of its own that share the memory of the original's."""
    shared: dict[int, object] = {id(buffer): buffer for buffer in network.buffers()}
    for parameter in network.parameters():
        shared[id(parameter)] = nn.Parameter(parameter.detach(), parameter.requires_grad)
    return copy.deepcopy(network, shared)


def _add_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if gradient is not None:
            parameter.grad += gradient


def autocast(device: torch.device) -> torch.autocast:
    """Return mixed precision for CUDA devices with bfloat16, which needs no loss scaling."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
