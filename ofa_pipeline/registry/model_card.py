"""The page of a version: how good and how fast it is, how to load it, what it was made from."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from ofa_pipeline.artifacts import Layout
from ofa_pipeline.documents import LatencyFigures
from ofa_pipeline.registry.choosing import dataset_label
from ofa_pipeline.registry.first_run import first_run_rows
from ofa_pipeline.registry.protocol import Entry
from ofa_pipeline.registry.record import SubnetRecord

MODEL_TRAINING = "?workflowType=machine_learning"
"""Makes MLflow's pages open as those of model training, whatever was looked at before."""
CONFIDENCE = 0.95
_SHOWN_CLASSES = 20
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|#]")
"""What Markdown or HTML would take for something else than a name."""
_SHOWN_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Links:
    """Pages of MLflow that a card leads to."""

    experiment_id: str
    run_id: str
    """Of the subnet."""
    works: Mapping[str, str] = field(default_factory=dict)
    """Runs by the digest of the artifact that they show."""

    def run(self, run_id: str) -> str:
        """Return the address of a run, wherever MLflow is served."""
        return f"#/experiments/{self.experiment_id}/runs/{run_id}{MODEL_TRAINING}"


def model_card(entry: Entry, *, model_id: str, links: Links) -> str:
    """Return the card of a subnet in Markdown.

    Args:
        entry: The subnet, its bundle, and the certificate of its latency where there is one.
        model_id: Of its LoggedModel.
        links: Pages that the card leads to.
    """
    record = entry.record
    parts = [
        # Tables of versions show how it begins, as plain text.
        f"{record.accuracy_top1:.1%} top-1 in {record.latency_ms:.3g} ms on {record.device}. "
        f"{_verdicts(record)}",
        f"A subnet of one once-for-all network ({record.space_id}) that sorts images of "
        f"{dataset_label(record)} into {record.num_classes} classes{_classes(entry)}.",
        "\n".join(["| | |", "| --- | --- |", *_rows(entry)]),
        _loading(model_id),
        "**Made from** "
        + ", ".join(_lineage(record, links))
        + f". [Its run]({links.run(links.run_id)}).",
    ]
    return "\n\n".join(parts)


def _verdicts(record: SubnetRecord) -> str:
    """Say of every budget how the median and the slowest of 20 calls lie."""
    figures = record.latency[record.device]
    texts = []
    for budget_ms in record.budgets_ms:
        middle = f"{_side(figures.p50_ms, budget_ms)} it"
        if figures.p50_ms <= budget_ms < figures.ci_high_ms:
            middle += " by less than its noise"
        slow = _side(figures.p95_ms, budget_ms)
        texts.append(f"Budget {budget_ms:.4g} ms: p50 is {middle}, p95 is {slow} it.")
    return " ".join(texts)


def _side(value_ms: float, budget_ms: float) -> str:
    return "within" if value_ms <= budget_ms else "over"


def _rows(entry: Entry) -> Iterator[str]:
    """Yield the rows of the table of figures."""
    record, certificate = entry.record, entry.certificate
    low, high = proportion_interval(record.accuracy_top1, count=record.num_test_images)
    on = f"on {record.num_test_images:,} test images"
    yield f"| top-1 {on} | {record.accuracy_top1:.2%} (95 % interval {low:.1%} to {high:.1%}) |"
    yield f"| top-5 {on} | {record.accuracy_top5:.2%} |"
    for device, figures in record.latency.items():
        yield f"| latency on {device} | {_latency(figures)} |"
    if certificate is not None:
        card = certificate.card
        threads = f"{card.threads} thread" + ("s" if card.threads > 1 else "")
        yield (
            f"| measured on | {card.hardware}, {card.runtime} {card.runtime_version}, "
            f"{card.precision}, {threads}, batch {card.batch_size}{card.told} |"
        )
        if certificate.is_contended:
            yield "| noise | the machine was never quiet for long: these latencies are rough |"
        if certificate.is_warm is False:
            yield "| warm-up | calls still became faster when they were timed: these are rough |"
        yield from (f"| {what} | {value} |" for what, value in first_run_rows(certificate))
    yield f"| size | {record.macs / 1e6:,.3g} M MACs, {record.num_params:,} parameters |"
    yield f"| architecture | `{record.arch.arch_id}`: {record.arch} |"


def _latency(figures: LatencyFigures) -> str:
    return (
        f"p50 {figures.p50_ms:.4g} ms (95 % interval {figures.ci_low_ms:.4g} to "
        f"{figures.ci_high_ms:.4g}), p95 {figures.p95_ms:.4g} ms, {figures.num_runs} calls"
    )


def _loading(model_id: str) -> str:
    return (
        "**Load it.** It takes image files (bytes, base64) or pixels (uint8).\n\n"
        "```python\n"
        "import mlflow\n"
        f'model = mlflow.pyfunc.load_model("models:/{model_id}")\n'
        'print(model.predict([open("photo.jpg", "rb").read()]))\n'
        "```"
    )


def _lineage(record: SubnetRecord, links: Links) -> Iterator[str]:
    """Yield what it was made from, with the pages of MLflow that show it."""
    shown = list(links.works)
    lineage = sorted(
        record.lineage.items(),
        key=lambda item: (_place(item[0]), shown.index(item[1]) if item[1] in shown else -1),
    )
    for path, digest in lineage:
        name = f"{path.removeprefix('artifacts/')} `{digest[:_SHOWN_DIGITS]}`"
        run_id = links.works.get(digest)
        yield f"[{name}]({links.run(run_id)})" if run_id else name
    yield f"bundle `{record.bundle_digest[:_SHOWN_DIGITS]}`"


def _place(path: str) -> int:
    """Order artifacts as they are made."""
    order = ("dataset", "initial", "supernet", "accuracy", "predictor", "latency", "search")
    kind = path.removeprefix("artifacts/").partition("/")[0]
    return order.index(kind) if kind in order else len(order)


def _classes(entry: Entry) -> str:
    path = entry.bundle_folder / Layout.SUBNET
    names: list[str] = json.loads(path.read_text()).get("class_names", []) if path.exists() else []
    if not names:
        return ""
    shown = ", ".join(_MARKDOWN.sub(r"\\\g<0>", name) for name in names[:_SHOWN_CLASSES])
    rest = len(names) - _SHOWN_CLASSES
    return f": {shown}" + (f" and {rest} more" if rest > 0 else "")


def proportion_interval(share: float, *, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion.

    Args:
        share: Observed, in [0, 1].
        count: Number of independent trials, at least 1.

    Source:
        Wilson 1927, the score interval, as the report has it; without scipy, which takes longer
        to import than registering takes.
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    half = z * spread / (1 + z**2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)
