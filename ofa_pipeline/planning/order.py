"""The stages of a run as one list, and what runs after what."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ofa_pipeline.stages import STAGES, Stage, items_of, read_paths

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

_SHARED = ("list_source", "report")
"""What a run that adds devices does besides their own stages."""


def address_of(stage: str, item: str | None = None) -> str:
    """Return the name of a stage as DVC has it."""
    return stage if item is None else f"{stage}@{item}"


def run_addresses(params: "Params", devices: Collection[str] = ()) -> tuple[str, ...]:
    """Return the stages of a run, in an order in which they can run.

    Args:
        params: Params of the workspace.
        devices: Where some are named, only they are added to a supernet that is there.
    """
    return tuple(
        address_of(stage.name, item)
        for stage in STAGES
        for item in items_of(stage, params)
        if not devices or stage.name in _SHARED or _is_of(stage, item, devices)
    )


def _is_of(stage: Stage, item: str | None, devices: Collection[str]) -> bool:
    return stage.item_kind == "device" and item in devices


def stages_before(params: "Params") -> Mapping[str, tuple[str, ...]]:
    """Return which stages write what a stage reads, by its name as DVC has it."""
    written = {
        stage.writes.format(item=item): address_of(stage.name, item)
        for stage in STAGES
        for item in items_of(stage, params)
    }
    return {
        address_of(stage.name, item): tuple(
            dict.fromkeys(
                maker
                for path in read_paths(stage, item, params)
                for folder, maker in written.items()
                if path == folder or path.startswith(f"{folder}/")
            )
        )
        for stage in STAGES
        for item in items_of(stage, params)
    }
