"""A plan: which stages run, for how long, and what they need; a value, its JSON, its notes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ofa_pipeline.artifacts import Layout, Manifest, digest_json, read_json, write_json
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.planning.machine import Machine
from ofa_pipeline.planning.order import run_addresses, stages_before
from ofa_pipeline.stages import find_stage, param_sections
from ofa_pipeline.stopwatch import Seconds

if TYPE_CHECKING:
    from ofa_pipeline.params import Params

State = Literal["runs", "restored", "current", "checked"]
Basis = Literal["measured", "recorded", "rule of thumb", ""]
RESTORE_S = 2.0
"""Of a stage whose results DVC has kept; one that is current takes less."""
_KEPT = "scratch/plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage of a run."""

    address: str
    state: State
    seconds: float
    basis: Basis
    """What the seconds come from; empty where nothing is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do."""

    stages: tuple[PlannedStage, ...]
    machine: Machine
    memory_bytes: int | None
    """Of the process that needs most, as far as is known; None where it was not measured."""
    gpu_memory_bytes: int | None
    disk_bytes: int
    """That a run of everything adds."""
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    """What would stop the run at once."""

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def num_running(self) -> int:
        """Stages that will run or be restored."""
        return sum(stage.state in ("runs", "restored") for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"seconds": self.seconds, **asdict(self)}


def keep_plan(plan: Plan, params: "Params", layout: Layout) -> None:
    """Keep the seconds of a plan for the run that follows it."""
    kept = {stage.address: stage.seconds for stage in plan.stages if stage.state == "runs"}
    path = layout.root / _KEPT
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"params": _digest(params), "seconds": kept})


def kept_seconds(params: "Params", layout: Layout) -> dict[str, float]:
    """Return the seconds of the last plan; nothing where there is none of these params."""
    try:
        kept = read_json(layout.root / _KEPT, made_by="ofa-pipeline plan")
    except (MissingArtifactError, ManifestMismatchError):
        return {}
    return dict(kept["seconds"]) if kept.get("params") == _digest(params) else {}


def _digest(params: "Params") -> str:
    return digest_json(params.model_dump(mode="json"))


def states_of(
    params: "Params", *, changed: Collection[str], restorable: Collection[str]
) -> Mapping[str, State]:
    """Return what will happen to each stage.

    Args:
        params: Params of the workspace.
        changed: Stages that DVC calls changed, as things are now.
        restorable: Those of them whose results DVC has kept.
    """
    before, states = stages_before(params), dict[str, State]()
    for address in run_addresses(params):
        stage = find_stage(address.partition("@")[0])
        follows = any(states.get(maker) in ("runs", "restored") for maker in before[address])
        if stage.is_always_run:
            states[address] = "checked"
        elif address in restorable and not follows:
            states[address] = "restored"
        elif address in changed or follows:
            states[address] = "runs"
        else:
            states[address] = "current"
    return states


def recorded_seconds(
    layout: Layout, params: "Params", addresses: Iterable[str]
) -> Mapping[str, float]:
    """Return what stages took when they last ran, where they had the params that they have now."""
    found = {}
    for address in addresses:
        name, _, item = address.partition("@")
        stage = find_stage(name)
        if not stage.is_timed:
            continue
        try:
            made = Manifest.read(layout.root / stage.writes.format(item=item), made_by="")
            timed = layout.root / stage.writes_seconds.format(item=item)
            seconds = Seconds.from_dict(Manifest.read(timed, made_by="").summary)
        except (MissingArtifactError, ManifestMismatchError):
            continue
        wanted = params.sections(param_sections(stage, item or None))
        if seconds.is_complete and made.params == wanted:
            found[address] = seconds.wall_s
    return found
