"""The table of the stages: what each reads, writes, and which params it gets.

One table says it all; a test holds ``dvc.yaml`` equal to it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.errors import ParamsError, suggest

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

ItemKind = Literal["phase", "device", "kind of weights"]

SECONDS = "artifacts/seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One row of the stage table.

    Paths are relative to the workspace. ``{item}`` is the phase, device or kind of weights,
    ``{start_from}`` what the phase starts from, ``{final}`` the last phase; a path with
    ``{device}`` stands for all devices.
    """

    name: str
    item_kind: ItemKind | None = None
    reads: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()
    """The `reads` that only say when to run again: they are no input of what the stage makes, so
    they are not in the manifest, and nothing after the stage runs again because of them."""
    writes: str
    is_timed: bool = False
    """Whether the seconds that it took are kept, beside what it writes: see `writes_seconds`."""
    is_always_run: bool = False
    """Whether to run it each time that somebody asks: it looks at what DVC does not see."""
    keeps_memory: bool = False
    """Whether its process keeps memory that it has freed, which makes training faster. Never
    where latency is measured: others run its networks in processes that give memory back."""
    fans_out: bool = False
    """Whether it computes many subnets, which ``compute.fan_out`` may send elsewhere."""
    makes_outside: bool = False
    """Whether its result depends on something that DVC does not see; see `missing_outside`."""
    params: tuple[str, ...] = ()
    """Sections of params.yaml; ``{item}`` as in the paths."""
    summary: str
    """What happens, in one line, for people."""

    @property
    def writes_seconds(self) -> str:
        """The artifact of the seconds of a timed stage, relative to the workspace.

        An artifact of its own, that only the report reads: two runs of a stage that come to the
        same result take different times, and nothing that is made from the result may change.
        """
        return f"{SECONDS}/{self.name}" + ("/{item}" if self.item_kind else "")


STAGES: tuple[Stage, ...] = (
    Stage(
        name="list_source",
        writes="artifacts/source",
        is_always_run=True,
        params=("dataset.source",),
        summary="list the files of the source, to see which of them changed",
    ),
    Stage(
        name="prepare_dataset",
        reads=("artifacts/source",),
        watches=("artifacts/source",),
        writes="artifacts/dataset",
        params=("dataset",),
        summary="decode-check every image, split, write Parquet shards",
    ),
    Stage(
        name="import_weights",
        item_kind="kind of weights",
        reads=(f"artifacts/dataset/{Layout.CLASSES}",),
        writes="artifacts/initial",
        params=("space", "training.seed", "training.initial_weights.{item}"),
        summary="read, check and convert the weights that training starts from, if any are named",
    ),
    Stage(
        name="train_supernet",
        item_kind="phase",
        reads=("artifacts/dataset", "artifacts/{start_from}"),
        writes="artifacts/supernet/{item}",
        is_timed=True,
        keeps_memory=True,
        params=("space", "training", "phases.{item}"),
        summary="one phase of the supernet's training",
    ),
    Stage(
        name="collect_accuracy",
        reads=("artifacts/dataset", "artifacts/supernet/{final}"),
        writes="artifacts/accuracy",
        is_timed=True,
        keeps_memory=True,
        fans_out=True,
        params=("space", "evaluation", "accuracy", "final_phase"),
        summary="calibrate and evaluate an initial design of subnets on selection images",
    ),
    Stage(
        name="fit_predictor",
        reads=("artifacts/accuracy",),
        writes="artifacts/predictor",
        is_timed=True,
        params=("space", "predictor"),
        summary="fit and cross-validate the accuracy predictor",
    ),
    Stage(
        name="profile_latency",
        item_kind="device",
        reads=(f"artifacts/dataset/{Layout.CLASSES}",),
        writes="artifacts/latency/{item}",
        is_timed=True,
        makes_outside=True,
        params=("space", "latency", "devices.{item}.card"),
        summary="measure subnets on the device's runtime, fit the latency model",
    ),
    Stage(
        name="search",
        item_kind="device",
        reads=(
            "artifacts/dataset",
            "artifacts/supernet/{final}",
            "artifacts/accuracy",
            "artifacts/predictor",
            "artifacts/latency/{item}",
        ),
        writes="artifacts/search/{item}",
        is_timed=True,
        fans_out=True,
        params=("evaluation", "latency", "search", "devices.{item}", "final_phase"),
        summary="Pareto front for all budgets, verify the best for real, pick",
    ),
    Stage(
        name="specialize",
        item_kind="device",
        reads=(
            "artifacts/dataset",
            "artifacts/supernet/{final}",
            "artifacts/latency/{item}",
            "artifacts/search/{item}",
        ),
        writes="artifacts/subnets/{item}",
        is_timed=True,
        fans_out=True,
        params=(
            "space",
            "training",
            "evaluation",
            "latency",
            "specialize",
            "devices.{item}.card",
            "final_phase",
        ),
        summary="extract, calibrate, fine-tune, export, check parity, measure, certify",
    ),
    Stage(
        name="register",
        item_kind="device",
        reads=(
            "artifacts/subnets/{item}",
            "artifacts/dataset",
            "artifacts/supernet/{phase}",
            f"{SECONDS}/train_supernet",
        ),
        watches=("artifacts/dataset", "artifacts/supernet/{phase}", f"{SECONDS}/train_supernet"),
        writes="artifacts/registry/{item}",
        makes_outside=True,
        params=("dataset", "registry"),
        summary="one registry version a subnet: accuracy, latency, lineage, files",
    ),
    Stage(
        name="report",
        reads=(
            "artifacts/dataset",
            "artifacts/supernet/{phase}",
            "artifacts/accuracy",
            "artifacts/predictor",
            "artifacts/latency/{device}",
            "artifacts/search/{device}",
            "artifacts/subnets/{device}",
            "artifacts/registry/{device}",
            SECONDS,
        ),
        watches=(SECONDS,),
        writes="artifacts/report",
        makes_outside=True,
        params=("report", "phases", "devices", "registry"),
        summary="one self-contained HTML page, metrics and plots",
    ),
)


