"""Stage ``report``: one HTML page about everything, key figures and tables for plots.

The registry of the subnets keeps it, too: as the files of a run.
"""

from ofa_pipeline.artifacts import Layout, Manifest
from ofa_pipeline.params import Params
from ofa_pipeline.registry import open_registry, report_notes
from ofa_pipeline.report import details, load_contents, report_folders, write_report
from ofa_pipeline.stages.run import StageRun


def run(stage: StageRun) -> None:
    """Read the artifacts and write the report."""
    params = stage.params
    folders = report_folders(stage.layout, phases=params.phases, devices=params.devices)
    contents = load_contents(folders, title=params.report.title)
    with stage.writing() as writer:
        write_report(contents, writer.folder)
        writer.summary |= details(contents)["best"]
    registry = open_registry(stage.layout.root, experiment=params.registry.experiment)
    if registry.may_hold_anything:
        registry.log_work(report_notes(stage.layout))
    best = contents.best
    stage.reporter.message(
        f"report: {len(contents.subnets)} subnets, the best with {best.accuracy_top1:.2%} top-1 on "
        f"test and {best.p50_ms:.3g} ms on {best.device}"
    )


def missing_outside(layout: Layout, params: Params, item: str | None) -> tuple[str, ...]:  # noqa: ARG001 - every stage's
    """Return the report, if the registry of the subnets does not keep it."""
    if not (layout.report / Layout.MANIFEST).exists():
        return ()
    registry = open_registry(layout.root, experiment=params.registry.experiment)
    digest = Manifest.read(layout.report, made_by="ofa-pipeline run").digest
    if not registry.may_hold_anything or registry.has_work(digest):
        return ()
    return (Layout.REPORT_PAGE,)
