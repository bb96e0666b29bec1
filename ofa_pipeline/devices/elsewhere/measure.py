"""Measures the networks of this folder on this machine: ``python measure.py``.

It needs Python 3.9 or newer, numpy, and the runtime that ``manifest.json`` names; nothing else.
Each network is called in turn with a reference network. The times of all calls go into
``measured.jsonl`` as they are taken, so a run that is stopped goes on where it was, and at the end
into one result file: what it is brought home to computes latencies from them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import random
import statistics
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

if sys.version_info < (3, 9):  # noqa: UP036 - elsewhere it may be
    sys.exit("error: Python 3.9 or newer must run this, but it is " + platform.python_version())
FORMAT = 1
"""Of manifests that are understood and results that are written."""
FOLDER = Path(__file__).resolve().parent
NOTES, LOCK = "measured.jsonl", "measuring.lock"
PATIENCE_S = 30
"""How long to wait for another run in this folder, such as one whose connection was lost."""
VISIT_MS = 0.8
"""A visit to a network makes as many calls as fit."""
MAX_CALLS = 8
MIN_SESSIONS, MAX_SESSIONS = 2, 6
"""Fresh loads of both networks: where their memory lies changes the latency a little."""
MAX_SPREAD = 0.06
"""Quarters of the ratios of neighboring visits that are further apart ask for more sessions."""
BUSY = 1.3
"""A reference network that takes this many times its fastest says that the machine is busy."""


class WrongError(Exception):
    """Something is not as it must be; the message says what to do."""


def main() -> int:
    """Measure what is missing and write the result; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the networks of this folder.")
    parser.add_argument("--card", action="store_true", help="only say what this machine is")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    options = parser.parse_args()
    return ended(lambda: measured_here(is_again=options.again, is_card_wanted=options.card))


def ended(work: Callable[[], str]) -> int:
    """Say what some work returns, or why it could not be done; return the exit code."""
    try:
        say(work())
    except WrongError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except BrokenPipeError:  # a connection was lost: nobody is told any more
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped. Run the same command again to go on from here.\n")
        return 130
    except OSError as error:
        sys.stderr.write(f"error: {error}. Put that right; run the same command again to go on.\n")
        return 1
    return 0


def measured_here(*, is_again: bool, is_card_wanted: bool) -> str:
    """Measure on this machine, or only say what it is; return the last words."""
    manifest = read_manifest()
    cores: int = import_file("cores.py").usable_cores()  # not only those that it is pinned to
    os.environ["OMP_NUM_THREADS"] = str(manifest["card"]["threads"])
    pin(manifest["card"].get("pinning"))
    try:
        runtime = import_file("runtime.py")
    except ImportError as error:
        raise not_installed(str(error.name), error.msg) from error
    card = machine_card(manifest, runtime, cores)
    if is_card_wanted:
        return json.dumps(card)
    require_profiled(manifest, card)

    def measure_one(network: dict[str, Any]) -> dict[str, Any]:
        return measure(manifest, runtime, network)

    with turn(is_again=is_again):
        load = {"busy_cores": import_file("load.py").busy_cores(), "num_cores": os.cpu_count() or 1}
        with contextlib.suppress(Exception):  # once: what the runtime imports then is no network's
            opener(runtime, manifest["card"], manifest["reference"])()
        return measure_all(manifest, card, measure_one, load=load)


def read_manifest() -> dict[str, Any]:
    """Return what is to be measured, with files that are as they were exported."""
    try:
        manifest: dict[str, Any] = import_file("exported.py").read_manifest(FOLDER, FORMAT)
    except ValueError as error:
        raise WrongError(str(error)) from error
    return manifest


def pin(cores: list[int] | None) -> None:
    """Keep this process, and all threads that it will have, on some cores, which must be there."""
    if cores is None:
        return
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if not allowed.issuperset(cores):
        raise WrongError(
            f"the device is pinned to the cores {cores}, but this program may use "
            f"{sorted(allowed)}. Export it with others (pinning in params.yaml)."
        )
    os.sched_setaffinity(0, cores)


