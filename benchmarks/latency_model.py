"""How well latency is measured and estimated on the devices of params.yaml.

For each device: profile it as the pipeline does, then measure further random subnets and the same
subnets again. One JSON object a device:

    {"device", "seconds", "num_fit", "num_holdout", "mape", "share_within_5_percent",
     "share_within_10_percent", "kendall_tau", "repeat_cv", "median_half_interval", "num_contended"}

Run: ``python benchmarks/latency_model.py [--device NAME] [--num-holdout 60]``; nothing else should
run on the machine meanwhile.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.stages import StageContext, run_stage
from ofa_pipeline.tables import LATENCY_SCHEMA, read_table

NUM_CLASSES = 10


def main() -> None:
    """Profile every device that was asked for and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--device", action="append", help="default: all of params.yaml")
    parser.add_argument("--num-holdout", type=int, default=60)
    arguments = parser.parse_args()
    params = load_params(arguments.params)
    latency = params.latency.model_copy(update={"num_holdout": arguments.num_holdout})
    params = params.model_copy(update={"latency": latency})
    for device in arguments.device or params.devices:
        print(json.dumps(profile(params, device)), flush=True)


def profile(params: Params, device: str) -> dict[str, object]:
    """Run the stage in a folder of its own and return the figures."""
    with tempfile.TemporaryDirectory() as root:
        layout = Layout(Path(root))
        layout.dataset.mkdir(parents=True)
        names = [str(label) for label in range(NUM_CLASSES)]
        (layout.dataset / "classes.json").write_text(json.dumps({"class_names": names}))
        start = time.perf_counter()
        folder = run_stage(
            "profile_latency", StageContext(layout=layout, params=params, item=device)
        )
        seconds = time.perf_counter() - start
        report = json.loads((folder / "model.json").read_text())["report"]
        table = read_table(folder / "samples.parquet", LATENCY_SCHEMA)
    low, high, middle = (
        np.array(table[name].to_pylist()) for name in ("ci_low_ms", "ci_high_ms", "p50_ms")
    )
    return {
        "device": device,
        "seconds": round(seconds, 1),
        "num_fit": report["fit"]["num_subnets"],
        "num_holdout": report["holdout"]["num_subnets"],
        **{
            name: round(report["holdout"][name], 4)
            for name in (
                "mape",
                "share_within_5_percent",
                "share_within_10_percent",
                "kendall_tau",
            )
        },
        "repeat_cv": round(report["noise"]["cv"], 4),
        "median_half_interval": round(float(np.median((high - low) / 2 / middle)), 4),
        "num_contended": report["noise"]["num_contended"],
    }


if __name__ == "__main__":
    main()
