"""What suits a source of images on a machine: space, image sizes, batch, splits, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ofa_pipeline.planning.machine import Machine
from ofa_pipeline.planning.rates import CORE_GMACS_PER_S
from ofa_pipeline.planning.survey import SourceSurvey
from ofa_pipeline.planning.work import BACKWARD

TRANSFER = "transfer"
PUBLISHED = "ofa_mbv3_d234_e346_k357_w1.0"
"""The supernet that the preset `transfer` starts from."""
PHOTO_PX = 96
"""Images from this shorter side on have what weights trained on photos look for."""
MIN_PER_CLASS = 4
"""Images of a class: one a split."""
Availability = Literal["here", "to download", "unreachable", "unknown"]
"""Whether the published weights can be had."""

_CROP = 0.875
"""Share of the stored image that is cut out and looked at."""
_MAX_HELD_OUT: Mapping[str, int] = {"test": 10_000, "selection": 5_000, "calibration": 2_000}
_MAX_SHARE: Mapping[str, float] = {"test": 0.15, "selection": 0.15, "calibration": 0.1}
_HELD_OUT_A_CLASS = 5
_BATCHES_AN_EPOCH = 4
_MANY_CLASSES, _SOME_CLASSES = 200, 20
_UNEVEN = 10
_FEW_A_CLASS = 20
_SLOW_S = 3 * 3600.0
"""A training on the CPU that takes longer by a rule of thumb looks at smaller images."""
_SANDWICH = 3.5
"""Subnets of a sandwich, in those of the largest one at the largest image size, about."""
_LARGEST_GMACS = {224: 0.23, 80: 0.025}
"""Of an image, by its size: OFA-MobileNetV3, and the small-images family for photos."""
_USUAL_BATCH: Mapping[str | None, int] = {None: 64, "progressive-shrinking": 64, TRANSFER: 32}
_REFERENCE_BATCH = 256
_MIN_BATCH, _LEAST_BATCH = 8, 2
_BYTES_AN_IMAGE: Mapping[str | None, float] = {None: 8e6, "progressive-shrinking": 8e6}
_BYTES_A_PHOTO = 60e6
"""Memory that a step takes for each image of a batch: activations of the largest subnet and their
gradients; of two subnets at a time, twice as much."""
_STEP_SHARE = 0.5
"""Of the memory that a step may take."""
_COARSE_PX, _PHOTO_LIKE_PX, _BIG_PHOTO_PX = 40, 64, 160
_ENOUGH_STEPS, _ENOUGH_STEPS_GPU = 12_000, 60_000
"""Of training from published weights: of more images, fewer epochs."""
_MAX_STORED_PX = 1024
_SHAPES: tuple[tuple[int, dict[str, Any], str], ...] = (
    (
        48,
        {"stem_stride": 1, "group_channels": [16, 24, 40]},
        "small images keep their resolution in the stem",
    ),
    (
        PHOTO_PX,
        {"stem_stride": 2, "group_channels": [24, 40, 64]},
        "from 48 px on the stem may halve the image: a quarter of the work",
    ),
    (
        _MAX_STORED_PX + 1,
        {"stem_stride": 2, "group_channels": [24, 48, 80]},
        "photos have detail to spare: the stem halves the image",
    ),
)
"""Below which size of image which shape of the small-images family, and why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of params.yaml and why."""

    value: Any
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to write into params.yaml."""

    preset: str | None
    """The file of `presets/` to start from; None: params.yaml as it ships."""
    settings: Mapping[str, Setting]
    """By dotted name, such as ``dataset.image_size_px``."""
    epochs: Mapping[str, int] = field(default_factory=dict)
    """By phase, where they differ from those of the preset."""
    notes: tuple[str, ...] = ()
    """What a reader should know, or do."""
    warnings: tuple[str, ...] = ()
    """What will not go well."""


def propose(
    survey: SourceSurvey,
    machine: Machine,
    *,
    preset: str | None = None,
    weights: Availability = "unknown",
) -> Proposal:
    """Return what suits a source on a machine.

    Args:
        survey: The source.
        machine: The machine.
        preset: The preset that the user asked for; None chooses.
        weights: Whether the published weights can be had.
    """
    notes: list[str] = []
    if preset is None and survey.shorter_side_px(0.5) >= PHOTO_PX:
        notes.append(_weights_note(weights))
        preset = None if weights == "unreachable" else TRANSFER
    elif preset == TRANSFER:
        notes.append(_UNREACHABLE if weights == "unreachable" else _weights_note(weights))
    draft = _Draft(survey, machine, preset)
    draft.splits()
    draft.batch()
    if preset == TRANSFER:
        draft.photos_from_weights()
    elif preset in (None, "progressive-shrinking"):
        draft.small_images()
    else:
        draft.reference_space(preset)
    draft.threads()
    return Proposal(
        preset=preset,
        settings=draft.settings,
        epochs=draft.epochs,
        notes=(*notes, *draft.notes),
        warnings=tuple(_warnings(survey)),
    )


