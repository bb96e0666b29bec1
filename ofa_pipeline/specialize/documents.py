"""What ``subnet.json`` and ``card.json`` of a bundle must be: a bundle may come from anywhere.

`ofa_pipeline.specialize.classify`, which ships alone, checks what it uses by itself, with the
same bounds. Here everything is checked that the package uses beyond that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ofa_pipeline.arch import Arch, SearchSpace
from ofa_pipeline.errors import ArchError, ManifestMismatchError
from ofa_pipeline.specialize.classify import check_description

Fraction = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_SHOWN = 60


class _Document(BaseModel):
    """Base: values are taken as they are; what a later version adds is left alone."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)


class SubnetDocument(_Document):
    """``subnet.json``, besides what `check_description` looks at."""

    arch: dict[str, Any]
    num_classes: Annotated[int, Field(ge=1)] | None = None
    space: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _arch_is_of_its_space(self) -> "SubnetDocument":
        try:
            arch = Arch.from_dict(self.arch)
            if self.space is not None:
                SearchSpace.from_dict(self.space).check(arch)
        except (ArchError, KeyError, TypeError) as error:
            raise ValueError(f"arch must be an architecture of its space: {error}") from error
        return self


class AccuracyDocument(_Document):
    """Of a card: measured on the images of the test split."""

    accuracy_top1: Fraction
    accuracy_top5: Fraction
    num_test_images: Annotated[int, Field(ge=1)]


class LatencyDocument(_Document):
    """Of a card: the certificate of one device."""

    p50_ms: Milliseconds
    p95_ms: Milliseconds
    ci_low_ms: Milliseconds
    ci_high_ms: Milliseconds
    num_runs: Annotated[int, Field(ge=1)]
    file: str | None = None
    file_digest: Digest | None = None


class CostDocument(_Document):
    """Of a card: counted."""

    macs: Count | None = None
    num_params: Count | None = None


class CardDocument(_Document):
    """``card.json``; a card may lack a section, but not hold a wrong one."""

    arch_id: str | None = None
    budgets_ms: list[Milliseconds] = []
    accuracy: AccuracyDocument | None = None
    latency: dict[str, LatencyDocument] = {}
    cost: CostDocument | None = None
    lineage: dict[str, str] = {}
    files: dict[str, Digest] = {}


Model = TypeVar("Model", bound=_Document)


def check_subnet(values: Mapping[str, Any], path: Path) -> SubnetDocument:
    """Check the content of a ``subnet.json``.

    Raises:
        ManifestMismatchError: Naming the first value that is wrong.
    """
    check_description(dict(values), path)
    return _validated(SubnetDocument, values, path)


def check_card(values: Mapping[str, Any], path: Path) -> CardDocument:
    """Check the content of a ``card.json``.

    Raises:
        ManifestMismatchError: Naming the first value that is wrong.
    """
    return _validated(CardDocument, values, path)


def _validated(model: type[Model], values: Mapping[str, Any], path: Path) -> Model:
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        found = "" if not place else f", got {str(first['input'])[:_SHOWN]}"
        raise ManifestMismatchError(
            f"{path}: {place or 'the document'}: {first['msg'][:300]}{found}. "
            "Fetch or build the bundle again"
        ) from error
