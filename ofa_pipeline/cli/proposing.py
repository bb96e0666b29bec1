"""`ofa-pipeline init --source`: params that suit the images and the machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from ofa_pipeline.cli.display import duration_text
from ofa_pipeline.cli.output import PLAIN, stderr, stdout
from ofa_pipeline.errors import DatasetError
from ofa_pipeline.workspace import check_no_params, starting_params

if TYPE_CHECKING:
    from ofa_pipeline.params import Params
    from ofa_pipeline.planning import Availability, Machine, SourceSurvey

_REACH_S = 4.0
_LONG_S = 86400.0
_WITH_PATH = ("image_folder", "parquet")


def propose_params(folder: Path, source: str, *, preset: str | None) -> str:
    """Look at a source and this machine, say what was found, and return params.yaml for both.

    Args:
        folder: The folder that is to become a workspace.
        source: As ``dataset.source``, but that a relative path is meant from here.
        preset: The preset that was asked for.

    Raises:
        DatasetError: If the source cannot be used.
        ParamsError: If the folder has a params.yaml already, or there is no such preset.
    """
    check_no_params(folder, option=f"--source {source}")
    if preset is not None:
        starting_params(folder, preset=preset, option=f"--preset {preset}")  # that there is one
    spec = _meant_from(source, folder)
    stderr.print("looking at the images and the machine ...", style="dim")
    from ofa_pipeline.planning import propose, survey_source, this_machine, write_proposal

    survey, machine = survey_source(spec, base=folder), this_machine(folder)
    proposal = propose(survey, machine, preset=preset, weights=_weights(survey, preset))
    text = starting_params(folder, preset=proposal.preset, option=f"--source {source}")
    found = [*survey.lines, f"this machine: {machine.text}"]
    draft = write_proposal(text, proposal, head=[])
    expected = _expectation(survey, machine, _checked(draft, folder))
    chosen = f"params: {proposal.preset or 'as shipped'}, with what suits these images"
    lines = [*found, chosen, *proposal.notes, *expected]
    for line in lines:
        stdout.print(f"  {line}", **PLAIN)
    for warning in proposal.warnings:
        stdout.print(f"  warning: {warning}", style="yellow", **PLAIN)
    said = [*lines, *(f"warning: {warning}" for warning in proposal.warnings)]
    head = [f"Proposed by `ofa-pipeline init --source` for {spec}:", *(f"- {x}" for x in said)]
    return write_proposal(text, proposal, head=head)


def _meant_from(source: str, folder: Path) -> str:
    """Return a source whose path, meant from here, is right from a workspace, too.

    Raises:
        DatasetError: If there is no path.
    """
    kind, _, rest = source.partition(":")
    if kind not in _WITH_PATH:
        return source
    if not rest:
        raise DatasetError(f"--source must name a path, as {kind}:PATH, got {source}")
    if rest.startswith("~") or Path(rest).is_absolute():
        return source
    path, root = Path(rest).resolve(), folder.resolve()
    if not path.exists() and (root / rest).exists():
        return source  # meant from the workspace, as in params.yaml
    return f"{kind}:{path.relative_to(root) if path.is_relative_to(root) else path}"


def _weights(survey: "SourceSurvey", preset: str | None) -> "Availability":
    """Return whether the published weights can be had, where they may be wanted."""
    from ofa_pipeline.planning import PHOTO_PX, PUBLISHED, TRANSFER

    is_wanted = preset == TRANSFER or (preset is None and survey.shorter_side_px(0.5) >= PHOTO_PX)
    if not is_wanted:
        return "unknown"
    from ofa_pipeline.reference.zoo import cached_file, is_reachable, supernet_file

    file = supernet_file(PUBLISHED)
    if cached_file(file) is not None:
        return "here"
    return "to download" if is_reachable(file, timeout_s=_REACH_S) else "unreachable"


def _checked(text: str, folder: Path) -> "Params":
    from ofa_pipeline.params import parse_params
    from ofa_pipeline.yaml_reader import parse_yaml

    origin = f"the params proposed for {folder}"
    return parse_params(parse_yaml(text, origin=origin), origin=origin)


def _expectation(survey: "SourceSurvey", machine: "Machine", params: "Params") -> list[str]:
    """Say how long training and the whole run will take, by rules of thumb."""
    from ofa_pipeline.planning import SplitSizes, WorkOfRun, rates_of_thumb

    rates = rates_of_thumb(machine, decode_s=survey.decode_s)
    sizes = SplitSizes.of_survey(survey, params)
    work = WorkOfRun(params, sizes, num_classes=survey.num_classes).of_all()
    seconds = {address: rates.seconds(address, of) for address, of in work.items()}
    training = sum(s for address, s in seconds.items() if address.startswith("train_supernet"))
    total = sum(seconds.values())
    lines = [
        f"expect about {duration_text(training)} of training and {duration_text(total)} in all, if "
        "nothing else runs here (a rule of thumb; `ofa-pipeline plan` measures)"
    ]
    if total > _LONG_S and not machine.gpu:
        lines.append(
            "that is long: a GPU trains some twenty times faster; else lower "
            "space.resolutions_px, or the epochs of phases"
        )
    return lines
