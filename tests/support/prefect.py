"""What Prefect itself reads from settings, to compare with."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ASK = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
from prefect.settings import Settings, sources
for case in json.load(sys.stdin):
    os.environ.update(case["environment"])
    os.chdir(case["folder"])
    sources._file_cache.clear()
    print(json.dumps(Settings().api.url))
    for name in case["environment"]:
        del os.environ[name]
"""


def api_urls_of_prefect(
    cases: Sequence[tuple[Path, dict[str, str]]], *, home: Path
) -> list[str | None]:
    """Ask Prefect for the address of its server, once a case.

    Args:
        cases: The current folder and the variables that are set, of each.
        home: The user's home.
    """
    clean = {name: value for name, value in os.environ.items() if "PREFECT" not in name.upper()}
    asked = [{"folder": str(folder), "environment": values} for folder, values in cases]
    answer = subprocess.run(
        [sys.executable, "-c", _ASK],
        input=json.dumps(asked),
        env={**clean, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in answer.stdout.splitlines()]
