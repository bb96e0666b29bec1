"""Images a second from shards: by decoder, and streamed by one and by several ranks.

Prints JSON lines: how fast each decoder is and whether its pixels are those of the pipeline; for
each rank of a training what it streams in an epoch, how many bytes it reads and its peak memory;
whether all ranks together read each byte once; and how fast images come against what training
takes of them. The goal is 1.2 times that.

    python benchmarks/data_stream.py [--images 8192] [--side 224] [--ranks 1 2] [--batch 64]
        [--threads 1] [--whole] [--no-training]

The images are crops of the two photographs that come with scikit-learn, stored as the pipeline
stores photographs. Lanes, which splits of 262,144 images and more are read in, are used whatever
their number. Ranks run one after the other, each in a process of its own. What is
compared is images a second of the CPU, which a busy machine says as well as a quiet one; on CUDA,
of the clock. TorchCodec is compared where it is installed: ``pip install torchcodec``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_options import at_least, told
from numpy.typing import NDArray
from PIL import Image

from ofa_pipeline.data import Split
from ofa_pipeline.data.decode import Pixels, decode_image, encode, rgb_pixels
from ofa_pipeline.data.shards import ShardIndex, ShardWriter

GOAL = 1.2
DECODED = 256
"""Different images; in the shards they come again and again."""
SHARD_ROWS = 4096
LONGEST = 1.5
REPEATS = 3
TRAINED_BATCH = {"cpu": 8, "cuda": 64}
SUBNETS_A_STEP = 4
_KIB_A_MB = 1024


def main() -> None:
    """Measure everything, or, started by itself, what one rank does."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.rank is not None:
        show(**stream(options))
        return
    contents = photographs(DECODED, options.side, is_square=not options.whole)
    for record in decoders(contents):
        show(**record)
    with tempfile.TemporaryDirectory(prefix="data-stream-") as name:
        stored = write_shards(Path(name), contents, options.images)
        speeds = {}
        for ranks in options.ranks:
            records = [run_rank(name, rank, ranks) for rank in range(ranks)]
            for record in records:
                show(**record)
            show(**each_byte_once(records, stored, ranks=ranks))
            speeds[ranks] = min(records, key=lambda record: record["images_per_s"])
    if not options.no_training:
        show(**against_training(speeds[options.ranks[0]], options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=at_least(1), default=8192, help="in the split")
    parser.add_argument(
        "--side", type=at_least(8), default=224, help="shorter side of the stored images"
    )
    parser.add_argument("--ranks", type=at_least(1), nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=at_least(1), default=64, help="images of the global batch")
    parser.add_argument("--threads", type=at_least(1), default=1, help="of torch")
    parser.add_argument("--whole", action="store_true", help="3:2 and less, as boxes are drawn of")
    parser.add_argument("--no-training", action="store_true", help="do not time training steps")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for ranks in options.ranks:
        if options.batch % ranks or options.images < options.batch:
            parser.error(
                f"--batch must be a multiple of each of --ranks and at most --images, got "
                f"{options.batch}, {options.ranks} and {options.images}"
            )
    return options


def show(**record: object) -> None:
    """Print a line."""
    print(json.dumps(record), flush=True)


# ---- images -----------------------------------------------------------------------------------


def photographs(count: int, side_px: int, *, is_square: bool) -> list[bytes]:
    """Return crops of two photographs, as the pipeline stores images of this shorter side."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    found = []
    for _ in range(count):
        image = sources[rng.integers(len(sources))]
        scale = max(1.0, LONGEST * side_px / min(image.size))
        if scale > 1:
            image = image.resize((round(scale * image.width), round(scale * image.height)))
        longer = side_px if is_square else round(side_px * rng.uniform(1, LONGEST))
        width, height = (longer, side_px) if rng.random() < 0.5 else (side_px, longer)
        left = int(rng.integers(image.width - width + 1))
        top = int(rng.integers(image.height - height + 1))
        found.append(encode(image.crop((left, top, left + width, top + height)), lossless=False))
    return found


def write_shards(folder: Path, contents: Sequence[bytes], count: int) -> int:
    """Write a split; return how many bytes its files have."""
    writer = ShardWriter(folder, "train", shard_rows=SHARD_ROWS)
    for index in range(count):
        writer.add(contents[index % len(contents)], path=f"{index}.jpg", label=index % 2)
    writer.close()
    return sum(path.stat().st_size for path in folder.iterdir())


# ---- decoders ---------------------------------------------------------------------------------


def decoders(contents: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Yield how fast each decoder is on one thread, and whether its pixels are the pipeline's."""
    expected = [rgb_pixels(decode_image(content)) for content in contents]
    for name, package, decode in _decoders():
        record: dict[str, Any] = {"what": "decode", "decoder": name}
        try:
            record |= {"version": version(package)}
            found = [decode(content) for content in contents]
        except (ImportError, PackageNotFoundError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield record | {"images_per_cpu_s": None, "not_run": f"{reason}: pip install {package}"}
            continue
        apart = max(_largest_difference(*pair) for pair in zip(found, expected, strict=True))
        best_s = min(_seconds(decode, contents) for _ in range(REPEATS))
        yield record | {
            "images_per_cpu_s": round(len(contents) / best_s),
            "bit_equal": apart == 0,
            "largest_difference": apart,
            "mean_bytes": round(np.mean([len(content) for content in contents])),
        }


def _decoders() -> Iterator[tuple[str, str, Callable[[bytes], Pixels]]]:
    yield "pipeline (Pillow)", "pillow", lambda content: rgb_pixels(decode_image(content))
    yield "torchvision", "torchvision", _by_torchvision
    yield "TorchCodec", "torchcodec", _by_torchcodec
    if torch.cuda.is_available():
        yield "TorchCodec, CUDA", "torchcodec", lambda content: _by_torchcodec(content, "cuda")


def _by_torchvision(content: bytes) -> Pixels:
    from torchvision.io import ImageReadMode, decode_jpeg

    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is why others are compared
        return decode_jpeg(data, mode=ImageReadMode.RGB).permute(1, 2, 0).numpy()


def _by_torchcodec(content: bytes, device: str = "cpu") -> Pixels:
    from torchcodec.decoders import decode_jpeg

    return decode_jpeg(content, device=device).permute(1, 2, 0).cpu().numpy()


def _seconds(decode: Callable[[bytes], Pixels], contents: Sequence[bytes]) -> float:
    begin = time.process_time()
    for content in contents:
        decode(content)
    return time.process_time() - begin


def _largest_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(np.int16) - other).max())


