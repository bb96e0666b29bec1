"""A registry of many subnets of many devices: look-ups, pages, memory of the service.

Prints one JSON object an operation: {"backend", "subnets", "devices", "operation", "median_s",
"p95_s"}, and one with the memory of the service.

    python benchmarks/registry_scale.py [--subnets 100000] [--devices 100] [--backend ADDRESS]

One subnet is registered whole in a SQLite file; statements of SQL copy its rows with other figures
and digests: records without files. With the address of another database, such as
postgresql://USER:PASSWORD@HOST/NAME, which must be empty, the rows are sent there.
"""

import argparse
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import psutil
from sqlalchemy import MetaData, Table, create_engine, select, text

from ofa_pipeline.registry import MlflowRegistry, Question, SubnetRecord
from ofa_pipeline.registry.database import ensure_database
from tests.support.registry import digest_of, subnet_record, write_bundle

PORT = 8397
PAGE = 100
MEGABYTE = 10**6
ACCURACY, DEVICE = 0.811111, "DEVICE"
"""What the copies have in their places."""
LINEAGE = {
    f"artifacts/{name}": f"{number:064x}"
    for number, name in enumerate(
        ("accuracy", "dataset", "latency/D", "predictor", "search/D", "supernet/a", "supernet/b")
    )
}
_NUMBERS = """
CREATE TEMP TABLE n AS
WITH RECURSIVE k(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < {subnets})
SELECT i, printf('device-%03d', i % {devices}) AS device, printf('m-%032x', i) AS model,
    0.5 + ((i * 7919) % 45000) / 100000.0 AS accuracy,
    0.05 + ((i * 104729) % 49500) / 10000.0 AS latency
FROM k
"""
_TAG = """
CASE x.tag_key
    WHEN 'ofa.version' THEN CAST(1 + n.i / {devices} AS TEXT)
    WHEN 'ofa.model_name' THEN 'ofa-tiny-' || n.device
    WHEN 'ofa.device' THEN n.device
    WHEN 'ofa.bundle_digest' THEN printf('%064x', n.i)
    WHEN 'ofa.record' THEN replace(replace(replace(replace(x.tag_value,
        '{accuracy}', CAST(n.accuracy AS TEXT)), '{device}', n.device),
        '"p50_ms": 1.0', '"p50_ms": ' || n.latency), '{digest}', printf('%064x', n.i))
    ELSE x.tag_value
END
"""

COPIES = {
    "registered_models": "name LIKE 'ofa-tiny-device-%'",
    "model_versions": "name LIKE 'ofa-tiny-device-%'",
    "logged_models": "model_id LIKE 'm-0000%'",
    "logged_model_tags": "model_id LIKE 'm-0000%'",
}
"""Which rows of each table are copies; in the order in which they depend on each other."""
CHUNK = 5000

Show = Callable[[str, list[float]], None]


