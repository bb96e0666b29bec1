"""Stage ``report``: one HTML page about everything, key figures and tables for plots."""

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
    best = contents.best
    stage.reporter.message(
        f"report: {len(contents.subnets)} subnets, the best with {best.accuracy_top1:.2%} top-1 on "
        f"test and {best.p50_ms:.3g} ms on {best.device}"
    )