def find_stage(name: str) -> Stage:
    """Return a row of the table.

    Raises:
        ParamsError: If there is no such stage.
    """
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise ParamsError(f"unknown stage {name!r}.{suggest(name, [s.name for s in STAGES])}")


def items_of(stage: Stage, params: "Params") -> tuple[str | None, ...]:
    """Return what the stage runs for: phases, devices, at most one kind of weights.

    ``(None,)`` where it runs once, for the whole; empty where params.yaml names no weights.
    """
    if stage.item_kind == "phase":
        return tuple(params.phases)
    if stage.item_kind == "device":
        return tuple(params.devices)
    if stage.item_kind == "kind of weights":
        return tuple(params.training.initial_weights)
    return (None,)


def read_paths(stage: Stage, item: str | None, params: "Params") -> tuple[str, ...]:
    """Return what the stage reads for an item, relative to the workspace."""
    paths: list[str] = []
    for template in stage.reads:
        start = ""
        if "{start_from}" in template:
            start = params.phases[item or ""].starting_artifact or ""
            if not start:
                continue
        expanded = [template]
        if "{phase}" in template:
            expanded = [template.replace("{phase}", phase) for phase in params.phases]
        elif "{device}" in template:
            expanded = [template.replace("{device}", device) for device in params.devices]
        paths += [
            path.format(item=item, start_from=start, final=params.final_phase) for path in expanded
        ]
    return tuple(paths)


def param_sections(stage: Stage, item: str | None) -> tuple[str, ...]:
    """Return the dotted names of the params that the stage gets for an item."""
    return tuple(name.format(item=item) for name in stage.params)


def check_item(stage: Stage, item: str | None, params: "Params") -> None:
    """Check that the stage runs for an item.

    Raises:
        ParamsError: If the item is missing, unknown, or one too many.
    """
    items = items_of(stage, params)
    if item in items:
        return
    if items == (None,):
        raise ParamsError(f"stage {stage.name} has no items, got --item {item}")
    if not items:
        raise ParamsError(
            f"stage {stage.name} has nothing to do: params.yaml names no {stage.item_kind}"
        )
    known = [str(item) for item in items]
    raise ParamsError(
        f"stage {stage.name} needs --item, a {stage.item_kind}, got {item}."
        f"{suggest(item or '', known) or ' Known: ' + ', '.join(known) + '.'}"
    )
