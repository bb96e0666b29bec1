"""What a run made, as Prefect artifacts: the table of subnets, the key figures, the report.

What went wrong without stopping the run is logged once more, and stands above the key figures.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.params import Params
from ofa_pipeline.registry import dataset_label, registered_subnets
from ofa_pipeline.run_warnings import RunWarning, count_text
from ofa_pipeline.stages import warnings_of_run


@task(cache_policy=NO_CACHE, persist_result=False)
def show_results(root: Path, params: Params) -> None:
    """File the results under the run."""
    layout = Layout(root)
    rows = [
        {
            "device": item.record.device,
            "dataset": dataset_label(item.record),
            "budgets_ms": ", ".join(f"{budget:.3g}" for budget in item.record.budgets_ms),
            "arch": item.record.arch.arch_id,
            "accuracy_top1_test": round(item.record.accuracy_top1, 4),
            "latency_p50_ms": round(item.record.latency_ms, 4),
            "macs": item.record.macs,
            "registry": f"{item.record.model_name} v{item.version}",
        }
        for device in params.devices
        for item in registered_subnets(layout, params, device)
    ]
    create_table_artifact(rows, key="subnets", description="registered subnets, measured")
    warnings = warnings_of_run(layout, params)
    for warning in warnings:
        get_run_logger().warning("%s: %s", warning.address, warning.text)
    figures = json.loads((layout.report / Layout.METRICS).read_text())
    page = layout.report / Layout.REPORT_PAGE
    text = f"report: `{page}`\n\n```json\n{json.dumps(figures, indent=2)}\n```"
    text = warnings_markdown(warnings) + text
    create_markdown_artifact(text, key="key-figures", description="key figures of the report")


def warnings_markdown(warnings: Sequence[RunWarning]) -> str:
    """Return a list of warnings as Markdown; nothing where there are none."""
    if not warnings:
        return ""
    lines = "".join(f"- **{warning.address}**: {warning.text}\n" for warning in warnings)
    return f"**{count_text(warnings)}**\n\n{lines}\n"
