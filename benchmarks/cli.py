"""What commands cost that answer at once: CPU seconds and memory, in a fresh process each.

Registers three small subnets in a workspace of its own, runs each command several times, and
beside them one search with MLflow's own client. The runs go round: command by command, then again,
so that a busy moment meets all of them. Prints one JSON object a command, with medians; ``ratio``
is to MLflow's search. Bytecode is compiled before, as in an installation. Commands run by
``ofa-pipeline`` of the same environment.

    python benchmarks/cli.py [--repeats 5] [--workspace FOLDER]
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from ofa_pipeline.devices.machine import processor_model
from ofa_pipeline.params import load_params
from ofa_pipeline.registry import open_registry, tracking_uri

ROOT = Path(__file__).resolve().parents[1]
DEVICE = "cpu-onnxruntime"
NOTE_PEAK = """
import atexit, pathlib
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: pathlib.Path(".peak").write_text(status.read_text()))
"""
"""What `wait4` says of memory is at least what this process had when it began the other."""
CALL = (
    NOTE_PEAK
    + """
from ofa_pipeline.cli import main
main()
"""
)
SEARCH = (
    NOTE_PEAK
    + """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
ids = [experiment.experiment_id for experiment in client.search_experiments()]
assert client.search_logged_models(ids)
"""
)
COMMANDS: dict[str, list[str]] = {
    "--help": ["--help"],
    "params check": ["params", "check"],
    "best": ["best", "--device", DEVICE, "--max-latency-ms", "100"],
    "subnets": ["subnets"],
    "pull": ["pull", "--device", DEVICE, "pulled"],
    "predict": ["predict", "image.png"],
    "doctor": ["doctor"],
}
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
_KIB_A_MB = 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process and its children took."""

    cpu_s: float
    peak_memory_mb: float


def cost_of(words: list[str], folder: Path) -> Cost:
    """Run a program in a folder; user and system seconds, and the largest resident set.

    Raises:
        RuntimeError: If it fails.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT)
    environment["PYTHONPYCACHEPREFIX"] = str(folder / ".bytecode")
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    text = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {text}")
    peak = _PEAK.search((folder / ".peak").read_text())
    assert peak is not None
    return Cost(used.ru_utime + used.ru_stime, int(peak[1]) / _KIB_A_MB)


def register_subnets(folder: Path) -> None:
    """Make a folder a workspace with three registered subnets and an image."""
    sys.path.insert(0, str(ROOT))
    from tests.support.registry import digest_of, subnet_record, write_bundle

    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    dataset = load_params(folder / "params.yaml").dataset.label
    registry = open_registry(folder)
    for number, accuracy in enumerate((0.8, 0.85, 0.9)):
        bundle = write_bundle(folder / "bundles" / str(number))
        (bundle / "weights.safetensors").write_bytes(bytes([number]))
        record = subnet_record(
            accuracy=accuracy,
            latency_ms=1.0 + number,
            device=DEVICE,
            dataset=dataset,
            bundle_digest=digest_of(bundle),
        )
        registry.register(record, bundle)
    Image.new("RGB", (40, 40), "green").save(folder / "image.png")


@contextmanager
def workspace_with_subnets(given: Path | None) -> Iterator[Path]:
    """Give a finished workspace, which is left as it is but for the files that commands write."""
    with tempfile.TemporaryDirectory(prefix="ofa-cli-") as name:
        folder = Path(name)
        if given is None:
            register_subnets(folder)
        else:
            for entry in ("params.yaml", "dvc.yaml", "artifacts", "mlflow.db", "mlruns"):
                place = given.resolve() / entry
                if place.is_dir():
                    shutil.copytree(place, folder / entry)
                elif place.exists():
                    shutil.copyfile(place, folder / entry)
            Image.new("RGB", (40, 40), "green").save(folder / "image.png")
        yield folder


def measure(folder: Path, repeats: int) -> dict[str, list[Cost]]:
    """Run every command, and MLflow's search, once to warm up and then several times."""
    calls = {name: [sys.executable, "-c", CALL, *words] for name, words in COMMANDS.items()}
    calls["mlflow search"] = [sys.executable, "-c", SEARCH, tracking_uri(folder)]
    costs: dict[str, list[Cost]] = {name: [] for name in calls}
    for number in range(repeats + 1):
        for name, words in calls.items():
            shutil.rmtree(folder / "pulled", ignore_errors=True)
            cost = cost_of(words, folder)
            if number:
                costs[name].append(cost)
    return costs


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workspace", type=Path, help="A finished one; a copy of it is asked.")
    options = parser.parse_args()
    with workspace_with_subnets(options.workspace) as folder:
        costs = measure(folder, options.repeats)
    search_s = median(cost.cpu_s for cost in costs.pop("mlflow search"))
    machine = f"{processor_model()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    for name, found in costs.items():
        cpu_s = median(cost.cpu_s for cost in found)
        record = {
            "command": name,
            "cpu_s": round(cpu_s, 2),
            "peak_memory_mb": round(max(cost.peak_memory_mb for cost in found)),
            "mlflow_search_cpu_s": round(search_s, 2),
            "ratio": round(cpu_s / search_s, 2),
            "machine": machine,
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