@functools.cache
def import_file(name: str) -> ModuleType:
    """Return the module of a file beside this one."""
    if not (FOLDER / name).is_file():
        raise WrongError(f"{FOLDER / name} is missing. Copy the whole folder again.")
    spec = importlib.util.spec_from_file_location(Path(name).stem, FOLDER / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def machine_card(manifest: dict[str, Any], runtime: ModuleType, cores: int) -> dict[str, Any]:
    """Say what this machine is, without its name.

    Args:
        manifest: What is to be measured.
        runtime: The module of ``runtime.py``.
        cores: Those that may be used.

    Raises:
        WrongError: If the runtime is not installed or has too few cores.
    """
    card = manifest["card"]
    version = runtime.installed_version(runtime.PACKAGE)
    if not version:
        raise not_installed(card["runtime"], runtime.HOW_TO_GET)
    if card["threads"] > cores:
        raise WrongError(
            f"the device has {card['threads']} threads, but this machine has {cores} cores for "
            "this program. Lower threads in params.yaml, or measure on another machine."
        )
    is_cpu = card["accelerator"] == "cpu"
    if not runtime.NETWORK.supports(card["accelerator"]):
        raise WrongError(
            f"{card['runtime']} cannot compute on {card['accelerator']} here: {runtime.HOW_TO_GET}"
        )
    found = {
        "runtime_version": version,
        **({"cores": cores} if is_cpu else {}),
        "hardware": runtime.processor_model() if is_cpu else runtime.gpu_model(),
        "governor": runtime.clock_governor(),
        "driver": None if is_cpu else runtime.gpu_driver(),
    }
    return {**found, "machine": machine_id()}


def not_installed(what: str, how_to_get: str) -> WrongError:
    """Return the error of something that is missing, with the command that installs it here."""
    command = import_file("installing.py").how_to_install(how_to_get)
    return WrongError(f"{what} is not installed. Install it: {command}")


def require_profiled(manifest: dict[str, Any], card: dict[str, Any]) -> None:
    """Check that this is the machine of the profile, before anything is measured on it."""
    profiled = manifest.get("profiled_on") or {}
    differing = [
        f"{key} {card.get(key)}, not {was}" for key, was in profiled.items() if card.get(key) != was
    ]
    if differing:
        raise WrongError(
            f"this must be the machine of the device's profile, but has {'; '.join(differing)}. "
            "Measure there, put it back, or profile the device again: "
            f"ofa-pipeline device profile {manifest['device']} --again"
        )


def machine_id() -> str:
    """Return ten digits that tell this machine from others, and nothing else of it."""
    path = Path("/etc/machine-id")
    text = path.read_text(encoding="utf-8") if path.is_file() else str(uuid.getnode())
    text += platform.node()
    return hashlib.sha256(f"ofa-pipeline {text}".encode()).hexdigest()[:10]


def measure_all(
    manifest: dict[str, Any],
    card: dict[str, Any],
    measure_one: Callable[[dict[str, Any]], dict[str, Any]],
    **before: Any,  # noqa: ANN401 - JSON
) -> str:
    """Measure what the notes lack, in random order, and write the result; return the last words."""
    rows = read_notes(manifest, card)
    missing = [one for one in manifest["networks"] if one["key"] not in rows]
    random.Random(manifest["id"]).shuffle(missing)
    total, started = len(manifest["networks"]), time.monotonic()
    if rows:
        say(f"{len(rows)} of {total} networks were measured before")
    for done, network in enumerate(missing):
        row = {"card": card, "task": manifest["id"], **measure_one(network)}
        rows[network["key"]] = row
        with (FOLDER / NOTES).open("a", encoding="utf-8") as file:
            file.write(json.dumps([row, digest(row)]) + "\n")
        left_s = (time.monotonic() - started) / (done + 1) * (len(missing) - done - 1)
        say(f"{total - len(missing) + done + 1} of {total}: {summary(row)}, {left_s:.0f} s left")
    result = {"format": FORMAT, "task": manifest, "card": card, **before}
    path = write_result({**result, "rows": [rows[one["key"]] for one in manifest["networks"]]})
    return f"done. Bring this file back: {path}"


@contextlib.contextmanager
def turn(*, is_again: bool) -> Iterator[None]:
    """Be the only one who measures in this folder; forget what was measured before, if asked."""
    with (FOLDER / LOCK).open("w", encoding="utf-8") as file:
        if not import_file("turn.py").is_ours(file, patience_s=PATIENCE_S):
            raise WrongError(
                "another process measures in this folder. Wait until it is done, or stop it."
            )
        if is_again:
            (FOLDER / NOTES).unlink(missing_ok=True)
        yield


def read_notes(manifest: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured before, by network; a line that a kill tore is left out.

    A network that could not be run is left out, too: it is tried again.

    Raises:
        WrongError: If it was measured on another machine.
    """
    rows: dict[str, Any] = {}
    path = FOLDER / NOTES
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = text.splitlines(keepends=True)
    for line in lines:
        try:
            row, stated = json.loads(line)
            if digest(row) != stated or row["task"] != manifest["id"]:
                continue
        except (ValueError, TypeError, KeyError):  # torn, or no line of this script
            continue
        if row["card"] != card:
            differences = [key for key in card if row["card"].get(key) != card[key]]
            raise WrongError(
                f"{path} holds measurements of another machine, or of this one before it was "
                f"changed ({', '.join(differences)}). Go on there, or begin anew: "
                "python measure.py --again"
            )
        rows[row["key"]] = row
    for key in [key for key, row in rows.items() if "error" in row]:
        say(f"{key} is tried again: {rows.pop(key)['error'][:200]}")
    if lines and not lines[-1].endswith("\n"):
        with path.open("a", encoding="utf-8") as file:
            file.write("\n")
    return rows


def measure(
    manifest: dict[str, Any], runtime: ModuleType, network: dict[str, Any]
) -> dict[str, Any]:
    """Return the times of all calls of a network and of the reference, by session."""
    row: dict[str, Any] = {"key": network["key"], "sha256": network["sha256"]}
    sessions: list[dict[str, Any]] = []
    begin_ns = time.perf_counter_ns()
    open_network = opener(runtime, manifest["card"], network)  # a file that is gone is no refusal
    try:
        with import_file("undisturbed.py").Quiet(manifest["card"]["threads"]):
            _, alone = import_file("fresh_load.py").load_afresh(open_network, lambda call: call())
            row["alone"] = alone._asdict()
            while len(sessions) < MIN_SESSIONS or (
                len(sessions) < MAX_SESSIONS and spread(sessions) > MAX_SPREAD
            ):
                sessions.append(session(manifest, runtime, network))
    except WrongError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the runtime says is the result
        return {**row, "error": f"{type(error).__name__}: {error}"[:2000]}
    return {**row, "sessions": sessions, "seconds": (time.perf_counter_ns() - begin_ns) / 1e9}


def session(
    manifest: dict[str, Any], runtime: ModuleType, network: dict[str, Any]
) -> dict[str, Any]:
    """Load a network and the reference afresh; call them in turn, the reference first and last."""
    settings, card = manifest["measurement"], manifest["card"]
    warm_up = import_file("warm_up.py").warm_up
    open_network = opener(runtime, card, network)
    begin_ns = time.perf_counter_ns()
    call = open_network()
    loaded_ns = time.perf_counter_ns()
    call()
    first_ns = time.perf_counter_ns()
    call_reference = opener(runtime, card, manifest["reference"])()
    counts_cpu = card["threads"] == 1 and card["accelerator"] == "cpu"
    warm = [warm_up(each, calls=settings["warmup_runs"]) for each in (call_reference, call)]
    calls_of_reference, calls = (
        int(min(max(VISIT_MS / max(one.fastest_ms, 1e-6), 1), MAX_CALLS)) for one in warm
    )
    of_reference = [visit(call_reference, calls_of_reference, counts_cpu)]
    of_network = []
    for _ in range(max(settings["timed_runs"] // MIN_SESSIONS, 1)):
        of_network.append(visit(call, calls, counts_cpu))
        of_reference.append(visit(call_reference, calls_of_reference, counts_cpu))
    return {
        "network": of_network,
        "reference": of_reference,
        "load_ns": loaded_ns - begin_ns,
        "first_call_ns": first_ns - loaded_ns,
        "is_warm": all(one.is_warm for one in warm),
    }


def opener(
    runtime: ModuleType, card: dict[str, Any], network: dict[str, Any]
) -> Callable[[], Callable[[], None]]:
    """Return what opens a network afresh and returns a call of it on fixed noise."""
    content = (FOLDER / network["file"]).read_bytes()
    images = runtime.noise_images(card["batch_size"], network["resolution_px"])
    given = {key: card[key] for key in ("accelerator", "threads", "options") if key in card}
    opened = functools.partial(runtime.NETWORK, content, import_code=import_file, **given)
    return lambda: opened().prepared_call(images)


def visit(call: Callable[[], None], calls: int, counts_cpu: bool) -> dict[str, Any]:
    """Call a network once to fill the caches, then with the clock."""
    call()
    cpu_s = time.thread_time()
    stamps = [time.perf_counter_ns()]
    for _ in range(calls):
        call()
        stamps.append(time.perf_counter_ns())
    cpu_ns = round(1e9 * (time.thread_time() - cpu_s) / calls)
    times_ns = [stamps[index + 1] - stamps[index] for index in range(calls)]
    return {"ns": times_ns, "cpu_ns": cpu_ns if counts_cpu else None}


def spread(sessions: list[dict[str, Any]]) -> float:
    """Return how far apart the quarters of the ratios to the reference are, relative."""
    ratios: list[float] = sorted(
        statistics.median(one["ns"]) / statistics.median(each["reference"][index]["ns"])
        for each in sessions
        for index, one in enumerate(each["network"])
    )
    quarter = len(ratios) // 4
    return (ratios[-1 - quarter] - ratios[quarter]) / ratios[len(ratios) // 2]


def summary(row: dict[str, Any]) -> str:
    """Say what a network took, for people."""
    if "error" in row:
        return f"{row['key']} cannot be run: {row['error'][:200]}"
    ms = sorted(min(v["ns"]) / 1e6 for s in row["sessions"] for v in s["network"])
    reference = sorted(min(v["ns"]) for s in row["sessions"] for v in s["reference"])
    busy = reference[len(reference) // 2] > BUSY * reference[0]
    return f"{ms[len(ms) // 2]:.4g} ms{', the machine is busy' if busy else ''}"


def write_result(result: dict[str, Any]) -> Path:
    """Write the result whole or not at all, with a digest of itself."""
    manifest = result["task"]
    path = FOLDER / f"result-{manifest['device']}-{manifest['id'][:8]}.json"
    writing = path.with_suffix(".writing")
    writing.write_text(json.dumps({**result, "digest": digest(result)}), encoding="utf-8")
    writing.replace(path)
    return path


def digest(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def say(text: str) -> None:
    """Print a line at once, also where nobody sits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