_GET = f"ofa-pipeline zoo get {PUBLISHED}"
_UNREACHABLE = (
    f"the preset needs the published weights {PUBLISHED}, which cannot be reached from here. "
    f"Before you run, get them on another machine ({_GET}), and bring the file: "
    f"{_GET} --from FOLDER"
)


def _weights_note(weights: Availability) -> str:
    if weights == "here":
        return f"starts from the published weights {PUBLISHED}, which are in the cache"
    if weights == "unreachable":
        return (
            f"the published weights {PUBLISHED} cannot be reached from here, so training starts "
            "from random weights. With them a few hundred photos go much further: get them on "
            f"another machine ({_GET}), bring the file, {_GET} --from FOLDER, then "
            "ofa-pipeline init FOLDER --preset transfer --source ... in a new folder"
        )
    return (
        f"starts from the published weights {PUBLISHED} (30 MB), which the run will download once; "
        f"{_GET} does it now. Without internet: bring the file and add --from FOLDER; where there "
        "is neither file nor internet, this command proposes random weights and smaller images"
    )


def _warnings(survey: SourceSurvey) -> list[str]:
    found = []
    smallest, largest = survey.smallest_class, survey.largest_class
    if smallest is not None and largest is not None:
        if smallest[1] < MIN_PER_CLASS and not survey.fixed_splits:
            found.append(
                f"class {smallest[0]} has {smallest[1]} images, each class needs at least "
                f"{MIN_PER_CLASS}, one a split: add images, or remove the class, before you run"
            )
        elif smallest[1] < _FEW_A_CLASS:
            found.append(
                f"class {smallest[0]} has only {smallest[1]} images: its accuracy will be a guess"
            )
        if largest[1] >= _UNEVEN * smallest[1]:
            found.append(
                f"classes are uneven, {largest[1]:,} images of {largest[0]} and {smallest[1]:,} of "
                f"{smallest[0]}: accuracy will say little about the small ones. Nothing is "
                "weighted; more images of the small classes help most"
            )
    if survey.unreadable:
        found.append(
            f"{len(survey.unreadable)} of {survey.num_sampled + len(survey.unreadable)} images of "
            "the sample cannot be decoded; more than dataset.max_bad_fraction stop the run: "
            f"{survey.unreadable[0]}"
        )
    return found


