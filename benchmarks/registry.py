"""Speed of a registry: registrations, look-ups, aliases, and questions over HTTP.

Prints one JSON object an operation: {"backend", "subnets", "operation", "median_s", "p95_s"}.
Registrations are of "batch" subnets at a time, which share a run of the registry; "cpu_s" is the
median of the CPU seconds of a subnet, which other work on the machine changes less.

    python benchmarks/registry.py --backend sqlite --subnets 1000 10000 [--full] [--requests 2000]
        [--devices 1]

Without --full, one subnet is registered whole and its rows are copied: records and runs, no files.
With --devices 100 the subnets are of so many devices, each with a registered model of its own; one
of them is asked for.
--backend postgres starts Debian's PostgreSQL, server an MLflow server on a SQLite file; both end
with the measurement. It also takes the address of a database, such as
postgresql://USER:PASSWORD@HOST/NAME, which must be empty.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from registry_rows import copy_rows

from ofa_pipeline.registry import Entry, MlflowRegistry, Question, RunNotes
from ofa_pipeline.registry.database import ensure_database
from tests.support.mlflow_server import mlflow_server
from tests.support.postgres import postgres
from tests.support.registry import digest_of, subnet_record, write_bundle

DEVICE = "cpu"
MODEL = "ofa-tiny-cpu"
BUNDLE_BYTES = 6 * 10**6
BATCH = 50
NUM_QUESTIONS = 300
NUM_ALONE = 10
"""Registrations of one subnet."""


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--backend", default="sqlite", help="sqlite, postgres, server or an address"
    )
    parser.add_argument("--subnets", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--full", action="store_true", help="register every subnet with its files")
    parser.add_argument("--devices", type=int, default=1, help="that share the subnets")
    parser.add_argument("--requests", type=int, default=2000, help="over HTTP; 0: none")
    options = parser.parse_args()
    for num_subnets in options.subnets:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name), num_subnets, options)


def measure(folder: Path, num_subnets: int, options: argparse.Namespace) -> None:
    """Fill a registry and measure it."""
    with ExitStack() as stack:
        uri, database = backend(options.backend, folder, stack)
        measure_backend(uri, database, folder, num_subnets, options)


def backend(name: str, folder: Path, stack: ExitStack) -> tuple[str, str]:
    """Start what is named; return the address of the registry, and that of its database."""
    if name == "postgres":
        address = stack.enter_context(postgres()) + "mlflow"
        return address, address
    if name == "server":
        port = stack.enter_context(mlflow_server(folder / "server"))
        return f"http://127.0.0.1:{port}", f"sqlite:///{folder / 'server' / 'mlflow.db'}"
    if name == "sqlite":
        ensure_database(folder / "mlflow.db")
        name = f"sqlite:///{folder / 'mlflow.db'}"
    return name, name


def measure_backend(
    uri: str, database: str, folder: Path, num_subnets: int, options: argparse.Namespace
) -> None:
    """Fill a registry and measure it."""
    names = {"postgres": "postgresql"}
    show = partial(
        print_line,
        names.get(options.backend, options.backend.partition(":")[0]),
        num_subnets,
        devices=options.devices,
    )
    artifacts = None if uri.startswith("http") else (folder / "mlruns").as_uri()
    registry = MlflowRegistry(uri, artifacts=artifacts)
    bundle = write_bundle(folder / "bundle")
    (bundle / "weights.safetensors").write_bytes(random.Random(0).randbytes(BUNDLE_BYTES))

    def register(numbers: range, *, batch: int) -> None:
        seconds, cpu_seconds = registered(registry, bundle, numbers, batch=batch)
        cpu_s = float(f"{statistics.median(cpu_seconds):.3g}")
        show("register", seconds, batch=batch, cpu_s=cpu_s, files=True)

    if options.full:
        register(range(num_subnets), batch=BATCH)
    else:
        for device in (DEVICE, *(f"{DEVICE}-{number}" for number in range(1, options.devices))):
            fill(registry, database, bundle, device, range(num_subnets // options.devices))
        register(range(num_subnets, num_subnets + BATCH), batch=BATCH)
    start = num_subnets + BATCH
    register(range(start, start + NUM_ALONE), batch=1)
    measure_first(
        show, partial(MlflowRegistry, uri, artifacts=artifacts), bundle, start + NUM_ALONE
    )
    show("best", timed(lambda number: best(registry, number)))
    show("front", timed(lambda _: registry.front(device=DEVICE)))
    show("explain", timed(lambda number: registry.explain(question(number))))
    measure_changes(show, registry, bundle, folder / "copies")
    if options.requests:
        with writing(registry, bundle, start=2 * num_subnets + BATCH + NUM_ALONE):
            seconds, rate, num_faults = asyncio.run(ask_over_http(uri, options.requests))
        show("http_best", seconds, requests_per_s=round(rate), faults=num_faults)


def fill(
    registry: MlflowRegistry, database: str, bundle: Path, device: str, numbers: range
) -> None:
    """Register a subnet of a device whole, and the others as copies of its rows."""
    first, *others = numbers
    model_name = registry.register(
        record(first, digest_of(bundle), device=device), bundle
    ).record.model_name
    copy_rows(database, model_name, (record(number, device=device) for number in others))


def measure_first(
    show: Callable[..., None], opened: Callable[[], MlflowRegistry], bundle: Path, start: int
) -> None:
    """Measure what a process does first, as every command does."""
    show("first_answer", timed(lambda _: best(opened(), 0), repeats=3))
    version = f"models:/{MODEL}/1"
    show("first_version", timed(lambda _: opened().version(version), repeats=3))
    show(
        "first_register",
        timed(lambda number: opened().register(record(start + number), bundle), repeats=3),
    )


def measure_changes(
    show: Callable[..., None], registry: MlflowRegistry, bundle: Path, folder: Path
) -> None:
    """Measure what a run asks before it begins, and what is done to registered versions."""
    show("check", timed(lambda _: registry.check([MODEL]), repeats=20))
    show("aliases", timed(lambda _: registry.move_aliases(MODEL), repeats=20))
    two = registry.list_subnets(device=DEVICE)[:2]
    show("alias_move", timed(lambda n: registry.set_alias(two[n % 2], "benchmark"), repeats=20))
    show("mark", timed(lambda n: registry.set_mark(two[n % 2], "benchmark", "seen"), repeats=20))
    whole = registry.find(model_name=MODEL, bundle_digest=digest_of(bundle))
    if whole is not None:
        show("download", timed(lambda n: registry.download(whole, folder / str(n)), repeats=20))


def print_line(
    backend: str, num_subnets: int, operation: str, seconds: list[float], **more: object
) -> None:
    """Print what an operation took."""
    ordered = sorted(seconds)
    line: dict[str, object] = {
        "backend": backend,
        "subnets": num_subnets,
        "operation": operation,
        "median_s": float(f"{statistics.median(ordered):.3g}"),
        "p95_s": float(f"{ordered[int(0.95 * (len(ordered) - 1))]:.3g}"),
    }
    print(json.dumps(line | more), flush=True)


def record(number: int, digest: str = "", *, device: str = DEVICE) -> Any:  # noqa: ANN401 - a record of the tests
    """Return the record of a subnet, the same for the same number; its architecture is its own."""
    draw = random.Random(number)
    return subnet_record(
        arch=replace(subnet_record().arch, resolution_px=8 * (number + 1)),
        accuracy=draw.uniform(0.5, 0.95),
        latency_ms=draw.uniform(0.05, 5),
        budgets_ms=(1.0,),
        device=device,
        bundle_digest=digest or f"{number:064x}",
    )


def registered(
    registry: MlflowRegistry, bundle: Path, numbers: range, *, batch: int
) -> tuple[list[float], list[float]]:
    """Register subnets with the files of one bundle; return seconds and CPU seconds of each."""
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    for start in range(numbers.start, numbers.stop, batch):
        part = range(start, min(start + batch, numbers.stop))
        entries = [Entry(record=record(number), bundle_folder=bundle) for number in part]
        begun, cpu_begun = time.perf_counter(), time.process_time()
        registry.register_all(entries, notes=RunNotes(name="benchmark"))
        seconds += [(time.perf_counter() - begun) / len(part)] * len(part)
        cpu_seconds += [(time.process_time() - cpu_begun) / len(part)] * len(part)
    return seconds, cpu_seconds


def question(number: int) -> Question:
    """Return a question with bounds of its own."""
    return Question(device=DEVICE, max_latency_ms=0.2 + 4 * random.Random(number).random())


def best(registry: MlflowRegistry, number: int) -> object:
    """Ask for a subnet."""
    return registry.answer(question(number))


def timed(work: Callable[[int], object], *, repeats: int = NUM_QUESTIONS) -> list[float]:
    """Return the seconds of each call."""
    seconds = []
    for number in range(repeats):
        begun = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - begun)
    return seconds


@contextmanager
def writing(registry: MlflowRegistry, bundle: Path, *, start: int) -> Iterator[None]:
    """Register one subnet after the other for the body."""
    ended = threading.Event()

    def write() -> None:
        number = start
        while not ended.is_set():
            registry.register(record(number), bundle)
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def ask_over_http(uri: str, num_requests: int) -> tuple[list[float], float, int]:
    """Serve in a process of its own and ask one question after the other over one connection.

    Returns:
        Seconds of each request, requests a second, and answers with a status of 500 and more.
    """
    server = await asyncio.create_subprocess_exec(
        *("taskset", "-c", "0", "ofa-pipeline", "serve-registry", "--port", "8399"),
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        reader, writer = await connected(8399)
        seconds, num_faults = [], 0
        begun = time.perf_counter()
        for number in range(num_requests):
            limit_ms = 0.2 + (number % 400) / 100
            at = time.perf_counter()
            writer.write(
                f"GET /v1/best?device={DEVICE}&max_latency_ms={limit_ms} HTTP/1.1\r\n"
                "Host: localhost\r\n\r\n".encode()
            )
            num_faults += await status_of(reader) >= 500
            seconds.append(time.perf_counter() - at)
        rate = num_requests / (time.perf_counter() - begun)
        writer.close()
        return seconds, rate, num_faults
    finally:
        server.terminate()
        await server.wait()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection, once the service listens."""
    for _ in range(600):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.2)
    raise SystemExit("the service does not listen")


async def status_of(reader: asyncio.StreamReader) -> int:
    """Read a response; return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        int(line.partition(":")[2])
        for line in head.splitlines()
        if line.lower().startswith("content-length:")
    )
    await reader.readexactly(length)
    return int(head.split()[1])


if __name__ == "__main__":
    main()
