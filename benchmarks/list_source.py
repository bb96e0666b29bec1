"""How long it takes to list the files of a source, and how much that keeps.

Makes empty files in a folder of its own, lists them twice, and compares the listings after a
change. Prints one JSON object a measurement. The second listing is what a run pays: the
directory is in the memory of the kernel, as it is after the images were read.

    python benchmarks/list_source.py [--files 1000000] [--folder /tmp]
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ofa_pipeline.listing import compare, list_files, read_listing, write_listing

FILES_A_CLASS = 1000
_KIB_A_MB = 1000


def make_files(root: Path, count: int) -> None:
    """Make files named as those of ImageNet, each with a time of its own."""
    for index in range(count):
        folder = root / f"n{index // FILES_A_CLASS:08d}"
        if index % FILES_A_CLASS == 0:
            folder.mkdir(parents=True)
        handle = os.open(folder / f"n{index:08d}_{index * 7919 % 99991}.JPEG", os.O_CREAT)
        os.utime(handle, ns=(index, 1_600_000_000_000_000_000 + index * 7_919_777_777))
        os.close(handle)


def timed(what: str, work: Callable[[], object]) -> None:
    """Do something once and print how long it took."""
    start, cpu = time.perf_counter(), time.process_time()
    found = work()
    record = {
        "what": what,
        "duration_s": round(time.perf_counter() - start, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_A_MB),
        "found": str(found),
    }
    print(json.dumps(record), flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        root = Path(name) / "source"
        before, after = Path(name) / "before.gz", Path(name) / "after.gz"
        timed("make files", lambda: make_files(root, options.files))
        timed("list", lambda: write_listing(before, list_files(root)))
        timed("list again", lambda: write_listing(before, list_files(root)))
        (root / "n00000000" / "new.JPEG").touch()
        write_listing(after, list_files(root))
        timed("compare", lambda: compare(read_listing(before), read_listing(after)))
        print(json.dumps({"what": "listing", "megabytes": before.stat().st_size / 1e6}))


if __name__ == "__main__":
    main()
