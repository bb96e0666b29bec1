"""Speed and memory of `prepare_dataset` at several sizes: memory must not grow with the images.

Each size runs in a process of its own and prints one JSON object: images a second, and the peak
of resident memory beyond what the interpreter needs with everything imported.

    python benchmarks/prepare_dataset.py [--sizes 12500 50000 200000] [--parquet FILE_OR_FOLDER]

Without ``--parquet`` the images are synthetic: coloured blobs of 32 pixels, as PNG, each
different. With it, the first images of those files (size 0: all of them).
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDE_PX = 32
NUM_CLASSES = 10
ROWS_A_GROUP = 1000
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
    ]
)


def synthetic_rows(count: int) -> Iterator[dict[str, object]]:
    """Yield smooth coloured images: noise of 4 x 4 pixels, enlarged."""
    generator = np.random.default_rng(0)
    for index in range(count):
        coarse = generator.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=1)
        content = {"bytes": buffer.getvalue(), "path": f"{index:07d}.png"}
        yield {"image": content, "label": index % NUM_CLASSES}


def given_rows(path: Path, count: int) -> Iterator[dict[str, object]]:
    """Yield the first rows of Parquet files; all of them for a count of 0."""
    left = count or sys.maxsize
    for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=ROWS_A_GROUP):
            for row in batch.to_pylist()[:left]:
                yield row
                left -= 1
        if left <= 0:
            return


def write_source(path: Path, rows: Iterator[dict[str, object]]) -> None:
    """Write rows to a Parquet file, a row group at a time."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        group: list[dict[str, object]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROWS_A_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))


def peak_memory_mb() -> float:
    """Return the peak of this process's resident memory so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("this benchmark reads /proc/self/status, which only Linux has")


def measure(source: Path, folder: Path) -> None:
    """Prepare a source in this process and print the figures."""
    from ofa_pipeline.data import DatasetOptions, prepare_dataset

    options = DatasetOptions(
        source=f"parquet:{source}",
        image_size_px=SIDE_PX,
        test_fraction=0.2,
        selection_fraction=0.1,
        calibration_fraction=0.05,
        max_bad_fraction=0.01,
        shard_rows=4096,
        seed=0,
    )
    before_mb = peak_memory_mb()
    start = time.perf_counter()
    figures = prepare_dataset(options, folder, base=Path.cwd())
    duration_s = time.perf_counter() - start
    num_images = sum(figures["num_images"].values())
    record = {
        "num_images": num_images,
        "source_mb": round(source.stat().st_size / 1e6, 1),
        "duration_s": round(duration_s, 1),
        "images_per_s": round(num_images / duration_s),
        "memory_before_mb": round(before_mb),
        "peak_memory_mb": round(peak_memory_mb()),
        "growth_mb": round(peak_memory_mb() - before_mb, 1),
    }
    print(json.dumps(record), flush=True)


def main() -> None:
    """Run every size in a process of its own."""
    parser = argparse.ArgumentParser(description="Speed and memory of prepare_dataset.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[12_500, 50_000, 200_000])
    parser.add_argument("--parquet", type=Path)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.parquet"
            rows = given_rows(options.parquet, size) if options.parquet else synthetic_rows(size)
            write_source(source, rows)
            command = [sys.executable, __file__, "--measure", source, Path(folder) / "dataset"]
            subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
