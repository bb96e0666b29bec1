"""Write ofa_pipeline/reference/zoo/catalogue.json from the reference's published net.config files.

The architectures come from the `net.config` and `run.config` of each published network (MIT,
mit-han-lab/once-for-all), the accuracies from the reference's README, as collected in one table
of JSON objects with the keys ``name, base, stem, image_size, d, ks, e, published``.

Usage:
    python scripts/make_zoo_catalogue.py PUBLISHED_JSON CONFIG_FOLDER
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "ofa_pipeline" / "reference" / "zoo" / "catalogue.json"
SUPERNETS = {
    ("MobileNetV3", 16): "ofa_mbv3_d234_e346_k357_w1.0",
    ("MobileNetV3", 24): "ofa_mbv3_d234_e346_k357_w1.2",
    ("ProxylessNASNets", 40): "ofa_proxyless_d234_e346_k357_w1.3",
}
# Of the README's table; the reference publishes no file for these eight beside their names.
RESNETS = (
    ("resnet50D_MAC@4.1B_top1@79.8", 79.8, 94.7, "30.9M", "4.1B"),
    ("resnet50D_MAC@3.7B_top1@79.7", 79.7, 94.7, "26.5M", "3.7B"),
    ("resnet50D_MAC@3.0B_top1@79.3", 79.3, 94.5, "28.7M", "3.0B"),
    ("resnet50D_MAC@2.4B_top1@79.0", 79.0, 94.2, "29.0M", "2.4B"),
    ("resnet50D_MAC@1.8B_top1@78.3", 78.3, 94.0, "20.7M", "1.8B"),
    ("resnet50D_MAC@1.2B_top1@77.1_finetune@25", 77.1, 93.3, "19.3M", "1.2B"),
    ("resnet50D_MAC@0.9B_top1@76.3_finetune@25", 76.3, 92.9, "14.5M", "0.9B"),
    ("resnet50D_MAC@0.6B_top1@75.0_finetune@25", 75.0, 92.1, "9.6M", "0.6B"),
)


def amount(text: str) -> int:
    """Return ``9.1M`` or ``4.1B`` as a whole number."""
    factor = {"M": 10**6, "B": 10**9}[text[-1]]
    return round(float(text[:-1]) * factor)


def target_of(name: str) -> dict[str, Any]:
    """Return device, batch size and latency that a network's name states."""
    match = re.match(r"(?P<device>.+?)_(?P<kind>lat|gpu\d+)-(?P<ms>[\d.]+)ms", name)
    if match is None:
        return {"device": None, "published_latency_ms": None, "published_batch_size": None}
    kind = match["kind"]
    return {
        "device": match["device"],
        "published_latency_ms": float(match["ms"]),
        "published_batch_size": 1 if kind == "lat" else int(kind.removeprefix("gpu")),
    }


def entry(row: dict[str, Any], configs: Path) -> dict[str, Any]:
    """Return the catalogue's object for one published network."""
    name = row["name"]
    config = json.loads((configs / name / "net.config").read_text())
    published = row["published"]
    return {
        "name": name,
        "alias": published["alias"],
        "supernet": SUPERNETS[row["base"], row["stem"]],
        "resolution_px": row["image_size"],
        "depths": row["d"],
        "kernel_sizes": [size for group in row["ks"] for size in group],
        "expand_ratios": [ratio for group in row["e"] for ratio in group],
        "dropout": config["classifier"]["dropout_rate"],
        "num_classes": config["classifier"]["out_features"],
        "published_top1": published["top1"],
        "published_top5": published["top5"],
        "published_macs": amount(published["macs"]),
        "published_num_params": amount(published["params"]),
        "finetune_epochs": int(name.rsplit("finetune-", 1)[1]),
        **target_of(name),
    }


def resnet_entry(row: tuple[str, float, float, str, str]) -> dict[str, Any]:
    """Return the object of a ResNet50D network: figures without an architecture."""
    name, top1, top5, params, macs = row
    finetune = re.search(r"finetune@(\d+)", name)
    return {
        "name": name.replace("@", "-"),
        "alias": "ofa-resnet50D-" + name[len("resnet50D_MAC@") :][:3].replace(".", ""),
        "supernet": "ofa_resnet50",
        "resolution_px": None,
        "depths": None,
        "kernel_sizes": None,
        "expand_ratios": None,
        "dropout": None,
        "num_classes": 1000,
        "published_top1": top1,
        "published_top5": top5,
        "published_macs": amount(macs),
        "published_num_params": amount(params),
        "finetune_epochs": int(finetune[1]) if finetune else 0,
        "device": None,
        "published_latency_ms": None,
        "published_batch_size": None,
    }


def main() -> None:
    """Write the catalogue."""
    published, configs = (Path(argument) for argument in sys.argv[1:3])
    rows = [entry(row, configs) for row in json.loads(published.read_text())]
    rows += [resnet_entry(row) for row in RESNETS]
    rows.sort(key=lambda row: row["name"])
    lines = ",\n".join(json.dumps(row) for row in rows)
    TARGET.write_text(f"[\n{lines}\n]\n")
    print(f"{TARGET}: {len(rows)} networks")


if __name__ == "__main__":
    main()
