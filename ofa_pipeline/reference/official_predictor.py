"""The reference's published accuracy predictors: read once with torch, then plain numpy.

A predictor's input has slots for more resolutions than it was trained on. Only the trained ones
can be predicted for: the weights of the other slots never were.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ofa_pipeline.arch import (
    BoolArray,
    FloatArray,
    Genes,
    IntArray,
    SearchSpace,
    resolution_choices,
)
from ofa_pipeline.errors import CheckpointError, ParamsError
from ofa_pipeline.predictor import Activations, Layer, Perceptron
from ofa_pipeline.spaces import reference_space

_CHUNK = 4096  # architectures at once: the activations stay in the cache
_PUBLISHED_RMSE = 0.0021
"""Fraction; the only error that was published: Cai et al. 2020, appendix A, 0.21 points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """The space and resolutions of a published predictor, which its file does not state."""

    space_id: str
    slots_px: tuple[int, ...]
    """The resolution of each slot of its input."""
    valid_px: tuple[int, ...]
    """The resolutions that it was trained on."""


_TUTORIAL = _Published(
    space_id="ofa_mbv3_d234_e346_k357_w1.2",
    slots_px=tuple(range(112, 225, 16)),
    valid_px=(160, 176, 192, 208, 224),
)
_RESNET = _Published(
    space_id="ofa_resnet50",
    slots_px=(128, 144, 160, 176, 192, 224, 240, 256),
    valid_px=(128, 144, 160, 176, 192, 224, 240, 256),
)


class OfficialPredictor:
    """A published multilayer perceptron on one-hot genes; it cannot be fitted.

    Source:
        ``ofa/nas/accuracy_predictor`` and ``ofa/tutorial`` of the reference (MIT): three hidden
        layers of 400 with ReLU. Computed in float32, as published.
    """

    kind = "official"

    def __init__(
        self,
        space: SearchSpace,
        perceptron: Perceptron,
        *,
        inputs: IntArray,
        resolution_inputs: IntArray,
    ) -> None:
        """Predict for architectures of a space.

        Args:
            space: With the resolutions to predict for.
            perceptron: In single precision.
            inputs: The first of each gene's inputs, which lie side by side, one a choice; -1
                where a gene has none, as the resolution, whose inputs come apart.
            resolution_inputs: The input of each resolution of the space.
        """
        self.space = space
        self._perceptron = perceptron
        self._inputs, self._resolution_inputs = inputs, resolution_inputs
        self._choice_weights = self._weights_of_choices()

    def fit(self, genes: Genes, accuracy: FloatArray) -> None:
        """Refuse to learn: its weights are the published ones.

        Raises:
            ParamsError: Always.
        """
        raise ParamsError(
            f"the official predictor of {self.space.space_id} cannot be fitted, got {len(genes)} "
            f"subnets with {len(accuracy)} labels. Use another kind for labels of your own."
        )

    def predict(self, genes: Genes) -> tuple[FloatArray, FloatArray]:
        """Return the predicted accuracy, and the published error as standard deviation.

        Raises:
            ArchError: If the genes are not in its space.
        """
        self.space.check_genes(genes)
        mean = np.empty(len(genes))
        for start in range(0, len(genes), _CHUNK):
            ran = self._perceptron(self._encode(genes[start : start + _CHUNK]))
            mean[start : start + _CHUNK] = ran.output
        return mean, np.full(len(genes), _PUBLISHED_RMSE)

    def trace(self, genes: Genes) -> "_OfficialTrace":
        """Predict, and keep what the slopes need; see `DifferentiablePredictor`."""
        ran = self._perceptron(self._encode(genes))
        return _OfficialTrace(self._perceptron, ran, self._choice_weights)

    def _weights_of_choices(self) -> Layer:
        """Return what each choice adds to the first layer, shape (units, sum of choices)."""
        first = self._perceptron.weights[0]
        weights = np.zeros((int(self.space.num_choices.sum()), first.shape[1]), dtype=np.float32)
        starts = _ladder(0, self.space.num_choices)
        for start, count, place in zip(starts, self.space.num_choices, self._inputs, strict=True):
            if place >= 0:
                weights[start : start + count] = first[place : place + count]
        weights[: len(self._resolution_inputs)] = first[self._resolution_inputs]
        return np.ascontiguousarray(weights.T)

    def _encode(self, genes: Genes) -> Layer:
        """Return the one-hot input; inputs of skipped blocks are zero."""
        rows = np.arange(len(genes))[:, None]
        encoded = np.zeros((len(genes), len(self._perceptron.weights[0])), dtype=np.float32)
        used = np.flatnonzero(self._inputs >= 0)
        values = genes[:, used].astype(np.int64) + self._inputs[used]
        encoded[rows, values] = _runs(self.space, genes)[:, used]
        encoded[rows[:, 0], self._resolution_inputs[resolution_choices(self.space, genes)]] = 1
        return encoded