class _Draft:
    """A proposal in the making."""

    def __init__(self, survey: SourceSurvey, machine: Machine, preset: str | None) -> None:
        self._survey = survey
        self._machine = machine
        self._preset = preset
        self.settings: dict[str, Setting] = {"dataset.source": Setting(survey.source)}
        self.epochs: dict[str, int] = {}
        self.notes: list[str] = []
        self._batch_size = 0

    @property
    def _num_train(self) -> int:
        """Images that are left to train on, about."""
        survey = self._survey
        held_out = sum(
            self.settings[f"dataset.{name}_fraction"].value
            for name in _MAX_HELD_OUT
            if name not in survey.fixed_splits
        )
        return int(survey.num_images * survey.split_shares.get("train", 1.0) * (1 - held_out))

    def splits(self) -> None:
        """Hold out as much as figures need, and no more."""
        total, classes = self._survey.num_images, self._survey.num_classes
        for name, most in _MAX_HELD_OUT.items():
            wanted = max(most, _HELD_OUT_A_CLASS * classes)
            share = min(_MAX_SHARE[name], wanted / total)
            reason = "" if share == _MAX_SHARE[name] else f"about {wanted:,} images are enough"
            self.settings[f"dataset.{name}_fraction"] = Setting(float(f"{share:.2g}"), reason)

    def batch(self) -> None:
        """Keep the batch of the recipe where there are enough images for it."""
        usual = size = _USUAL_BATCH.get(self._preset, _REFERENCE_BATCH)
        while size > _MIN_BATCH and size * _BATCHES_AN_EPOCH > self._num_train:
            size //= 2
        while size > _LEAST_BATCH and size > self._num_train:
            size //= 2
        why = f"about {self._num_train} images to train on make {self._num_train // size} batches"
        memory = self._machine.gpu_memory_bytes or self._machine.memory_bytes
        an_image = 2 * _BYTES_AN_IMAGE.get(self._preset, _BYTES_A_PHOTO)
        while size > _LEAST_BATCH and size * an_image > _STEP_SHARE * memory:
            size //= 2
            why = f"a step of more would need most of {memory / 2**30:.1f} GiB of memory"
        self._batch_size = size
        if size == usual:
            return
        self.settings["training.batch_size"] = Setting(
            size, f"{why}; the learning rates of phases are scaled to it, by {size}/{usual}"
        )
        if self._preset is None:
            group = max(size // 2, min(size, _MIN_BATCH))
            self.settings["training.batch_norm_images"] = Setting(group, "")

    def small_images(self) -> None:
        """The small-images family, of a shape that suits the images."""
        typical = self._survey.shorter_side_px(0.5)
        largest = self._top_px(typical)
        step = 16 if largest >= PHOTO_PX else 8 if largest >= _COARSE_PX else 4
        sizes = sorted({max(8, largest - step * i) for i in range(4)})
        stored = max(largest, min(typical, -(-largest * 8 // 7)))
        shape, why = next((shape, why) for below, shape, why in _SHAPES if largest < below)
        self.settings["dataset.image_size_px"] = Setting(
            stored,
            f"half of the images have at least {typical} px; sizes from {sizes[0]} to "
            f"{largest} px are trained",
        )
        self.settings["space.resolutions_px"] = Setting(sizes, "")
        self.settings["space.stem_stride"] = Setting(shape["stem_stride"], why)
        self.settings["space.group_channels"] = Setting(shape["group_channels"], "")
        if head := self._head(largest):
            self.settings["space.head_channels"] = Setting(
                head,
                f"wider than for small images of ten classes: {self._survey.num_classes} classes",
            )
        if largest >= _PHOTO_LIKE_PX:
            self.settings["training.augmentation"] = Setting(
                "random_resized_crop", "photos show things in all sizes and places"
            )

    def _top_px(self, typical: int) -> int:
        """Return the largest image size to train at from random weights."""
        if typical < PHOTO_PX:
            return max(8, typical - typical % 4)
        if self._machine.gpu:
            return 128 if typical * _CROP >= 128 else PHOTO_PX  # noqa: PLR2004 - the same
        return 64 if self._training_s(80, epochs=15, steps=1200) > _SLOW_S else 80

    def _head(self, largest: int) -> list[int]:
        classes = self._survey.num_classes
        if classes > _MANY_CLASSES:
            return [256, 640]
        if classes > _SOME_CLASSES or largest >= _PHOTO_LIKE_PX:
            return [160, 256]
        return []

    def photos_from_weights(self) -> None:
        """OFA-MobileNetV3 from published weights, at the sizes that time allows."""
        typical = self._survey.shorter_side_px(0.5)
        sizes, why = [128, 160, 192, 224], "those that the weights were trained at"
        if typical < _BIG_PHOTO_PX:
            sizes, why = [128, 144, 160], f"half of the images have less than {typical + 1} px"
        elif not self._machine.gpu and self._training_s(224, epochs=10, steps=400) > _SLOW_S:
            sizes, why = [128, 144, 160], "without a GPU the larger ones would take twice as long"
        stored = min(_MAX_STORED_PX, -(-sizes[-1] * 8 // 7))
        self.settings["dataset.image_size_px"] = Setting(
            stored,
            f"shorter side: {sizes[-1]} / {_CROP}; half of the images have at least {typical} px",
        )
        sides = self._survey.shorter_sides_px
        if small := sum(side < sizes[-1] for side in sides):
            self.notes.append(
                f"{small / len(sides):.0%} of the images are smaller than {sizes[-1]} px and "
                "enlarged for the largest subnets"
            )
        self.settings["space.resolutions_px"] = Setting(sizes, why)
        self._few_epochs("elastic", 10)

    def _training_s(self, size_px: int, *, epochs: int, steps: int) -> float:
        """Return how long a sandwich is trained on the CPU at an image size, about."""
        images = max(steps * self._batch_size, epochs * self._num_train)
        gmacs = BACKWARD * _SANDWICH * _LARGEST_GMACS[size_px] * images
        return gmacs / (CORE_GMACS_PER_S * self._machine.cores)

    def _few_epochs(self, phase: str, epochs: int) -> None:
        """Of very many images, fewer passes are enough."""
        steps = max(1, self._num_train // self._batch_size)
        enough = _ENOUGH_STEPS_GPU if self._machine.gpu else _ENOUGH_STEPS
        fewer = max(1, min(epochs, -(-enough // steps)))
        if fewer < epochs:
            self.epochs[phase] = fewer
            self.notes.append(
                f"{fewer} instead of {epochs} epochs: each has {steps:,} steps, and learning goes "
                "by steps"
            )

    def reference_space(self, preset: str) -> None:
        """A preset that trains a reference supernet as its authors did: only the data is ours."""
        self.notes.append(
            f"the preset {preset} is made for ImageNet on several GPUs: space, sizes, phases and "
            "epochs are left as they are"
        )

    def threads(self) -> None:
        """Use all cores: parts of a step are computed side by side, each with some threads."""
        if self._machine.gpu:
            return
        parts = 2 if self._preset == TRANSFER else 4
        threads = max(1, self._machine.cores // parts)
        if threads > 1:
            self.settings["training.threads"] = Setting(
                threads, f"{self._machine.cores} cores, and {parts} gradients side by side"
            )
