"""What the process of a device does: it answers requests until nobody can send any more."""

import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from ofa_pipeline.devices.meter import LatencyMeter, ReferenceNetwork
from ofa_pipeline.devices.runtime import Images, LoadedNetwork, PreparedNetwork, Runtime
from ofa_pipeline.devices.runtimes import find_runtime
from ofa_pipeline.documents import DeviceCard, LatencyMeasurement
from ofa_pipeline.errors import DeviceError

Request = Literal["measure", "load", "predict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a device measures with: the network that all are compared with on it, and how often."""

    reference: PreparedNetwork
    reference_ms: float | None
    """See `ReferenceNetwork`."""
    warmup_runs: int
    timed_runs: int


def serve(connection: Connection) -> None:
    """Answer the requests that arrive; return when the other end is closed.

    Args:
        connection: The card of the device comes first: its runtime is imported while who asks
            has other things to do. A `Start` follows, then pairs of a request and what it is
            about. Each is answered with a result or a `DeviceError`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks
    try:
        card: DeviceCard = connection.recv()
        runtime = find_runtime(card.runtime)(card)
        runtime.import_code()
        served = _Served(runtime, connection.recv())
        while True:
            name, argument = connection.recv()
            connection.send(_answer(served, name, argument))
    except (EOFError, ConnectionError):  # nobody is there any more
        return


def _answer(served: "_Served", name: Request, argument: Any) -> object:  # noqa: ANN401 - a request's
    try:
        match name:
            case "measure":
                return served.measure(argument)
            case "load":
                served.load(argument)
                return None
            case "predict":
                return served.predict(argument)
    except DeviceError as error:
        return error
    except MemoryError as error:
        return DeviceError(
            f"memory ran out: {str(error) or 'no more of it'}. Lower batch_size of the device, or "
            "free some memory"
        )


class _Served:
    """A device in this process."""

    def __init__(self, runtime: Runtime, start: Start) -> None:
        self._runtime = runtime
        self._meter = LatencyMeter(
            self._runtime,
            ReferenceNetwork(
                network=start.reference,
                resolution_px=start.reference.resolution_px,
                latency_ms=start.reference_ms,
            ),
            warmup_runs=start.warmup_runs,
            timed_runs=start.timed_runs,
        )
        self._loaded: LoadedNetwork | None = None

    def measure(self, prepared: PreparedNetwork) -> LatencyMeasurement:
        self._loaded = None
        return self._meter.measure(prepared, resolution_px=prepared.resolution_px)

    def load(self, prepared: PreparedNetwork) -> None:
        with self._runtime.threads_claimed():
            self._loaded = self._runtime.load(prepared)

    def predict(self, images: Images) -> Images:
        assert self._loaded is not None
        with self._runtime.threads_claimed():
            return self._loaded.predict(images)
