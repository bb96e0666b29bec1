"""What every document is: a value with a format, and one way to read it from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError, shorten, shown
from ofa_pipeline.explain import explain

Fraction = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Of a million bytes."""
RuntimeOptions = dict[str, bool | str]
"""What a runtime is told, by its own names."""
Count = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hex."""
Model = TypeVar("Model")


class Part(BaseModel):
    """A part of a document. Keys that a later version adds are left alone when it is read."""

    # What checks a document is built when the first one is: most commands read one or two kinds.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        strict=True,
        use_attribute_docstrings=True,
        defer_build=True,
    )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from what `to_dict` returned.

        Raises:
            ValidationError: If a value is missing or wrong.
        """
        return cls.model_validate(values, strict=False)


class Document(Part):
    """The whole content of a JSON file. Its title says what it holds."""

    format: Literal[1] = 1
    """Format of the file; files of earlier versions lack it and are of format 1. It grows when an
    older version of this package could not read the file any more."""


class UnnumberedDocument(Document):
    """A document that is written without its format: digests that much depends on cover the file.

    It is of format 1. A later format would be written.
    """

    format: Literal[1] = Field(default=1, exclude=True)


def read_document(path: Path, model: type[Model], *, remake: str) -> Model:
    """Read a document from its file.

    Args:
        path: The file.
        model: What it must hold: a `Document`, or a dataclass with a `format`.
        remake: The command that writes it, for messages.

    Raises:
        MissingArtifactError: If the file is not there.
        ManifestMismatchError: If it is no JSON, of another format, or lacks a value or holds a
            wrong one; the message names each, and what was found.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingArtifactError(f"{path} is missing. Produce it with: {remake}") from error
    try:
        return TypeAdapter(model).validate_json(content, strict=True)
    except ValidationError as error:
        raise ManifestMismatchError(
            f"{path} {_fault(error)}. Produce it again with: {remake}"
        ) from error


def _fault(error: ValidationError) -> str:
    """Return what is wrong with a document, as the rest of a sentence about it."""
    found = error.errors(include_url=False)
    for item in found:
        if item["type"] == "json_invalid":
            reason = item["msg"].removeprefix("Invalid JSON: ")
            return f"must be valid JSON, but is not: {shorten(reason)}"
        if item["loc"] == ("format",):
            return (
                f"must be of format {item['ctx']['expected']}, found {shown(item['input'])}: "
                "another version of this package wrote it"
            )
    return f"is not as this version writes it: {explain(error)}"
