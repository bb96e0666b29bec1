"""The HTML page: one file that needs nothing beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.dataset_summary import DatasetSummary, summary_entries
from ofa_pipeline.report.architecture import draw_architecture
from ofa_pipeline.report.charts import style_sheet
from ofa_pipeline.report.contents import (
    CONFIDENCE,
    ConfusionFacts,
    ReportContents,
)
from ofa_pipeline.report.cost import CostFacts
from ofa_pipeline.report.decisions import answer
from ofa_pipeline.report.figures import LEGENDS
from ofa_pipeline.report.text import (
    FILTERS,
    show_counted,
    show_duration,
)
from ofa_pipeline.run_warnings import count_text

MATRIX_CLASSES = 20
"""Most classes that a confusion matrix is drawn for; more are listed as confusions."""
LISTED_CONFUSIONS = 10
SPLIT_USES = {
    "train": "weights",
    "calibration": "batch-norm statistics of each subnet",
    "selection": "comparing and choosing subnets",
    "test": "the accuracy of what ships, nothing else",
}

VERDICTS = {
    "within": "within",
    "within_noise": "within, by less than the noise",
    "over": "over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of the confusion matrix."""

    count: int
    style: str
    share: str
    """Share of the row, as the style sheet takes it; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the confusion matrix."""

    name: str
    cells: tuple[Cell, ...]
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """One class that was taken for another."""

    true: str
    predicted: str
    count: int
    share: float
    """Share of the true class."""


def render_page(contents: ReportContents, charts: Mapping[str, str]) -> str:
    """Return the page as HTML: the same contents give the same text.

    Args:
        contents: What the page says.
        charts: SVG by name, from `draw_all`.
    """
    environment = Environment(
        loader=PackageLoader("ofa_pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    confusion = contents.confusion
    small = confusion is not None and len(confusion.class_names) <= MATRIX_CLASSES
    return environment.get_template("report.html.j2").render(
        contents=contents,
        css=_trusted(style_sheet("chart.css") + style_sheet("page.css")),
        charts={name: _trusted(chart) for name, chart in charts.items()},
        confidence=CONFIDENCE,
        answer=answer(contents),
        legends=LEGENDS,
        architectures=drawn_architectures(contents),
        made=contents.cost.finished,
        split_uses=SPLIT_USES,
        warnings_title=count_text(contents.warnings),
        dataset_entries=dataset_entries(contents.dataset.summary),
        matrix=confusion_rows(confusion) if confusion and small else (),
        confusions=most_confused(confusion) if confusion else (),
        verdicts=VERDICTS,
        cost_text=cost_text(contents.cost),
        elastic_names=tuple(
            dict.fromkeys(name for phase in contents.phases for name in phase.elastic)
        ),
        phase_files=[phase.file for phase in contents.phases],
        subnet_files=[subnet.file for subnet in contents.subnets],
        again_files=again_files(contents),
    )


def again_files(contents: ReportContents) -> list[str]:
    """Return the files of what was measured again, relative to the workspace."""
    layout = Layout(Path())
    return [
        (layout.recertified(device.name) / Layout.RECERTIFICATION).as_posix()
        for device in contents.devices
        if device.again
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """An architecture and what it is for."""

    svg: Markup
    used_for: str


def drawn_architectures(contents: ReportContents) -> dict[str, Drawn]:
    """Return each architecture that ships, once, by its id."""
    uses: dict[str, list[str]] = {}
    for device in contents.devices:
        for budget_ms, subnet in device.served:
            use = f"{device.name} up to {budget_ms:.3g} ms"
            uses.setdefault(subnet.arch.arch_id, []).append(use)
    archs = {subnet.arch.arch_id: subnet.arch for subnet in contents.subnets}
    return {
        arch_id: Drawn(
            svg=_trusted(draw_architecture(contents.space, archs[arch_id])),
            used_for=", ".join(found),
        )
        for arch_id, found in uses.items()
    }


def cost_text(cost: CostFacts) -> str:
    """Return from how many subnets on once-for-all is cheaper, in words."""
    once, finetuning_s, alone_s = cost.total_once, cost.finetuning_s, cost.alone_s
    if once is None or finetuning_s is None or alone_s is None:
        return (
            "From how many subnets on once-for-all is cheaper than training each alone cannot be "
            "told: not all of the seconds are known. Stages note them when they run."
        )
    at_least = "" if once.is_complete else "at least "
    sums = (
        f"What is done once took {at_least}{show_duration(cost.once_s or 0)} of "
        f"{'wall' if cost.on_cuda else 'CPU'} time, a subnet is "
        f"fine-tuned in {show_duration(finetuning_s)} on average, and training it alone takes "
        f"{show_duration(alone_s)}"
    )
    count = len(cost.subnets)
    spent = (cost.once_s or 0) + count * finetuning_s
    here = (
        f"The {show_counted(count, 'subnet')} here took {at_least}{show_duration(spent)}; alone "
        f"{'it takes' if count == 1 else 'they take'} {show_duration(count * alone_s)}."
    )
    if cost.cheaper_from is None:
        return (
            f"{sums}. So once-for-all is not cheaper, for any number of subnets: fine-tuning costs "
            f"as much as training alone. {here}"
        )
    cheaper = show_counted(cost.cheaper_from, "subnet")
    return f"{sums}. So once-for-all is cheaper from {cheaper} on. {here}"


def dataset_entries(summary: DatasetSummary) -> list[tuple[str, list[str]]]:
    """Return what the summary of the dataset says: a word, and the lines behind it."""
    entries: list[tuple[str, list[str]]] = []
    for label, text in summary_entries(summary):
        if label:
            entries.append((label, [text]))
        else:
            entries[-1][1].append(text)
    return entries + [("warning", [text]) for text in summary.warnings]


def confusion_rows(confusion: ConfusionFacts) -> tuple[Row, ...]:
    """Return the confusion matrix with the shade of each cell.

    Hits are shaded by their share of the row, misses by its square root: a few per cent of
    confusions must be seen beside the hits.
    """
    rows = []
    for index, (name, counts) in enumerate(
        zip(confusion.class_names, confusion.counts, strict=True)
    ):
        total = max(sum(counts), 1)
        cells = [
            _cell(count, share=count / total, is_hit=column == index)
            for column, count in enumerate(counts)
        ]
        rows.append(Row(name=name, cells=tuple(cells), recall=counts[index] / total))
    return tuple(rows)


def most_confused(confusion: ConfusionFacts) -> tuple[Confusion, ...]:
    """Return the most frequent confusions, the most frequent first."""
    names = confusion.class_names
    found = [
        Confusion(true=names[i], predicted=names[j], count=count, share=count / sum(counts))
        for i, counts in enumerate(confusion.counts)
        for j, count in enumerate(counts)
        if count and i != j
    ]
    found.sort(key=lambda item: (-item.count, item.true, item.predicted))
    return tuple(found[:LISTED_CONFUSIONS])


def _cell(count: int, *, share: float, is_hit: bool) -> Cell:
    if not count:
        return Cell(count=0, style="none", share="")
    shade = share if is_hit else share**0.5
    return Cell(count=count, style="hit" if is_hit else "miss", share=f"{shade:.3f}")


def _trusted(text: str) -> Markup:
    """Mark text as safe: our own style sheet, or a chart whose texts are escaped already."""
    return Markup(text)  # noqa: S704