# ---- ranks ------------------------------------------------------------------------------------


def run_rank(folder: str, rank: int, ranks: int) -> dict[str, Any]:
    """Have a rank of a training stream its part of an epoch, in a process of its own."""
    words = [*sys.argv[1:], "--folder", folder, "--rank", str(rank), "--ranks", str(ranks)]
    output = subprocess.run(
        [sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    record: dict[str, Any] = json.loads(output)
    return record


def stream(options: argparse.Namespace) -> dict[str, Any]:
    """Stream the places of an epoch's batches that are a rank's."""
    [ranks] = options.ranks
    split = Split(
        ShardIndex.open(options.folder, "train"),
        image_size_px=options.side,
        memory_limit_bytes=0,
        is_uncropped=options.whole,
        lanes_from=0,
    )
    each = options.batch // ranks
    rows = slice(options.rank * each, (options.rank + 1) * each)
    next(split.batches(1))  # what is imported for the first image is no part of the images
    before_mb, read, count = _peak_mb(), _bytes_read(), 0
    begin, cpu_s = time.perf_counter(), time.process_time()
    for batch in split.shuffled_batches(options.batch, seed=0, epoch=0, rows=rows):
        count += len(batch.ids)
    return {
        "what": "stream",
        "ranks": ranks,
        "rank": options.rank,
        "images": count,
        "images_per_s": round(count / (time.perf_counter() - begin)),
        "images_per_cpu_s": round(count / (time.process_time() - cpu_s)),
        "bytes_read": None if read is None else (_bytes_read() or 0) - read,
        "peak_memory_mb": _peak_mb(),
        "before_mb": before_mb,
        "cores": len(os.sched_getaffinity(0)),
        "whole": options.whole,
    }


def each_byte_once(records: Sequence[dict[str, Any]], stored: int, *, ranks: int) -> dict[str, Any]:
    """Return how often all ranks together read what is stored."""
    read = [record["bytes_read"] for record in records]
    times = None if None in read else round(sum(read) / stored, 3)
    return {
        "what": "each byte once",
        "ranks": ranks,
        "stored_bytes": stored,
        "times_read": times,
        "largest_share": None if times is None else round(max(read) / stored, 3),
        "images": sum(record["images"] for record in records),
    }


def _peak_mb() -> int | None:
    """Return the peak memory of this program; None where the system does not say.

    What `resource` says includes the process that started it.
    """
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    return round(int(path.read_text().partition("VmHWM:")[2].split()[0]) / _KIB_A_MB)


def _bytes_read() -> int | None:
    """Return the bytes that this process has read so far; None where the system does not say."""
    path = Path("/proc/self/io")
    if not path.exists():
        return None
    return int(path.read_text().partition("rchar: ")[2].split()[0])


# ---- training ---------------------------------------------------------------------------------


def against_training(streamed: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return how much faster images come than training steps of w1.0 take them."""
    from gpu_common import sandwich, stepping

    from ofa_pipeline.spaces import mobilenet_v3
    from ofa_pipeline.supernet import build_supernet

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_on_cpu = device.type == "cpu"
    images_per_s = streamed["images_per_cpu_s" if is_on_cpu else "images_per_s"]
    clock = time.process_time if is_on_cpu else time.perf_counter
    batch = TRAINED_BATCH[device.type]
    space = mobilenet_v3(width_multiplier=1.0)
    supernet = build_supernet(space, num_classes=1000, dropout=0.1, seed=0)
    phase = sandwich(space, per_step=SUBNETS_A_STEP)
    with stepping(supernet, phase, side_px=options.side, batch=batch, device=device) as update:
        update()
        steps = 2 if is_on_cpu else 40
        begin = clock()
        for _ in range(steps):
            loss = update()
        float(loss)
        taken = batch * steps / (clock() - begin)
    return {
        "what": "against training",
        "device": device.type,
        "side_px": options.side,
        "subnets_a_step": SUBNETS_A_STEP,
        "seconds": "of the CPU" if is_on_cpu else "of the clock",
        "trained_images_per_s": round(taken, 1),
        "streamed_images_per_s": images_per_s,
        "ratio": round(images_per_s / taken, 2),
        "goal": GOAL,
        "is_met": images_per_s >= GOAL * taken,
    }


if __name__ == "__main__":
    sys.exit(told(main))
