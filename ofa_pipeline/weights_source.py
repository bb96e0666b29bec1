"""Which weights a supernet starts from, as params.yaml names them."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from ofa_pipeline.errors import shown, suggest
from ofa_pipeline.spaces import REFERENCE_SPACES

SourceKind = Literal["published", "checkpoint", "supernet", "bundle", "registry"]
"""What weights are read from.

``published``: a supernet of the reference, by its id. ``checkpoint``: a weight file of the
reference (``.pth``). ``supernet``: a supernet of ours, the file or the artifact that holds it.
``bundle``: the folder of a subnet. ``registry``: a registered subnet, ``NAME/VERSION``.
"""

SOURCE_KINDS: tuple[SourceKind, ...] = get_args(SourceKind)

_DIGEST_MARK = "@sha256:"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[^/]+/[1-9][0-9]*")
_MODELS = "models:/"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Weights to start from: where they are, and which they must be."""

    kind: SourceKind
    name: str
    """Id, path or ``NAME/VERSION``; relative paths are meant from the workspace."""
    sha256: str | None = None
    """SHA-256 of the weight file, 64 hexadecimal digits; None: whatever is found there."""

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"{self.kind} {self.name}"


def parse_source(kind: SourceKind, text: str) -> WeightsSource:
    """Return what a line such as ``published: ofa_resnet50@sha256:...`` means.

    Args:
        kind: What the text names.
        text: The name, with ``@sha256:`` and the digest of the weight file behind it or not.

    Raises:
        ValueError: If the digest is none, a published supernet is unknown, or a registered subnet
            is not ``NAME/VERSION``.
    """
    name, mark, digest = text.partition(_DIGEST_MARK)
    if mark and not _DIGEST.fullmatch(digest):
        raise ValueError(
            f"{_DIGEST_MARK} must be followed by 64 hexadecimal digits in lower case, got "
            f"{shown(digest)}. Take what sha256sum prints of the weight file."
        )
    if kind == "published" and name not in REFERENCE_SPACES:
        raise ValueError(
            f"unknown published supernet {shown(name)}.{suggest(name, REFERENCE_SPACES)}"
        )
    if kind == "registry":
        name = name.removeprefix(_MODELS)
        if not _VERSION.fullmatch(name):
            raise ValueError(
                f"must be NAME/VERSION, as `ofa-pipeline subnets` lists them, got {shown(text)}"
            )
    if not name.strip():
        raise ValueError(f"must name a {kind}, got {shown(text)}")
    return WeightsSource(kind=kind, name=name, sha256=digest or None)
