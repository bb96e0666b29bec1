"""Measures the networks of this folder on a phone, by LiteRT's own tool: ``python phone.py``.

It runs on the machine that the phone is connected to, and needs Python 3.9 or newer and ``adb``
there; the phone needs nothing. The tool is ``benchmark_model`` for the phone's processor, which
LiteRT publishes. Each of its runs prints how long the fastest, the mean and the slowest call took:
the three stand in the result for its calls, so a median is that of means, and a 95th percentile
that of the slowest.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
there: Any = importlib.import_module("measure")
"""What is measured, resumed and written is the same as where the runtime is Python's."""

SESSIONS, VISITS = 2, 6
"""Each visit is a fresh start of the tool; a measurement takes 26 of them."""
PROPERTIES = ("ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.serialno")
NUMBER = r"([0-9.]+(?:e[+-]?[0-9]+)?)"
START = re.compile(f"Inference timings in us: Init: {NUMBER}, First inference: {NUMBER}")
CALLS = re.compile(f"count=[0-9]+ (?:curr={NUMBER}|.*min={NUMBER} max={NUMBER} avg={NUMBER})")
"""Of the warm-up, then of what counts; where all calls took the same, the last of them."""


class RefusedError(Exception):
    """The tool cannot run a network; the message is what it says."""


