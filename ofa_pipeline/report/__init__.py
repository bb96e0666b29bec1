"""The report: one HTML page, key figures, tables and charts, read from the artifacts."""

from ofa_pipeline.report.assemble import DeviceFolders, ReportFolders, load_contents
from ofa_pipeline.report.contents import ReportContents
from ofa_pipeline.report.exports import metrics
from ofa_pipeline.report.write import METRICS_FILE, PAGE_FILE, write_report

__all__ = [
    "METRICS_FILE",
    "PAGE_FILE",
    "DeviceFolders",
    "ReportContents",
    "ReportFolders",
    "load_contents",
    "metrics",
    "write_report",
]
