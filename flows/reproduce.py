"""`python -m flows.reproduce`: make a registered subnet again from its data, and compare."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from flows.clone import (
    adopt_remote,
    check_origin,
    check_remote,
    clone_workspace,
    find_repository,
    pull,
    removed_on_failure,
)
from flows.replay import Replay
from ofa_pipeline.cli.chosen import default_folder
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.output import PLAIN, report_error, stderr, stdout
from ofa_pipeline.documents.lineage import ReplayVerdict, ReproductionAnswer
from ofa_pipeline.exit_codes import EXIT_ERROR, exit_code_of, exit_on_sigterm
from ofa_pipeline.masking import mask_logs
from ofa_pipeline.registry import open_registry
from ofa_pipeline.registry.lineage import read_lineage
from ofa_pipeline.temporary import temporary_folder

_SHOWN_DIGITS = 12
_WORDS: dict[ReplayVerdict | None, str] = {
    "equal": "equal",
    "differs": "DIFFERS",
    "missing": "MISSING",
    "measured": "measures time",
    None: "",
}


def main(arguments: list[str]) -> int:
    """Make a subnet again and show what is the same.

    Returns:
        One of the exit codes of `ofa-pipeline --help`; 1 where a digest differs.
    """
    options = _parse(arguments)
    exit_on_sigterm()
    try:
        mask_logs()
        found = _reproduce(options)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the boundary
        report_error(error, debug=options.debug)
        return exit_code_of(error)
    if options.json:
        stdout.print(json.dumps(found.to_dict(), indent=2), **PLAIN)
    else:
        _show(found)
    return 0 if found.is_reproduced else EXIT_ERROR


def _reproduce(options: argparse.Namespace) -> ReproductionAnswer:
    registry = open_registry(options.workspace)
    subnet = registry.version(options.version)
    folder = options.folder or Path(f"{default_folder(subnet)}-again")
    with temporary_folder("reproduce") as kept:
        lineage = read_lineage(registry, subnet, kept)
        origin = lineage.origin
        check_origin(subnet.model_uri, origin)
        repository = find_repository(options.workspace, origin, options.repository)
        check_remote(origin, repository, options.workspace)
        stderr.print(f"cloning {origin.commit[:_SHOWN_DIGITS]} to {folder} ...", **PLAIN)
        root = clone_workspace(origin, repository, folder, kept)
    replay = Replay(root, lineage)
    with removed_on_failure(folder):
        remote = adopt_remote(root, options.workspace)
        stderr.print(f"pulling from the DVC remote {remote} ...", **PLAIN)
        pull(root, replay.addresses, remote=remote)
    steps = replay.run(
        is_made_again=not options.check, show=lambda text: stderr.print(text, **PLAIN)
    )
    return ReproductionAnswer(
        model_uri=subnet.model_uri,
        commit=origin.commit,
        folder=str(folder),
        steps=steps,
        is_reproduced=all(
            step.kept == "equal" and step.replayed in (None, "equal", "measured") for step in steps
        ),
    )


def _show(found: ReproductionAnswer) -> None:
    table = Table(title=f"{found.model_uri} again, from {found.commit[:_SHOWN_DIGITS]}")
    for name in ("what", "stage", "recorded", "kept", "made again", "note"):
        table.add_column(name, overflow="fold")
    for step in found.steps:
        recorded, kept = step.recorded[:_SHOWN_DIGITS], _WORDS[step.kept]
        table.add_row(step.what, step.stage, recorded, kept, _WORDS[step.replayed], step.note)
    print_table(table, stdout)
    stdout.print(summary_of(found), **PLAIN)
    stdout.print(f"the clone is {found.folder}", **PLAIN)


def summary_of(found: ReproductionAnswer) -> str:
    """Return in a line how many digests are equal: of what was made again, and of what is kept."""
    again = [step.replayed for step in found.steps if step.replayed not in (None, "measured")]
    kept = [step.kept for step in found.steps if step.replayed in (None, "measured")]
    word = "reproduced" if again else "kept"
    verdict = word if found.is_reproduced else f"NOT {word}"
    parts = [f"{_num_equal(again)} made again", f"{_num_equal(kept)} compared as kept"]
    return f"{verdict}: {_num_equal([*again, *kept])} digests are equal ({', '.join(parts)})"


def _num_equal(verdicts: Sequence[ReplayVerdict | None]) -> str:
    return f"{verdicts.count('equal')} of {len(verdicts)}"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.reproduce", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--repository")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--debug", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
