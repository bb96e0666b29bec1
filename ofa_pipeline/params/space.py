"""The section `space`: the search space."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ofa_pipeline.arch import SearchSpace
from ofa_pipeline.errors import ArchError, shown, suggest
from ofa_pipeline.params.values import Few, Section, is_not_empty
from ofa_pipeline.spaces import REFERENCE_SPACES, mobilenet_v3_small_images, reference_space

SMALL_IMAGES = "mobilenet_v3_small_images"
Channels = Annotated[int, Field(ge=1, le=2**16)]
Ratio = Annotated[float, Field(gt=0, le=64)]
KernelSize = Annotated[int, Field(ge=1, le=15)]


class SpaceParams(Section):
    """The search space: a reference supernet by its id, or a small-image space spelled out."""

    family: str
    resolutions_px: Annotated[tuple[Annotated[int, Field(ge=8, le=1024)], ...], Few] | None = None
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=16)], ...], Few] | None = None
    kernel_sizes: (
        Annotated[tuple[KernelSize, ...], Few]
        | Annotated[tuple[Annotated[tuple[KernelSize, ...], Field(min_length=1), Few], ...], Few]
        | None
    ) = None
    """One list for all block groups, or one for each; of a reference supernet some of its own."""
    expand_ratios: Annotated[tuple[Ratio, ...], Few] | None = None
    stem_stride: Literal[1, 2] | None = None
    stem_channels: Channels | None = None
    group_channels: Annotated[tuple[Channels, ...], Few, AfterValidator(is_not_empty)] | None = None
    group_strides: (
        Annotated[tuple[Literal[1, 2], ...], Few, AfterValidator(is_not_empty)] | None
    ) = None
    head_channels: tuple[Channels, Channels] | None = None
    coupled: bool = Field(default=False, exclude_if=lambda value: not value)
    """Whether the depth of a block group decides the expand ratio of its blocks, in ascending order
    of both: fewer subnets, and those that are good for their size (CompOFA)."""

    @model_validator(mode="after")
    def _complete(self) -> "SpaceParams":
        families = (SMALL_IMAGES, *REFERENCE_SPACES)
        if self.family not in families:
            raise ValueError(
                f"unknown family {shown(self.family)}.{suggest(self.family, families)}"
            )
        shape = self.model_dump(exclude={"family", "resolutions_px", "coupled"})
        if self.family != SMALL_IMAGES:
            fixed = shape.keys() - {"kernel_sizes"}
            given = sorted(key for key in fixed if shape[key] is not None)
            if given:
                raise ValueError(f"{self.family} fixes {', '.join(given)}: leave them out")
            self._check_build()
            return self
        missing = sorted(
            key
            for key, value in {**shape, "resolutions_px": self.resolutions_px}.items()
            if value is None
        )
        if missing:
            raise ValueError(f"{self.family} needs {', '.join(missing)}")
        if len(self.group_channels or ()) != len(self.group_strides or ()):
            raise ValueError(
                "group_channels and group_strides must have as many entries as each other, got "
                f"{len(self.group_channels or ())} and {len(self.group_strides or ())}"
            )
        self._check_build()
        return self

    def _check_build(self) -> None:
        try:
            self.build()
        except ArchError as error:
            raise ValueError(str(error)) from error

    def build(self) -> SearchSpace:
        """Return the search space."""
        if self.family == SMALL_IMAGES:
            values: dict[str, Any] = self.model_dump(exclude={"family", "coupled"})
            space = mobilenet_v3_small_images(**{**values, "kernel_sizes": self._every_kernel()})
        else:
            space = reference_space(self.family)
        return space.restrict(
            resolutions_px=self.resolutions_px,
            kernel_sizes=self.kernel_sizes,
            is_coupled=self.coupled,
        )

    def _every_kernel(self) -> list[int]:
        """Return the kernel sizes of all block groups, as given or, of several lists, ascending."""
        given = self.kernel_sizes or ()
        own = [size for size in given if isinstance(size, int)]
        return own or sorted(
            {size for sizes in given if isinstance(sizes, tuple) for size in sizes}
        )
