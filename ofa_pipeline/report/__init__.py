"""The report: one HTML page, key figures, tables and charts, read from the artifacts."""

from ofa_pipeline.report.assemble import (
    DeviceFolders,
    ReportFolders,
    load_contents,
    load_cost,
    report_folders,
)
from ofa_pipeline.report.charts import (
    Line,
    Points,
    Rule,
    draw_chart,
    linear_axis,
    style_sheet,
)
from ofa_pipeline.report.contents import ReportContents
from ofa_pipeline.report.cost import CostFacts, break_even
from ofa_pipeline.report.exports import details, metrics
from ofa_pipeline.report.standalone import standalone_chart
from ofa_pipeline.report.write import write_report

__all__ = [
    "CostFacts",
    "DeviceFolders",
    "Line",
    "Points",
    "ReportContents",
    "ReportFolders",
    "Rule",
    "break_even",
    "details",
    "draw_chart",
    "linear_axis",
    "load_contents",
    "load_cost",
    "metrics",
    "report_folders",
    "standalone_chart",
    "style_sheet",
    "write_report",
]
