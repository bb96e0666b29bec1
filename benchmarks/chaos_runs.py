"""Faults of whole runs: kills, and bits that flip in what a run reads back."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from chaos_common import ROOT, Result, Trial, finish, kill, start_process
from typer.testing import CliRunner

from ofa_pipeline.artifacts import Layout, digest_file, verify_artifact
from ofa_pipeline.cli.main import app
from ofa_pipeline.errors import ManifestMismatchError, MissingArtifactError
from ofa_pipeline.params import load_params
from ofa_pipeline.registry import MlflowRegistry, RegisteredSubnet, open_registry
from ofa_pipeline.stages import STAGES, StageContext, items_of, run_stage, stage_inputs
from ofa_pipeline.training.checkpoint import FILE_NAME, PREVIOUS_NAME
from tests.support.registry import digest_of
from tests.support.workspace import read_params, tiny_workspace

PICTURE = ROOT / "docs" / "pictures" / "search-official.png"
LONGEST_RUN_S = 1200.0
"""A run that takes longer hangs. It is a minute, several on a machine with other work."""
COMMAND = Path(sys.executable).with_name("ofa-pipeline")


# ---- runs --------------------------------------------------------------------------------------


def undisturbed_run(folder: Path) -> tuple[Path, float]:
    """Run a tiny workspace from beginning to end; return it and the seconds that it took."""
    workspace = tiny_workspace(folder)
    start = time.monotonic()
    if not run_to_end(workspace):
        raise SystemExit(f"a tiny run fails undisturbed:\n{log_of(workspace)[-4000:]}")
    return workspace, time.monotonic() - start


def start_run(workspace: Path) -> "subprocess.Popen[bytes]":
    """Start a run of a workspace."""
    with (workspace / "run.log").open("a") as log:
        return subprocess.Popen(
            [COMMAND, "run", "--workspace", workspace], cwd=ROOT, stdout=log, stderr=log
        )


def run_to_end(workspace: Path) -> bool:
    """Run a workspace; whether that ended well and every device has its subnets registered."""
    process = start_run(workspace)
    try:
        code = process.wait(LONGEST_RUN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code:
        sys.stderr.write(f"a run ended with {code}:\n{log_of(workspace)[-2000:]}\n")
        return False
    devices = {item.record.device for item in open_registry(workspace).list_subnets()}
    return devices == set(read_params(workspace)["devices"])


def log_of(workspace: Path) -> str:
    """Return what the runs of a workspace printed."""
    return (workspace / "run.log").read_text(errors="replace")


def digests_of(workspace: Path) -> dict[str, str]:
    """Return the digests of all artifacts that depend on no measured time."""
    layout = Layout(workspace)
    folders = [layout.dataset, *sorted((layout.artifacts / "supernet").iterdir())]
    folders += [layout.accuracy, layout.predictor]
    return {layout.relative(folder): verify_artifact(folder).digest for folder in folders}


def kill_run(trial: Trial) -> Result:
    """Kill a whole run again and again; what measures no time comes out bit for bit the same.

    A run takes so long that there is one kill for four of other faults. They are spread so that
    a run from beginning to end meets all of them.
    """
    reference, longest_s = trial.undisturbed()
    expected, result = digests_of(reference), Result("kill_run", digests_equal=True)
    workspace = tiny_workspace(trial.folder / "killed-0")
    kills = max(1, trial.kills // 4)
    while result.tried < kills:
        process = start_run(workspace)
        try:
            process.wait(trial.random.uniform(0, 2 * longest_s / kills))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            result.tried += 1
        else:  # it was faster: the next one begins anew
            _check_end(result, workspace, expected)
            workspace = tiny_workspace(trial.folder / f"killed-{result.tried}-{time.time_ns()}")
    _check_end(result, workspace, expected)
    result.survived = result.tried if result.digests_equal else 0
    return result


def _check_end(result: Result, workspace: Path, expected: dict[str, str]) -> None:
    is_equal = run_to_end(workspace) and digests_of(workspace) == expected
    result.digests_equal = bool(result.digests_equal) and is_equal


# ---- flipped bits ------------------------------------------------------------------------------


def flip_bit(path: Path, generator: random.Random) -> bytes:
    """Flip one bit of a file as a disk does it, with its time kept; return what was there."""
    state, content = path.stat(), path.read_bytes()
    changed = bytearray(content)
    changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
    with path.open("r+b") as file:
        file.write(changed)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    return content


@contextmanager
def flipped_bit(path: Path, generator: random.Random) -> Iterator[None]:
    """Flip one bit of a file for the body."""
    content = flip_bit(path, generator)
    try:
        yield
    finally:
        path.write_bytes(content)


def files_below(path: Path) -> list[Path]:
    """Return a file, or those of a folder that hold anything."""
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [item for item in found if item.is_file() and item.stat().st_size]


def refuses(work: Callable[[], object], *errors: type[Exception]) -> bool:
    """Whether something ends with one of these errors."""
    try:
        work()
    except errors:
        return True
    return False


def flipped_bit_in_checkpoint(trial: Trial) -> Result:
    """Kill a training, flip a bit of its checkpoint: the one before leads to the same bits."""
    result = Result("flipped_bit_in_checkpoint", digests_equal=True)
    whole = trial.folder / "whole.safetensors"
    steps = train(trial.folder / "whole", whole)
    for index in range(trial.kills):
        folder, end = trial.folder / f"cut-{index}", trial.folder / f"cut-{index}.safetensors"
        # After the third step two checkpoints are there for certain.
        train(folder, end, steps=trial.random.randrange(3, len(steps)))
        newest = next(
            path for name in (FILE_NAME, PREVIOUS_NAME) if (path := folder / name).exists()
        )
        flip_bit(newest, trial.random)
        is_resumable = newest.name == FILE_NAME
        after = train(folder, end)
        is_aside = newest.with_name(f"{newest.name}.bad").exists()
        is_resumed = bool(after) and len(after) < len(steps)
        is_equal = end.exists() and digest_file(end) == digest_file(whole)
        result.tried += 1
        result.survived += is_aside and is_equal and (is_resumed or not is_resumable)
        result.digests_equal = bool(result.digests_equal) and is_equal
    return result


def train(folder: Path, end: Path, *, steps: int = 0) -> list[int]:
    """Train in a process, from a checkpoint if there is one; return the images done, by step.

    Args:
        folder: For the checkpoints.
        end: Gets the weights.
        steps: Kill it after so many; 0 lets it come to its end.
    """
    process, pipe = start_process(_train, folder, end)
    done: list[int] = []
    try:
        while not steps or len(done) < steps:
            done.append(pipe.recv())
    except EOFError:
        finish(process)
    else:
        kill(process)
    return done


def _train(pipe: Connection, folder: Path, end: Path) -> None:
    from tests.support.train_until_killed import main

    main(folder, end, say=pipe.send)


def flipped_bit_in_artifact(trial: Trial) -> Result:
    """Flip a bit of a file that a stage reads: it refuses, and what is removed comes back equal."""
    workspace, _ = trial.undisturbed()
    context = StageContext(
        layout=Layout(workspace), params=load_params(workspace / "params.yaml"), item=None
    )
    reads = _reads_of(context)
    result = Result("flipped_bit_in_artifact")
    for _ in range(trial.kills):
        stage, item, path = trial.random.choice(reads)
        with flipped_bit(trial.random.choice(files_below(path)), trial.random):
            is_refused = refuses(
                lambda stage=stage, item=item: run_stage(stage, _of_item(context, item)),
                ManifestMismatchError,
                MissingArtifactError,
            )
        result.tried += 1
        result.survived += is_refused
    result.digests_equal = _is_repaired(trial, workspace, reads)
    return result


def _of_item(context: StageContext, item: str | None) -> StageContext:
    return StageContext(layout=context.layout, params=context.params, item=item)


def _reads_of(context: StageContext) -> list[tuple[str, str | None, Path]]:
    """Return every stage, with its item and one artifact that it computes on."""
    return [
        (stage.name, item, path)
        for stage in STAGES
        for item in items_of(stage, context.params)
        for path in stage_inputs(stage, _of_item(context, item))["inputs"]
    ]


def _is_repaired(trial: Trial, workspace: Path, reads: list[tuple[str, str | None, Path]]) -> bool:
    """Damage every artifact, have each refused on the command line, remove it, and run again."""
    folders = sorted({path for _, _, path in reads if path.is_dir()})
    before = {folder: verify_artifact(folder).digest for folder in folders}
    for folder in folders:
        flip_bit(trial.random.choice(files_below(folder)), trial.random)
    stage, item, _ = trial.random.choice(reads)
    words = [COMMAND, "stage", stage, *(["--item", item] if item else []), "--workspace", workspace]
    finished = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if finished.returncode != 1 or "rm -r" not in finished.stderr:
        sys.stderr.write(f"{stage} ended with {finished.returncode}:\n{finished.stderr}\n")
        return False
    for folder in folders:
        shutil.rmtree(folder)
    return run_to_end(workspace) and before == {
        folder: verify_artifact(folder).digest for folder in folders
    }


def flipped_bit_in_registry(trial: Trial) -> Result:
    """Flip a bit of a registered file: it is not pulled, does not answer and is not loaded."""
    workspace, _ = trial.undisturbed()
    registry = open_registry(workspace)
    cards = workspace.glob("mlruns/**/card.json")
    bundles = {digest_of(card.parent): card.parent for card in cards}
    devices = sorted(read_params(workspace)["devices"])
    result = Result("flipped_bit_in_registry")
    for index in range(trial.kills):
        subnet = registry.choose(device=trial.random.choice(devices))
        path = trial.random.choice(files_below(bundles[subnet.record.bundle_digest]))
        with flipped_bit(path, trial.random):
            ways = _ways_to(registry, subnet, workspace, trial.folder / f"flipped-{index}")
            if path.name not in _loaded_files(path.parent):
                del ways["load"]
            answered = [way for way, ask in ways.items() if ask()]
        again = _ways_to(registry, subnet, workspace, trial.folder / f"whole-{index}")
        silent = [way for way, ask in again.items() if not ask()]
        if answered or silent:
            sys.stderr.write(f"{path}: flipped, {answered} answer; whole, {silent} do not\n")
        result.tried += 1
        result.survived += not answered and not silent
    return result


def _ways_to(
    registry: MlflowRegistry, subnet: RegisteredSubnet, workspace: Path, target: Path
) -> dict[str, Callable[[], bool]]:
    """Return every way to a registered subnet: each tells whether it was had."""

    def command(*words: str | Path) -> bool:
        return (
            CliRunner().invoke(app, [*map(str, words), "--workspace", str(workspace)]).exit_code
            == 0
        )

    return {
        "pull": lambda: command("pull", subnet.model_uri, target),
        "predict": lambda: command("predict", PICTURE, "--device", subnet.record.device),
        "load": lambda: _is_loaded(registry, subnet),
    }


def _is_loaded(registry: MlflowRegistry, subnet: RegisteredSubnet) -> bool:
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(registry.tracking_uri)
        try:
            mlflow.pyfunc.load_model(subnet.model_uri)
        except Exception:  # noqa: BLE001 - the bundle's code raises what it likes
            return False
    return True


def _loaded_files(bundle: Path) -> set[str]:
    """Return the files of a bundle that a loaded model reads and knows the digests of."""
    try:
        runs = json.loads((bundle / "subnet.json").read_text()).get("runs", {})
    except ValueError:
        return {"subnet.json"}
    return {"subnet.json", "classify.py", "network.py", runs.get("file", "model.onnx")}
