"""What becomes of runs and registries that are killed, met by many writers, or corrupted.

Each fault prints one JSON object: how often it was tried, how often everything was right after the
next run, versions of the same content beyond one, entries that are not there or have no files, and
(where artifacts are made) whether they equal those of an undisturbed run, times excepted.

    python benchmarks/chaos.py [--kills 20] [--writers 8] [--only FAULT ...]

Everything happens in temporary folders; servers listen on 127.0.0.1 only. It takes minutes.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chaos_common import URI_VARIABLE, Result, Trial
from chaos_registry import (
    half_made_database,
    kill_while_database_is_made,
    kill_while_registering,
    kill_while_registering_server,
    writers_fresh_sqlite,
    writers_server_overlapping,
    writers_sqlite_overlapping,
)
from chaos_runs import (
    flipped_bit_in_artifact,
    flipped_bit_in_checkpoint,
    flipped_bit_in_registry,
    kill_run,
    undisturbed_run,
)

from tests.support.registry import write_bundle

FAULTS: tuple[Callable[[Trial], Result], ...] = (
    kill_while_database_is_made,
    kill_while_registering,
    kill_while_registering_server,
    writers_fresh_sqlite,
    writers_sqlite_overlapping,
    writers_server_overlapping,
    half_made_database,
    flipped_bit_in_checkpoint,
    kill_run,
    flipped_bit_in_registry,
    flipped_bit_in_artifact,
)


def main() -> int:
    """Try all faults, or those asked for; the exit code is 1 when one was not survived."""
    names = [fault.__name__ for fault in FAULTS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    os.environ.pop(URI_VARIABLE, None)
    all_well = True
    with tempfile.TemporaryDirectory(prefix="ofa-chaos-", ignore_cleanup_errors=True) as folder:
        undisturbed = cache(lambda: undisturbed_run(Path(folder) / "undisturbed"))
        for fault in FAULTS:
            if fault.__name__ not in options.only:
                continue
            here = Path(folder) / fault.__name__
            here.mkdir()
            generator = random.Random(options.seed)
            trial = Trial(here, options.kills, options.writers, generator, undisturbed)
            write_bundle(trial.bundle)
            result = fault(trial)
            print(json.dumps(asdict(result)), flush=True)
            all_well &= result.is_well
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main())
