"""`python -m flows.plan`: what a run would do, and how long it would take."""

import argparse
import json
import os
import sys
from pathlib import Path

from flows.dvc_client import DvcClient, StageFailedError
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.cli.display import Display
from ofa_pipeline.cli.listing import print_table
from ofa_pipeline.cli.output import PLAIN, report_error, stderr, stdout
from ofa_pipeline.cli.planned import plan_lines, plan_table
from ofa_pipeline.exit_codes import exit_code_of, exit_on_sigterm
from ofa_pipeline.graph import check_graph
from ofa_pipeline.masking import mask_logs
from ofa_pipeline.params import load_params
from ofa_pipeline.planning import Plan, keep_plan, make_plan, run_addresses
from ofa_pipeline.progress import Reporter
from ofa_pipeline.workspace import (
    check_dvc_files,
    check_version_control,
    choose_version_control,
    hold_workspace,
)


def main(arguments: list[str]) -> int:
    """Plan a run of a workspace and show the plan.

    Returns:
        One of the exit codes of `ofa-pipeline --help`.
    """
    options = _parse(arguments)
    exit_on_sigterm()
    try:
        plan = _plan(options.workspace.resolve(), is_measured=not options.estimate)
    except StageFailedError as error:
        report_error(error, debug=options.debug)
        return error.exit_code
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the boundary
        report_error(error, debug=options.debug)
        return exit_code_of(error)
    if options.json:
        stdout.print(json.dumps(plan.to_dict(), indent=2), **PLAIN)
        return 0
    print_table(plan_table(plan), stdout)
    for line in plan_lines(plan):
        stdout.print(line.text, style="yellow" if line.is_warning else None, **PLAIN)
    return 0


def _plan(root: Path, *, is_measured: bool) -> Plan:
    params = load_params(root / "params.yaml")
    mask_logs()
    check_dvc_files(root)
    check_version_control(root)
    os.chdir(root)  # relative paths in params.yaml are meant from there
    # A run beside it would be in what is measured.
    with hold_workspace(root, role="stage"), DvcClient(root) as dvc, Display(stderr) as display:
        choose_version_control(root)
        if warning := check_graph(root):
            display.line(f"warning: {warning}", style="yellow")
        display.line("asking DVC what is up to date ...", style="dim")
        judgement = dvc.judge(run_addresses(params))
        reporter = Reporter(lambda event: display.line(f"measuring {event.label}", style="dim"))
        plan = make_plan(root, params, judgement, is_measured=is_measured, reporter=reporter)
        if is_measured:
            keep_plan(plan, params, Layout(root))
        return plan


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m flows.plan", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--debug", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
