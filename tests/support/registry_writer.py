"""A process that registers subnets, for those who run several at once or kill it.

    python -m tests.support.registry_writer WORKSPACE BUNDLE NUMBER...

Each number stands for a subnet of its own. Says ``ready`` once everything is imported, and at the
end the versions as JSON.
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ofa_pipeline.registry import Entry, MlflowRegistry, RunNotes, SubnetRecord, open_registry
from ofa_pipeline.registry.runs import KIND_TAG, SUBNET
from ofa_pipeline.registry.server import quiet_mlflow
from tests.support.registry import subnet_record


def numbered_record(number: int) -> SubnetRecord:
    """Return the record of a subnet that only this number has."""
    return subnet_record(latency_ms=1.0 + number)


def register_numbers(workspace: Path, bundle: Path, numbers: Iterable[int]) -> dict[int, int]:
    """Register subnets in the registry of a workspace; return their versions."""
    numbers = list(numbers)
    entries = [Entry(record=numbered_record(number), bundle_folder=bundle) for number in numbers]
    registered = open_registry(workspace).register_all(entries, notes=RunNotes(name="writer"))
    return {number: item.version for number, item in zip(numbers, registered, strict=True)}


def start_writer(
    workspace: Path, bundle: Path, numbers: Iterable[int], *, cwd: Path | None = None
) -> "subprocess.Popen[str]":
    """Start a process that registers subnets; it waits for nothing."""
    words = [sys.executable, "-m", "tests.support.registry_writer", str(workspace), str(bundle)]
    return subprocess.Popen(
        [*words, *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


@dataclass(frozen=True, slots=True)
class Count:
    """What a registry holds, against what it should hold."""

    duplicates: int
    """Versions of the same content, and runs of subnets that no version came out of."""
    missing: int
    num_running: int
    """Runs that nobody ended."""


def count_registered(registry: MlflowRegistry, numbers: Iterable[int]) -> Count:
    """Compare a registry with the numbers that were registered; files must be there, too."""
    from mlflow import MlflowClient

    client = MlflowClient(registry.tracking_uri, registry_uri=registry.tracking_uri)
    records = [numbered_record(number) for number in numbers]
    versions = [
        version.tags["ofa.bundle_digest"]
        for name in {record.model_name for record in records}
        for version in client.search_model_versions(f"name='{name}'", max_results=1000)
    ]
    missing = [
        record
        for record in records
        if registry.find(model_name=record.model_name, bundle_digest=record.bundle_digest) is None
    ]
    experiments = [item.experiment_id for item in client.search_experiments()]
    running = client.search_runs(experiments, filter_string="attributes.status = 'RUNNING'")
    of_subnets = client.search_runs(experiments, filter_string=f"tags.`{KIND_TAG}` = '{SUBNET}'")
    return Count(
        duplicates=len(versions) - len(set(versions)) + max(0, len(of_subnets) - len(versions)),
        missing=len(missing),
        num_running=len(running),
    )


if __name__ == "__main__":
    quiet_mlflow()
    warnings.simplefilter("ignore")
    import mlflow.pyfunc  # noqa: F401

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    found = register_numbers(Path(sys.argv[1]), Path(sys.argv[2]), map(int, sys.argv[3:]))
    sys.stdout.write(f"{json.dumps(found)}\n")
