"""The section `dataset`: where the images come from and how they are split."""

import re
import unicodedata
from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator

from ofa_pipeline.errors import shown, suggest
from ofa_pipeline.explain import NAME_PATTERN
from ofa_pipeline.params.values import Count, Finite, Fraction, Section, Seed, Text, is_text

_MAX_NAME = 60
DatasetName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=_MAX_NAME)]
_MAX_HELD_OUT = 0.9
_GENERIC_FOLDER = re.compile(
    r"archive|data(sets?)?|default|dev|extracted|files|images?|imgs?|inputs?|jpe?gs?|parquet|photos"
    r"|pictures|pngs?|raw|src|(test|train|training|validation)(-set)?|testing|trainval|val(id)?"
)
"""Names of folders that do not say what is in them: the folder above is meant."""
_SHARD = re.compile(r"(-\d+-of-\d+.*)?\.parquet$")
"""What follows the name in a Parquet file, as the Hugging Face Hub writes it."""
ANY_DATASET = "any"
"""What look-ups take for every dataset, so that no dataset is called so."""


class DatasetParams(Section):
    """Where the images come from and how they are split."""

    source: Annotated[str, Field(max_length=4096), AfterValidator(is_text)]
    name: DatasetName | None = None
    """In the names of registered models; left out, it follows from the source (`label`)."""
    image_size_px: Annotated[int, Field(ge=8, le=1024)]
    test_fraction: Fraction
    selection_fraction: Fraction
    calibration_fraction: Fraction
    max_bad_fraction: Annotated[float, Field(ge=0, lt=1)]
    shard_rows: Count
    seed: Seed
    image_column: Text = "image"
    """Column of a Parquet file."""
    label_column: Text = "label"
    """Column of a Parquet file."""
    value_range: tuple[Finite, Finite] | None = None
    """Values that become 0 and 255 where an image has more than 8 bits a channel."""

    @field_validator("source")
    @classmethod
    def _known_source(cls, source: str) -> str:
        kind, _, rest = source.partition(":")
        kinds = ("fashion_mnist_sample", "image_folder", "parquet", "torchvision")
        if kind not in kinds and not rest and "/" in source:
            raise ValueError(
                f"must begin with its kind, {shown(source)} is a path alone. A folder of images: "
                f"image_folder:{source}; Parquet files: parquet:{source}"
            )
        if kind not in kinds:
            raise ValueError(f"unknown source {shown(kind)}.{suggest(kind, kinds)}")
        if (kind == "fashion_mnist_sample") == bool(rest):
            raise ValueError(
                "must be fashion_mnist_sample, image_folder:PATH, parquet:PATH or "
                f"torchvision:NAME, got {shown(source)}"
            )
        return source

    @field_validator("value_range")
    @classmethod
    def _some_range(cls, value_range: tuple[float, float] | None) -> tuple[float, float] | None:
        if value_range is not None and value_range[0] >= value_range[1]:
            raise ValueError(f"must be [LOW, HIGH] with LOW below HIGH, got {list(value_range)}")
        return value_range

    @field_validator("name")
    @classmethod
    def _no_word_of_the_look_ups(cls, name: str | None) -> str | None:
        if name == ANY_DATASET:
            raise ValueError(f"must be another name: {name!r} means every dataset in look-ups")
        return name

    @property
    def label(self) -> str:
        """The name of the dataset: `name`, or what the source is called.

        A path counts by its last folder (or file) that is not called like any other, such as
        ``train`` or ``images``.
        """
        if self.name is not None:
            return self.name
        kind, _, rest = self.source.partition(":")
        if not rest:
            return _slug(kind)
        parts = [_slug(part) for part in PurePath(_SHARD.sub("", rest)).parts]
        named = [part for part in parts if part and part != ANY_DATASET]
        special = [part for part in named if not _GENERIC_FOLDER.fullmatch(part)]
        return next(reversed(special or named), _slug(kind))

    @model_validator(mode="after")
    def _columns_belong_to_parquet(self) -> "DatasetParams":
        given = {"image_column", "label_column"} & self.model_fields_set
        if given and not self.source.startswith("parquet:"):
            raise ValueError(
                f"{' and '.join(sorted(given))} are of Parquet files and have no effect on "
                f"{self.source}: leave them out"
            )
        return self

    @model_validator(mode="after")
    def _leave_images_to_train_on(self) -> "DatasetParams":
        held_out = self.test_fraction + self.selection_fraction + self.calibration_fraction
        if held_out >= _MAX_HELD_OUT:
            raise ValueError(
                "test_fraction + selection_fraction + calibration_fraction must leave at least "
                f"0.1 to train on, got {held_out:g} in total"
            )
        return self


def _slug(text: str) -> str:
    """Return a text as a name: lower case letters, digits, ``-``; empty where it has none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_NAME].strip("-")
