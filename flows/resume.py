"""`python -m flows.resume`: have the runs go on that waited for a device that was measured now.

`ofa-pipeline device import` starts this where a run of the workspace waits.
"""

import argparse
import os
import sys
from pathlib import Path

from flows.environment import set_up_prefect
from flows.settings import import_prefect
from ofa_pipeline.cli.output import PLAIN, report_error, stdout
from ofa_pipeline.exit_codes import exit_code_of
from ofa_pipeline.masking import mask_logs


def main(arguments: list[str]) -> int:
    """Resume what can be, and say what could not.

    Returns:
        One of the exit codes of `ofa-pipeline --help`; 0 also where a server does not answer: the
        measurements are kept, and the lines say how to go on.
    """
    parser = argparse.ArgumentParser(prog="python -m flows.resume", description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args(arguments)
    root = options.workspace.resolve()
    try:
        mask_logs()
        set_up_prefect(root, os.environ)
        import_prefect()
        from flows.waiting import resume_arrived

        lines = list(resume_arrived(root))
        for line in lines or ["the run that waited was resumed by who serves it"]:
            stdout.print(line, **PLAIN)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the boundary
        report_error(error, debug=options.debug)
        return exit_code_of(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
