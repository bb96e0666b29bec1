"""Write what README and the guide to devices show of the demo from a workspace in which it has run.

The table and the picture are those of the report, and where `benchmarks/against_scratch.py --write`
has run there, too, so is the paragraph on training alone; else that one stays as it is. On a quiet
machine, in a clone without changes:

    time make demo
    python benchmarks/against_scratch.py --workspace . --write
    python scripts/write_demo.py --workspace . --took "9 min 8 s"
"""

import argparse
import json
import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import BundleIndex, read_document
from ofa_pipeline.params import Params, load_params
from ofa_pipeline.registry import RegisteredSubnet, registered_subnets

ROOT = Path(__file__).resolve().parent.parent
PICTURE = Path("docs/pictures/pareto.svg")
LATENCY_PICTURE = Path("docs/pictures/latency.svg")
"""Of the guide to devices."""
ALONE = "seconds/against_scratch/against_scratch.jsonl"
"""Artifact of the benchmark."""
COLUMNS = "| device | budget ms | arch | top-1 on test | measured ms | MACs | registry version |"


def main() -> None:
    """Read the options and write README and its picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=Path())
    parser.add_argument("--took", required=True, help="what `time make demo` said")
    options = parser.parse_args()
    root = options.workspace.resolve()
    layout, params = Layout(root), load_params(root / "params.yaml")
    found = [s for device in params.devices for s in registered_subnets(layout, params, device)]
    commit = _commit(root)
    readme = ROOT / "README.md"
    text = replace_section(
        readme.read_text(),
        "demo",
        demo_text(
            found,
            params,
            hardware=_hardware(layout, found[0].record.device),
            commit=commit,
            took=options.took,
        ),
    )
    alone = layout.artifacts / ALONE
    if alone.exists():
        lines = [json.loads(line) for line in alone.read_text().splitlines()]
        text = replace_section(text, "alone", alone_text(lines, commit=commit))
    readme.write_text(text)
    device = found[0].record.device
    figures = layout.report / "figures"
    shutil.copyfile(figures / f"pareto-{device}.svg", ROOT / PICTURE)
    shutil.copyfile(figures / f"latency-{device}.svg", ROOT / LATENCY_PICTURE)


def replace_section(text: str, name: str, body: str) -> str:
    """Return a page with what stands between the two comments of a name replaced.

    Raises:
        SystemExit: If the page lacks them.
    """
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    replaced, count = re.subn(pattern, lambda m: f"{m[1]}{body}{m[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"the page must have <!-- {name} --> and <!-- /{name} --> once")
    return replaced


def demo_text(
    subnets: Sequence[RegisteredSubnet], params: Params, *, hardware: str, commit: str, took: str
) -> str:
    """Return the table of the registered subnets and the picture, with what they are of."""
    record = subnets[0].record
    mantissa, exponent = f"{params.space.build().num_archs:.1e}".split("e")
    rows = "\n".join(_row(subnet) for subnet in subnets)
    return f"""\
`make demo` takes about ten minutes and ends with this table and the path of
`artifacts/report/report.html`. The figures are those of one run of commit {commit} ({took}) on two
cores of {hardware}; yours will differ in latency.

{COLUMNS}
| --- | ---: | --- | ---: | ---: | ---: | ---: |
{rows}

<p align="center">
  <img src="{PICTURE}" width="520"
       alt="Top-1 over latency on {record.device}: what ships with its intervals, candidates of the
search as pale dots, the estimated Pareto front as a line, the latency budgets as vertical lines">
</p>

The picture is the report's; the supernet has {mantissa} x 10<sup>{int(exponent)}</sup> subnets.
"""


def _row(subnet: RegisteredSubnet) -> str:
    record = subnet.record
    budgets = ", ".join(f"{budget:.3g}" for budget in record.budgets_ms)
    cells = [
        record.device,
        budgets,
        f"`{record.arch.arch_id}`",
        f"{100 * record.accuracy_top1:.2f} %",
        f"{record.latency_ms:.3g}",
        f"{record.macs / 1e6:.2f} M",
        f"v{subnet.version}",
    ]
    return f"| {' | '.join(cells)} |"


def alone_text(lines: Sequence[Mapping[str, Any]], *, commit: str) -> str:
    """Return the paragraph on training each pick alone.

    Args:
        lines: What `benchmarks/against_scratch.py` prints on a CPU: one a pick, at last the
            break-even.
        commit: Of the run.
    """
    *picks, total = lines
    error = max(pick["standard_error"] for pick in picks)
    within, number = total["within_two_standard_errors"], total["break_even_subnets"]
    verdict = (
        "once-for-all never is cheaper"
        if number is None
        else f"from {math.floor(number) + 1} subnets on once-for-all is cheaper"
    )
    return f"""\
The subnets of the run of commit {commit}, trained alone for as many epochs as the supernet, reach
{_listed(picks, "accuracy_top1_alone")}. As they shipped they have
{_listed(picks, "accuracy_top1_finetuned")}: {within} of {len(picks)} are within two standard errors
of that ({100 * error:.1f} points), or better. Straight out of the supernet they have
{_listed(picks, "accuracy_top1_extracted")}. Fine-tuning one took
{total["cpu_s_finetune_mean"]:.0f} CPU seconds, training it alone {total["cpu_s_alone_mean"]:.0f};
what is done once took {total["cpu_s_supernet"]:.0f}: {verdict}
(`python benchmarks/against_scratch.py --workspace . --write`, 7 minutes; the report then shows it).
"""


def _listed(picks: Sequence[Mapping[str, Any]], name: str) -> str:
    *first, last = [f"{100 * pick[name]:.1f}" for pick in picks]
    return f"{', '.join(first)} and {last} %" if first else f"{last} %"


def _hardware(layout: Layout, device: str) -> str:
    path = layout.subnets(device) / Layout.BUNDLES
    index = read_document(path, BundleIndex, remake="ofa-pipeline run")
    return index.bundles[0].latency[device].card.hardware


def _commit(root: Path) -> str:
    words = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(
        words, cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