def main() -> None:
    """Fill a registry and measure it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subnets", type=int, default=100_000)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--backend", default="sqlite", help="sqlite, or the address of a database")
    options = parser.parse_args()
    head = {
        "backend": options.backend.partition(":")[0],
        "subnets": options.subnets,
        "devices": options.devices,
    }

    def show(operation: str, seconds: list[float]) -> None:
        ordered = sorted(seconds)
        median_s, p95_s = statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]
        times = {"median_s": float(f"{median_s:.3g}"), "p95_s": float(f"{p95_s:.3g}")}
        print(json.dumps({**head, "operation": operation, **times}), flush=True)

    with tempfile.TemporaryDirectory() as name:
        uri = f"sqlite:///{Path(name) / 'mlflow.db'}"
        fill(Path(name), options.subnets, options.devices)
        if options.backend != "sqlite":
            send(Path(name), options.backend)
            uri = options.backend
        ask(MlflowRegistry(uri), options.devices, show)
        megabytes = ask_service(uri, options.subnets, options.devices, show)
    print(json.dumps({**head, "operation": "service_memory", "megabytes": megabytes}))


def fill(folder: Path, num_subnets: int, num_devices: int) -> None:
    """Register one subnet and copy its rows."""
    path = folder / "mlflow.db"
    ensure_database(path)
    bundle = write_bundle(folder / "bundle")
    digest = digest_of(bundle)
    record = subnet_record(
        device=DEVICE, accuracy=ACCURACY, latency_ms=1.0, lineage=LINEAGE, bundle_digest=digest
    )
    registry = MlflowRegistry(f"sqlite:///{path}", artifacts=(folder / "mlruns").as_uri())
    registry.register(record, bundle)
    (folder / "record.json").write_text(json.dumps(record.to_dict()))
    values = {"devices": num_devices, "accuracy": ACCURACY, "device": DEVICE, "digest": digest}
    number = f"1 + n.i / {num_devices}"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_NUMBERS.format(subnets=num_subnets, devices=num_devices))
        time_of = "x.creation_timestamp_ms + n.i"
        for table, changes in {
            "logged_models": {"model_id": "n.model", "creation_timestamp_ms": time_of},
            "logged_model_tags": {"model_id": "n.model", "tag_value": _TAG.format(**values)},
            "model_versions": {
                "name": "'ofa-tiny-' || n.device",
                "version": number,
                "source": "'models:/' || n.model",
            },
        }.items():
            copy(connection, table, changes, every="n")
        devices = "(SELECT DISTINCT device FROM n) n"
        name = {"name": "'ofa-tiny-' || n.device"}
        copy(connection, "registered_models", name, every=devices)
        connection.execute("ANALYZE")


def copy(
    connection: sqlite3.Connection, table: str, changes: Mapping[str, str], *, every: str
) -> None:
    """Copy all rows of a table once for each row of another, with some columns changed."""
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    chosen = ", ".join(changes.get(name, f"x.{name}") for name in columns)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM {every}, {table} x"  # noqa: S608
    )


def send(folder: Path, uri: str) -> None:
    """Register the same subnet in another database, and bring the copies there."""
    record = SubnetRecord.from_dict(json.loads((folder / "record.json").read_text()))
    registry = MlflowRegistry(uri, artifacts=(folder / "mlruns").as_uri())
    registry.register(record, folder / "bundle")
    here, there = create_engine(f"sqlite:///{folder / 'mlflow.db'}"), create_engine(uri)
    with here.connect() as source, there.begin() as target:
        for name, copies in COPIES.items():
            table = Table(name, MetaData(), autoload_with=there)
            rows = source.execute(select(table).where(text(copies))).mappings()
            for part in rows.partitions(CHUNK):
                target.execute(table.insert(), [dict(row) for row in part])
        # Without statistics PostgreSQL takes half a minute for what it answers in milliseconds.
        target.execute(text("ANALYZE"))


def ask(registry: MlflowRegistry, num_devices: int, show: Show) -> None:
    """Measure look-ups in this process."""

    def question(number: int) -> Question:
        limit_ms = 0.3 + 4 * random.Random(number).random()
        return Question(device=name_of(number % num_devices), max_latency_ms=limit_ms)

    def front(number: int) -> object:
        return registry.front(device=name_of(number % num_devices))

    show("first_answer", timed(lambda number: registry.answer(question(number)), 1))
    show("read_all", timed(lambda _: registry.snapshot(), 1))
    show("first_of_a_device", timed(lambda n: registry.answer(question(n)), num_devices)[1:])
    show("best", timed(lambda number: registry.answer(question(number)), 1000))
    show("front", timed(front, 300))
    show("explain", timed(lambda number: registry.explain(question(number)), 300))


def ask_service(uri: str, num_subnets: int, num_devices: int, show: Show) -> int:
    """Measure the service, and return its memory in MB after all that."""
    program = Path(sys.executable).with_name("ofa-pipeline")
    begun = time.perf_counter()
    process = subprocess.Popen(
        [program, "serve-registry", "--port", str(PORT)],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        stdout=subprocess.DEVNULL,
    )

    def best(number: int) -> object:
        return get(
            f"/v1/best?device={name_of(number % num_devices)}&max_latency_ms={1 + number % 4}"
        )

    def page(number: int) -> object:
        return get(f"/v1/subnets?limit={PAGE}&offset={number * (num_subnets - PAGE) // 20}")

    try:
        while not answers("/healthz"):
            time.sleep(0.2)
        page(0)
        show("service_ready", [time.perf_counter() - begun])
        show("http_best", timed(best, 400))
        show("http_page", timed(page, 21))
        show("http_start_page", timed(lambda _: get("/"), 5))
        return round(psutil.Process(process.pid).memory_info().rss / MEGABYTE)
    finally:
        process.terminate()
        process.wait()


def answers(path: str) -> bool:
    """Tell whether the service answers."""
    try:
        get(path)
    except OSError:
        return False
    return True


def get(path: str) -> bytes:
    """Return what the service answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=300) as response:
        body: bytes = response.read()
    return body


def name_of(device: int) -> str:
    """Return the name of a device."""
    return f"device-{device:03d}"


def timed(work: Callable[[int], object], repeats: int) -> list[float]:
    """Return the seconds of each call."""
    seconds = []
    for number in range(repeats):
        begun = time.perf_counter()
        work(number)
        seconds.append(time.perf_counter() - begun)
    return seconds


if __name__ == "__main__":
    main()
