"""Writes the files of a report."""

from pathlib import Path

from ofa_pipeline.artifacts import Layout, write_bytes, write_json
from ofa_pipeline.report.contents import ReportContents
from ofa_pipeline.report.exports import details, metrics, plot_tables
from ofa_pipeline.report.figures import draw_all, standalone_charts
from ofa_pipeline.report.page import render_page

PLOTS_FOLDER = "plots"
FIGURES_FOLDER = "figures"


def write_report(contents: ReportContents, folder: Path) -> None:
    """Write the page, the metrics, the plot tables and the charts.

    The same contents give the same bytes: no clock, host name or random id is in them.

    Args:
        contents: What the report says.
        folder: Gets ``report.html``, ``metrics.json``, ``details.json``, ``plots/*.csv`` and
            ``figures/*.svg``.
    """
    charts = draw_all(contents)
    write_bytes(folder / Layout.REPORT_PAGE, render_page(contents, charts).encode())
    write_json(folder / Layout.METRICS, metrics(contents))
    write_json(folder / Layout.DETAILS, details(contents))
    for name, text in plot_tables(contents).items():
        write_bytes(folder / PLOTS_FOLDER / name, text.encode())
    for name, chart in standalone_charts(charts).items():
        write_bytes(folder / FIGURES_FOLDER / f"{name}.svg", chart.encode())