@dataclass(frozen=True, slots=True)
class _OfficialTrace:
    """See `Trace`."""

    perceptron: Perceptron
    ran: Activations
    choice_weights: Layer

    @property
    def mean(self) -> FloatArray:
        return self.ran.output

    def slopes(self, rows: IntArray) -> FloatArray:
        slopes: FloatArray = self.perceptron.slopes(self.ran, rows) @ self.choice_weights
        return slopes


def load_official_predictor(
    path: Path, *, resolutions_px: Sequence[int] | None = None
) -> OfficialPredictor:
    """Read a published predictor file; which one it is follows from its layers.

    Args:
        path: ``acc_predictor.pth`` (OFA-MobileNetV3 w1.2, the tutorial's layout) or
            ``ofa_resnet50_acc_predictor.pth`` (OFA-ResNet50, the packaged layout).
        resolutions_px: Resolutions to predict for, a part of the trained ones; all of them when
            left out.

    Raises:
        CheckpointError: If the file cannot be read or is not such a predictor.
        ParamsError: If a resolution was not trained.
    """
    tensors = _read_tensors(path)
    is_packaged = "base_acc" in tensors
    perceptron = _perceptron_of(tensors, path, is_packaged=is_packaged)
    published = _RESNET if is_packaged else _TUTORIAL
    chosen = _valid_resolutions(resolutions_px, published.valid_px, path)
    space = replace(reference_space(published.space_id), resolutions_px=chosen)
    slots = len(published.slots_px)
    inputs = _resnet_inputs(space, slots) if is_packaged else _tutorial_inputs(space)
    blocks = int(space.num_choices[inputs >= 0].sum())
    found = len(perceptron.weights[0])
    if found != blocks + slots:
        raise CheckpointError(
            f"{path} must be the predictor of {published.space_id} with {blocks + slots} inputs, "
            f"found {found}"
        )
    first = 0 if is_packaged else blocks
    resolutions = [first + published.slots_px.index(resolution) for resolution in chosen]
    return OfficialPredictor(
        space, perceptron, inputs=inputs, resolution_inputs=np.array(resolutions)
    )


def _tutorial_inputs(space: SearchSpace) -> IntArray:
    """Return the first input of each gene, -1 where it has none: kernels, then expand ratios."""
    inputs = np.full(space.num_genes, -1)
    begin = space.columns["kernel_size"].start
    inputs[begin:] = _ladder(0, space.num_choices[begin:])
    return inputs


def _resnet_inputs(space: SearchSpace, slots: int) -> IntArray:
    """Return the same for ResNet50: resolutions, stem depth, widths, then expand ratios."""
    inputs = np.full(space.num_genes, -1)
    depth, width = space.columns["depth"], space.columns["width"]
    expand = slice(space.columns["expand_ratio"].start + 1, None)  # but for the stem's block
    first = slots
    for genes in (slice(depth.start, depth.start + 1), width, expand):
        inputs[genes] = _ladder(first, space.num_choices[genes])
        first += int(space.num_choices[genes].sum())
    return inputs


def _ladder(first: int, widths: IntArray) -> IntArray:
    """Return where each of several ranges begins, which follow one another from `first` on."""
    begins: IntArray = first + np.cumsum(widths, dtype=np.int64) - widths
    return begins


def _runs(space: SearchSpace, genes: Genes) -> BoolArray:
    """Tell which genes concern something that runs, shape (architectures, genes)."""
    active = space.active_blocks(genes)
    others = np.ones((len(genes), space.num_genes - 2 * space.num_blocks), dtype=bool)
    return np.concatenate([others, active, active], axis=1)


def _read_tensors(path: Path) -> Mapping[str, Layer]:
    import torch

    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy().astype(np.float32) for name, tensor in values.items()}
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path} must be an accuracy predictor's file, but is missing"
        ) from error
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        BadZipFile,
        ValueError,
    ) as error:
        raise CheckpointError(f"{path} is not a file of tensors: {error}") from error


def _perceptron_of(tensors: Mapping[str, Layer], path: Path, *, is_packaged: bool) -> Perceptron:
    """Return the layers in order; the packaged layout's last bias is ``base_acc``."""
    names = [(f"{index}.weight", f"{index}.bias") for index in range(0, 8, 2)]
    if is_packaged:
        names = [(f"layers.{index}.0.weight", f"layers.{index}.0.bias") for index in range(3)]
        names.append(("layers.3.weight", "base_acc"))
    missing = [name for pair in names for name in pair if name not in tensors]
    if missing:
        raise CheckpointError(
            f"{path} must hold the layers of an accuracy predictor: {missing} are missing, found "
            f"{sorted(tensors)}"
        )
    return Perceptron(
        [np.ascontiguousarray(tensors[weight].T) for weight, _ in names],
        [tensors[bias] for _, bias in names],
    )


def _valid_resolutions(
    wanted: Sequence[int] | None, valid: tuple[int, ...], path: Path
) -> tuple[int, ...]:
    refused = sorted(set(wanted or ()) - set(valid))
    if refused:
        raise ParamsError(
            f"{path} was trained for resolutions {valid} px, got {refused}: its other inputs were "
            "never trained"
        )
    return tuple(sorted(set(wanted))) if wanted else valid
