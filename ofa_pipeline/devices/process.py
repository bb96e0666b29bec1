"""A device of this machine in a process of its own: what a runtime sets there reaches nobody else.

Threads that a library keeps, how many it computes with and what it does when it is imported are of
a whole process. Where networks are trained and evaluated they are others than a device's card says,
and two runtimes in one process share them.
"""

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterable
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa_pipeline.devices.child import Request, Start
from ofa_pipeline.devices.device import Device, FilesOf
from ofa_pipeline.devices.machine import DeviceSettings, build_runtime
from ofa_pipeline.devices.meter import ReferenceNetwork
from ofa_pipeline.devices.runtime import Images, PreparedNetwork, Runtime
from ofa_pipeline.documents import DeviceCard, LatencyMeasurement
from ofa_pipeline.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ofa_pipeline.arch import Arch

_CHILD = ("-P", "-m", "ofa_pipeline.devices.serving")
_GRACE_S = 10.0
"""How long a process may take to end once nobody asks it anything."""


class ProcessDevice:
    """A runtime on this machine, in a process that only it computes in.

    Networks are converted here; files are loaded, timed and called there. The process starts with
    this object, because importing a runtime takes seconds that others can use meanwhile, and ends
    with it or with whoever holds it.
    """

    def __init__(
        self,
        runtime: Runtime,
        reference: ReferenceNetwork,
        *,
        warmup_runs: int = 5,
        timed_runs: int = 60,
    ) -> None:
        """Prepare the reference network; see `LatencyMeter`."""
        child = _Child(runtime.card)
        prepared = runtime.prepare(reference.network, resolution_px=reference.resolution_px)
        self._runtime = runtime
        self._start = Start(
            reference=prepared,
            reference_ms=reference.latency_ms,
            warmup_runs=warmup_runs,
            timed_runs=timed_runs,
        )
        self._child: _Child | None = child

    @property
    def card(self) -> DeviceCard:
        """What it is: runtime, hardware, settings."""
        return self._runtime.card

    @property
    def runtime(self) -> Runtime:
        """What writes the files that it runs."""
        return self._runtime

    def expect(
        self,
        archs: "Sequence[Arch]",
        *,
        files: FilesOf | None = None,
        are_candidates: bool = False,
    ) -> None:
        """Do nothing: what is here is measured when it is asked for."""

    def measure(self, network: "nn.Module | Path", *, resolution_px: int) -> LatencyMeasurement:
        """Measure a network, or the file of one, between calls of the reference network.

        Raises:
            DeviceError: If the runtime cannot run it, or its process died of it.
        """
        prepared = self._runtime.prepare(network, resolution_px=resolution_px)
        measured = self._ask("measure", prepared, doing=f"measuring {prepared.name}")
        assert isinstance(measured, LatencyMeasurement)
        return measured

    def predict(self, file: Path, images: Iterable[Images], *, resolution_px: int) -> Images:
        """Return the logits of all images, computed with the threads of the card.

        Raises:
            DeviceError: If the file is missing, the runtime cannot run it, or its process died.
        """
        prepared = self._runtime.prepare(file, resolution_px=resolution_px)
        doing = f"running {prepared.name}"
        self._ask("load", prepared, doing=doing)
        return np.concatenate([self._ask("predict", batch, doing=doing) for batch in images])

    def _ask(self, name: Request, argument: PreparedNetwork | Images, *, doing: str) -> Any:  # noqa: ANN401 - the answer
        """Return what the process answers; start it if it does not run.

        Raises:
            DeviceError: What it answered with, or that it died; the next request starts another.
        """
        child, self._child = self._child or _Child(self.card), None
        try:
            answer = child.ask(name, argument, start=self._start)
        except (EOFError, ConnectionError) as error:
            end, card = child.end(), self.card
            raise DeviceError(
                f"the process of the runtime {card.runtime} died ({end}) while {doing}. What it "
                "said stands above. If nobody ended it, the runtime cannot run this network or "
                "memory ran out: free some, or give the device another runtime."
            ) from error
        except BaseException:  # such as Ctrl-C: what it still answers is of nobody's request
            child.end(at_once=True)
            raise
        self._child = child
        if isinstance(answer, DeviceError):
            raise answer
        return answer


def open_device(
    settings: DeviceSettings,
    reference: ReferenceNetwork,
    *,
    warmup_runs: int = 5,
    timed_runs: int = 60,
) -> Device:
    """Return the device that params.yaml describes.

    Args:
        settings: The runtime and its settings.
        reference: The network that all others are compared with on the device.
        warmup_runs: Calls after loading that do not count.
        timed_runs: Visits to a network, at least.

    Raises:
        DeviceError: If the machine cannot serve the settings; the message says what to do.
    """
    return ProcessDevice(
        build_runtime(settings), reference, warmup_runs=warmup_runs, timed_runs=timed_runs
    )


class _Child:
    """The process, and the connection to it."""

    def __init__(self, card: DeviceCard) -> None:
        self._connection, theirs = Pipe()
        watched, lifeline = os.pipe()  # closed once the process has ended, or with this one
        with theirs, os.fdopen(watched):
            self._process = subprocess.Popen(
                [sys.executable, *_CHILD, str(theirs.fileno()), str(watched)],
                pass_fds=[theirs.fileno(), watched],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": str(card.threads)},
            )
        # Also at the end of this program; whatever kills it closes both pipes, too.
        self._end = weakref.finalize(self, _end, self._connection, self._process, lifeline)
        self._connection.send(card)
        self._has_started = False

    def ask(self, name: Request, argument: PreparedNetwork | Images, *, start: Start) -> Any:  # noqa: ANN401 - the answer
        """Return the answer to a request: a result, or a `DeviceError`."""
        if not self._has_started:
            self._connection.send(start)
            self._has_started = True
        self._connection.send((name, argument))
        return self._connection.recv()

    def end(self, *, at_once: bool = False) -> str:
        """End the process, in the middle of a request where it need not answer; say how."""
        if at_once:
            self._process.kill()
        self._end()
        code = self._process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _end(connection: Connection, process: subprocess.Popen[bytes], lifeline: int) -> None:
    connection.close()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    os.close(lifeline)
