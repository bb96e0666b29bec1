"""What a run made, as one Prefect artifact: the subnets, where the report and the registry are.

What went wrong without stopping the run is logged once more, and stands above the subnets.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.names import artifact_key, name_of_task_run
from ofa_pipeline.artifacts import Layout
from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.params import Params
from ofa_pipeline.registry import registered_subnets, tracking_uri
from ofa_pipeline.run_warnings import RunWarning, count_text
from ofa_pipeline.stages import warnings_of_run

if TYPE_CHECKING:
    from ofa_pipeline.registry import RegisteredSubnet

_HEAD = (
    *("device", "budget ms", "top-1 on test", "p50 ms", "p95 ms", "version", "arch", "MACs"),
    "registered model",
)


@task(task_run_name=name_of_task_run, cache_policy=NO_CACHE, persist_result=False)
def show_results(root: Path, params: Params) -> None:
    """File the results under the run."""
    layout = Layout(root)
    subnets = [
        item for device in params.devices for item in registered_subnets(layout, params, device)
    ]
    warnings = warnings_of_run(layout, params)
    for warning in warnings:
        get_run_logger().warning("%s: %s", warning.address, warning.text)
    text = summary_markdown(
        subnets,
        warnings=warnings,
        report=layout.report / Layout.REPORT_PAGE,
        registry=mask_secrets(tracking_uri(root)),
    )
    create_markdown_artifact(
        text, key=artifact_key("summary", root), description=f"what {root} has registered"
    )


def summary_markdown(
    subnets: Iterable["RegisteredSubnet"],
    *,
    warnings: Sequence[RunWarning],
    report: Path,
    registry: str,
) -> str:
    """Return what a run made as Markdown.

    Args:
        subnets: What is registered, with its measured figures.
        warnings: What the run warned about; stands above everything else.
        report: The report's page.
        registry: Address of the MLflow registry, without secrets.
    """
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(item, registry) for item in subnets)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    where = f"<{registry}>" if _is_server(registry) else f"`{_mlflow_command(registry)}`"
    return (
        f"{warnings_markdown(warnings)}{table}\n\n"
        f"- report: [{report.name}]({report.as_uri()}), `{report}`\n"
        f"- registry: {where}\n"
    )


def _row(item: "RegisteredSubnet", registry: str) -> tuple[str, ...]:
    record = item.record
    latency = record.latency[record.device]
    version = f"v{item.version}"
    if _is_server(registry):
        page = f"{registry.rstrip('/')}/#/models/{quote(record.model_name)}/versions/{item.version}"
        version = f"[{version}]({page})"
    return (
        record.device,
        ", ".join(f"{budget:.3g}" for budget in record.budgets_ms),
        f"{record.accuracy_top1:.2%}",
        f"{latency.p50_ms:.3g}",
        f"{latency.p95_ms:.3g}",
        version,
        f"`{record.arch.arch_id}`",
        f"{record.macs / 1e6:.2f} M",
        record.model_name,
    )


def _is_server(registry: str) -> bool:
    return registry.startswith(("http://", "https://"))


def _mlflow_command(registry: str) -> str:
    """Return the command that shows a registry in the browser, in any shell."""
    program = Path(sys.executable).with_name("mlflow")
    return f"{shlex.quote(str(program))} ui --backend-store-uri {shlex.quote(registry)}"


def warnings_markdown(warnings: Sequence[RunWarning]) -> str:
    """Return a list of warnings as Markdown; nothing where there are none."""
    if not warnings:
        return ""
    lines = "".join(f"- **{warning.address}**: {warning.text}\n" for warning in warnings)
    return f"**{count_text(warnings)}**\n\n{lines}\n"
