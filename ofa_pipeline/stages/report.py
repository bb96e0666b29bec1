"""Stage ``report``: one HTML page about everything, key figures and tables for plots."""

from ofa_pipeline.artifacts import Layout, write_artifact
from ofa_pipeline.params import Params
from ofa_pipeline.report import DeviceFolders, ReportFolders, load_contents, metrics, write_report
from ofa_pipeline.stages import SECONDS, StageContext, find_stage, stage_inputs

NAME = "report"


def run(context: StageContext) -> None:
    """Read the artifacts and write the report."""
    folders = report_folders(context.layout, context.params)
    contents = load_contents(folders, title=context.params.report.title)
    inputs = stage_inputs(find_stage(NAME), context)
    with write_artifact(context.layout.report, **inputs) as writer:
        write_report(contents, writer.folder)
        writer.summary |= metrics(contents)["best"]
    best = contents.best
    context.reporter.message(
        f"report: {len(contents.subnets)} subnets, the best with {best.accuracy_top1:.2%} top-1 on "
        f"test and {best.p50_ms:.3g} ms on {best.device}"
    )


def report_folders(layout: Layout, params: Params) -> ReportFolders:
    """Return where the artifacts of a workspace lie."""
    return ReportFolders(
        root=layout.root,
        dataset=layout.dataset,
        phases={phase: layout.supernet(phase) for phase in params.phases},
        accuracy=layout.accuracy,
        predictor=layout.predictor,
        devices={
            device: DeviceFolders(
                latency=layout.latency(device),
                search=layout.search(device),
                subnets=layout.subnets(device),
                registry=layout.registry(device),
            )
            for device in params.devices
        },
        seconds=layout.root / SECONDS,
    )
