"""How long an ONNX file takes, and whether it answers as the one that torch writes.

One subnet of each reference space is written by this package and by torch's exporters in turn, on
one thread: the one by TorchScript, while torch still has it, and its successor with ``--dynamo``,
which needs onnxscript. One JSON object a space:

    {"space", "arch", "resolution_px", "mb", "ours_s", "torchscript_s", "dynamo_s", "times_faster",
     "equal_bits", "max_relative_difference"}

Seconds are CPU seconds, the median of ``--pairs``; ``times_faster`` is the median ratio of
neighbors. ``equal_bits`` says whether ONNX Runtime's logits of our file are those of torch's, bit
for bit; the difference is that from PyTorch.

Run: ``python benchmarks/onnx_export.py [--spaces ofa_mbv3_d234_e346_k357_w1.0] [--pairs 5]``
"""

import argparse
import io
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ofa_pipeline.devices import find_runtime, inference_form, noise_images
from ofa_pipeline.devices.export import INPUT_NAME, OPSET, OUTPUT_NAME, onnx_bytes
from ofa_pipeline.latency import build_measured_subnet
from ofa_pipeline.spaces import REFERENCE_SPACES, reference_space
from ofa_pipeline.supernet import Subnet

NUM_CLASSES = 1000
Export = Callable[[], bytes]


def main() -> int:
    """Print a line a space; return the exit code: 1 if a file answers otherwise than torch's."""
    options = parse_options()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch announces the end of its exporter
    ok = True
    for name in options.spaces:
        row = compare(name, options.size, pairs=options.pairs, with_dynamo=options.dynamo)
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
        ok &= row["equal_bits"]
    return 0 if ok else 1


def parse_options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="How long an ONNX file takes.")
    parser.add_argument(
        "--spaces", nargs="+", choices=REFERENCE_SPACES, default=sorted(REFERENCE_SPACES)
    )
    parser.add_argument("--size", choices=("smallest", "largest"), default="largest")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--dynamo", action="store_true", help="torch's new exporter, too, once")
    return parser.parse_args()


def compare(name: str, size: str, *, pairs: int, with_dynamo: bool) -> dict[str, Any]:
    """Write the smallest or largest subnet of a space both ways, in turn."""
    space = reference_space(name)
    arch = space.largest if size == "largest" else space.smallest
    subnet = build_measured_subnet(space, arch, num_classes=NUM_CLASSES)
    side = arch.resolution_px
    ways: dict[str, Export] = {
        "ours": lambda: onnx_bytes(subnet, resolution_px=side),
        "torchscript": lambda: by_torch(subnet, side, dynamo=False),
    }
    contents = {way: write() for way, write in ways.items()}  # imports are not counted
    seconds = {way: [] for way in ways}
    for _ in range(pairs):
        for way, write in ways.items():
            seconds[way].append(cpu_seconds(write))
    by_dynamo = None
    if with_dynamo:
        by_torch(subnet, side, dynamo=True)
        by_dynamo = cpu_seconds(lambda: by_torch(subnet, side, dynamo=True))
    images = noise_images(2, side)
    ours, theirs = (logits(contents[way], images) for way in ways)
    with torch.inference_mode():
        expected = subnet.eval()(torch.from_numpy(images)).numpy()
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["torchscript"], strict=True)]
    return {
        "space": name,
        "arch": arch.arch_id,
        "resolution_px": side,
        "mb": round(len(contents["ours"]) / 1e6, 1),
        "ours_s": round(statistics.median(seconds["ours"]), 3),
        "torchscript_s": round(statistics.median(seconds["torchscript"]), 3),
        "dynamo_s": None if by_dynamo is None else round(by_dynamo, 3),
        "times_faster": round(statistics.median(ratios), 1),
        "equal_bits": bool(np.array_equal(ours, theirs)),
        "max_relative_difference": float(np.abs(ours - expected).max() / np.abs(expected).max()),
    }


def by_torch(subnet: Subnet, side: int, *, dynamo: bool) -> bytes:
    """Return the file that torch writes, as this package wrote it before."""
    content = io.BytesIO()
    batch = {INPUT_NAME: {0: "batch"}}
    program = torch.onnx.export(
        inference_form(subnet).cpu(),
        (torch.zeros(1, 3, side, side),),
        None if dynamo else content,
        dynamo=dynamo,
        verbose=False,
        opset_version=18 if dynamo else OPSET,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        **({} if dynamo else {"dynamic_axes": {**batch, OUTPUT_NAME: {0: "batch"}}}),
    )
    if dynamo:
        program.save(content)
    return content.getvalue()


def cpu_seconds(write: Export) -> float:
    """Return the CPU seconds that a file takes."""
    begin = time.process_time()
    write()
    return time.process_time() - begin


def logits(content: bytes, images: np.ndarray) -> np.ndarray:
    """Return what ONNX Runtime answers."""
    runtime = find_runtime("onnxruntime")
    return runtime.open(content, accelerator="cpu", threads=1)(images)


if __name__ == "__main__":
    sys.exit(main())