class Phone:
    """A phone that adb reaches, with the tool and one network at a time on it."""

    def __init__(self, options: argparse.Namespace, manifest: dict[str, Any]) -> None:
        """Do nothing yet."""
        serial = ["-s", options.serial] if options.serial else []
        self._adb = [options.adb, *serial]
        self._tool = Path(options.tool)
        self._folder = f"{options.folder.rstrip('/')}/ofa-pipeline-{manifest['id'][:8]}"
        self._manifest = manifest
        self._card = manifest["card"]

    def check(self) -> None:
        """Look whether it can be measured, before anything is brought there.

        Raises:
            WrongError: If there is no such phone or tool, or it cannot be what the card says.
        """
        if self._card["batch_size"] != 1:
            raise there.WrongError(
                "benchmark_model measures one image at a time, but the device has batch_size "
                f"{self._card['batch_size']}. Export it with 1, or measure with measure.py."
            )
        if not self._tool.is_file():
            raise there.WrongError(
                f"{self._tool} is missing: benchmark_model for the processor of the phone, as "
                "LiteRT publishes it. Name it: --tool PATH"
            )
        self._require()
        _, said, _ = self._shell("nproc")
        cores = int(said) if said.strip().isdigit() else None
        if cores is not None and self._card["threads"] > cores:
            raise there.WrongError(
                f"the device has {self._card['threads']} threads, but the phone has {cores} cores. "
                "Export it with fewer."
            )
        pinning = self._card.get("pinning") or [0]
        if cores is not None and max(pinning) >= cores:
            raise there.WrongError(
                f"the device is pinned to the cores {pinning}, but the phone has 0 to {cores - 1}. "
                "Export it with others (pinning in params.yaml)."
            )

    def prepare(self) -> dict[str, Any]:
        """Bring the tool and the reference network there; return what the phone is.

        Raises:
            WrongError: If the phone is lost meanwhile, or does not say what it is.
        """
        self._must(self._shell(f"mkdir -p {shlex.quote(self._folder)}"))
        tool = self._push(self._tool, "benchmark_model")
        self._must(self._shell(f"chmod 755 {shlex.quote(tool)}"))
        self._push(FOLDER / self._manifest["reference"]["file"], "reference.tflite")
        return self.card()

    def card(self) -> dict[str, Any]:
        """Say what the phone is, without its number."""
        _, said, _ = self._shell("; ".join(f"echo $(getprop {name})" for name in PROPERTIES))
        maker, model, chip, serial = [*map(str.strip, said.splitlines()), "", "", "", ""][:4]
        if not model:
            raise there.WrongError(
                f"the phone must say what it is: getprop {PROPERTIES[1]} there says nothing."
            )
        if not serial:  # not every phone lets adb read it
            serial = self._call("get-serialno")[1].strip()
        core = (self._card.get("pinning") or [0])[0]
        path = f"/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor"
        failed, governor, _ = self._shell(f"cat {path}")
        tool = hashlib.sha256(self._tool.read_bytes()).hexdigest()
        machine = hashlib.sha256(f"ofa-pipeline {serial}".encode()).hexdigest()
        return {
            "runtime_version": f"benchmark_model {tool[:12]}",
            "hardware": f"{maker} {model} {chip}".strip(),
            "governor": None if failed else governor.strip() or None,
            "driver": None,
            "machine": machine[:10],
        }

    def measure(self, network: dict[str, Any]) -> dict[str, Any]:
        """Return what the tool says of a network and of the reference, in turn."""
        row: dict[str, Any] = {"key": network["key"], "sha256": network["sha256"]}
        started = time.monotonic()
        path = self._push(FOLDER / network["file"], "network.tflite")
        try:
            start, _ = self._run(path)
            sessions = [self._session(path) for _ in range(SESSIONS)]
        except RefusedError as error:
            return {**row, "error": str(error)[:2000]}
        alone = {**start, "resident_bytes": None, "peak_bytes": None}
        seconds = time.monotonic() - started
        return {**row, "alone": alone, "sessions": sessions, "seconds": seconds}

    def forget(self) -> None:
        """Remove what was brought there."""
        self._shell(f"rm -rf {shlex.quote(self._folder)}")

    def _session(self, path: str) -> dict[str, Any]:
        reference = f"{self._folder}/reference.tflite"
        of_reference = [self._run(reference)[1]]
        of_network, starts = [], []
        for _ in range(VISITS):
            start, visit = self._run(path)
            starts.append(start)
            of_network.append(visit)
            of_reference.append(self._run(reference)[1])
        return {"network": of_network, "reference": of_reference, "is_warm": None, **starts[0]}

    def _run(self, path: str) -> tuple[dict[str, int], dict[str, Any]]:
        """Start the tool with a network; return what the start took, and the calls."""
        settings, card = self._manifest["measurement"], self._card
        resolver = (card.get("options") or {}).get("op_resolver_type", "AUTO")
        words = [
            f"{self._folder}/benchmark_model",
            f"--graph={path}",
            f"--num_threads={card['threads']}",
            f"--use_xnnpack={'true' if resolver == 'AUTO' else 'false'}",
            f"--warmup_runs={max(settings['warmup_runs'], 1)}",
            "--warmup_min_secs=0",
            f"--num_runs={max(settings['timed_runs'] // 2, 5)}",
            "--min_secs=0",
        ]
        if card.get("pinning"):
            mask = sum(1 << core for core in card["pinning"])
            words = ["taskset", f"{mask:x}", *words]
        failed, said, complaint = self._shell(" ".join(map(shlex.quote, words)))
        text = f"{said}\n{complaint}"
        if failed:
            self._require()  # or it is the connection that failed
            last = [line for line in text.splitlines() if line.strip()][-3:]
            raise RefusedError(f"benchmark_model ended with {failed}: {' '.join(last)}")
        return parsed(text)

    def _push(self, path: Path, name: str) -> str:
        target = f"{self._folder}/{name}"
        self._must(self._call("push", str(path), target))
        return target

    def _shell(self, command: str) -> tuple[int, str, str]:
        return self._call("shell", command)

    def _call(self, *words: str) -> tuple[int, str, str]:
        """Return exit status, output and complaints of adb, or of what it runs."""
        try:
            done = subprocess.run(
                [*self._adb, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise there.WrongError(
                f"{self._adb[0]} cannot be run: {error.strerror}. Install Android's platform tools "
                "(Debian: apt-get install adb), or name it: --adb PATH"
            ) from error
        return done.returncode, done.stdout, done.stderr

    def _require(self) -> None:
        """Require that the phone is connected."""
        failed, state, complaint = self._call("get-state")
        if failed or state.strip() != "device":
            raise there.WrongError(
                f"adb must reach one phone, but says: {(complaint or state).strip()}. Connect it, "
                "allow USB debugging on it, and where there are several name one: --serial, as "
                "adb devices lists them. What was measured is kept: run the same command again."
            )

    def _must(self, answer: tuple[int, str, str]) -> None:
        failed, said, complaint = answer
        if failed:
            self._require()
            raise there.WrongError(f"adb: {(complaint or said).strip()}")


def parsed(text: str) -> tuple[dict[str, int], dict[str, Any]]:
    """Return what starting took, and the fastest, mean and slowest call, from what the tool prints.

    Raises:
        WrongError: If it prints something else.
    """
    start, calls = START.search(text), CALLS.findall(text)
    if not start or not calls:
        last = " ".join(text.split())[-300:]
        raise there.WrongError(
            "benchmark_model must print 'Inference timings in us' and, before it, count, min, max "
            f"and avg of its runs; it printed: {last}. Take the tool of another release."
        )
    alike, fastest, slowest, mean = calls[-1]
    init, first = (round(1000 * float(value)) for value in start.groups())
    ns = [round(1000 * float(value or alike)) for value in (fastest, mean, slowest)]
    return {"load_ns": max(init, 1), "first_call_ns": first}, {"ns": ns, "cpu_ns": None}


def measured_there(options: argparse.Namespace) -> str:
    """Measure on the phone; return the last words."""
    manifest = there.read_manifest()
    phone = Phone(options, manifest)
    with there.turn(is_again=options.again):
        phone.check()
        try:
            card = phone.prepare()
            there.require_profiled(manifest, card)
            words: str = there.measure_all(manifest, card, phone.measure)
        finally:
            phone.forget()
    return words


def main() -> int:
    """Measure what is missing and write the result; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the networks of this folder on a phone.")
    parser.add_argument("--tool", default="benchmark_model", help="benchmark_model for the phone")
    parser.add_argument("--adb", default="adb", help="Android's debug bridge")
    parser.add_argument("--serial", help="of the phone, where several are connected")
    parser.add_argument("--folder", default="/data/local/tmp", help="on the phone")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    options = parser.parse_args()
    code: int = there.ended(lambda: measured_there(options))
    return code


if __name__ == "__main__":
    sys.exit(main())
