"""Key figures for ``dvc metrics`` and for programs, and tables for spreadsheets.

The same contents give the same bytes. Accuracy is a fraction, latency milliseconds a call; a
column's name says ``estimated`` where it is not measured.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ofa_pipeline.documents import Recertification
from ofa_pipeline.report.contents import DeviceFacts, PredictorFacts, ReportContents, SubnetFacts
from ofa_pipeline.report.decisions import answer
from ofa_pipeline.report.figures import TOLERANCE

_DIGITS = 6
"""Significant digits of a figure; more is noise."""


def metrics(contents: ReportContents) -> dict[str, float]:
    """Return the few figures that runs are compared by: a line of a terminal holds them.

    ``accuracy_top1`` is of the best subnet, on test; ``tau`` is Kendall's of the predictor;
    ``over_p50`` and ``over_p95`` count the budgets that the median call, and more than one call in
    twenty, miss.
    """
    served = [pair for device in contents.devices for pair in device.served]
    return {
        "accuracy_top1": round(contents.best.accuracy_top1, 4),
        "tau": round(contents.predictor.kendall_tau, 3),
        "over_p50": sum(subnet.verdict_of(budget_ms) == "over" for budget_ms, subnet in served),
        "over_p95": sum(subnet.p95_ms > budget_ms for budget_ms, subnet in served),
        "num_warnings": len(contents.warnings),
    }


def details(contents: ReportContents) -> dict[str, Any]:
    """Return the key figures as nested plain values, ready for JSON."""
    last = contents.phases[-1].epochs[-1]
    best = contents.best
    return {
        "dataset": {
            "num_classes": len(contents.dataset.class_names),
            "num_images": dict(contents.dataset.num_images),
            "num_unreadable": contents.dataset.num_unreadable,
        },
        "supernet": {
            "accuracy_top1_selection_largest": _rounded(last.accuracy_largest),
            "accuracy_top1_selection_smallest": _rounded(last.accuracy_smallest),
        },
        "predictor": _predictor_metrics(contents.predictor),
        "num_warnings": len(contents.warnings),
        "verdict": answer(contents).headline,
        "best": {"device": best.device, **_subnet_metrics(best)},
        "devices": {device.name: _device_metrics(device) for device in contents.devices},
    }


def plot_tables(contents: ReportContents) -> dict[str, str]:
    """Return the CSV text of each table, by file name."""
    return {
        "training_history.csv": _csv(_history_rows(contents)),
        "pareto_front.csv": _csv(_front_rows(contents)),
        "predictor.csv": _csv(_predictor_rows(contents.predictor)),
        "latency_model.csv": _csv(_latency_rows(contents)),
    }


def _predictor_metrics(facts: PredictorFacts) -> dict[str, float]:
    return {
        "num_subnets": len(facts.measured),
        "rmse": _rounded(facts.rmse),
        "kendall_tau": _rounded(facts.kendall_tau),
        "kendall_tau_top_decile": _rounded(facts.kendall_tau_top_decile),
        "regret_of_5_verified": _rounded(facts.regret),
        "coverage_90": _rounded(facts.coverage),
        "label_noise_std": _rounded(facts.noise_std),
    }


def _device_metrics(device: DeviceFacts) -> dict[str, Any]:
    errors = device.latency.errors()
    return {
        "latency_model": {
            "num_held_out": len(errors),
            "median_relative_error": _rounded(statistics.median(errors)),
            "max_relative_error": _rounded(max(errors)),
            "share_within_10_percent": _rounded(device.latency.share_within(TOLERANCE)),
        },
        "num_within_budget": sum(subnet.within_budget for subnet in device.subnets),
        "measured_again": _again_metrics(device.again) if device.again else None,
        "budgets": {
            f"budget_{number + 1}": {
                "budget_ms": _rounded(budget_ms),
                "verdict": subnet.verdict_of(budget_ms),
                **_subnet_metrics(subnet),
            }
            for number, (budget_ms, subnet) in enumerate(device.served)
        },
    }


def _again_metrics(again: Recertification) -> dict[str, Any]:
    return {
        "measured_at": again.measured_at.isoformat(),
        "num_subnets": len(again.canaries),
        "num_within_budget_p50": again.num_within("p50"),
        "num_within_budget_p95": again.num_within("p95"),
        "largest_relative_change": _rounded(again.largest_change),
        "has_moved": again.has_moved,
    }


def _subnet_metrics(subnet: SubnetFacts) -> dict[str, Any]:
    return {
        "arch_id": subnet.arch.arch_id,
        "accuracy_top1_test": _rounded(subnet.accuracy_top1),
        "p50_ms": _rounded(subnet.p50_ms),
        "p95_ms": _rounded(subnet.p95_ms),
        "macs": subnet.macs,
        "num_params": subnet.num_params,
    }


def _history_rows(contents: ReportContents) -> Iterable[Mapping[str, object]]:
    number = 0
    for phase in contents.phases:
        for epoch in phase.epochs:
            number += 1
            yield {
                "epoch": number,
                "phase": phase.name,
                "train_loss": epoch.train_loss,
                "accuracy_top1_smallest": epoch.accuracy_smallest,
                "accuracy_top1_largest": epoch.accuracy_largest,
            }


def _front_rows(contents: ReportContents) -> Iterable[Mapping[str, object]]:
    for device in contents.devices:
        named = (
            ("front", "estimated", device.search.front),
            ("verified", "measured", device.search.verified),
            ("pick", "measured", device.search.picks),
        )
        for role, kind, points in named:
            for point in points:
                yield {
                    "device": device.name,
                    "role": role,
                    "kind": kind,
                    "arch_id": point.arch_id,
                    "latency_ms": point.latency_ms,
                    "accuracy_top1_selection": point.accuracy_top1,
                }


def _predictor_rows(facts: PredictorFacts) -> Iterable[Mapping[str, object]]:
    columns = (facts.arch_ids, facts.measured, facts.predicted, facts.predicted_std)
    for arch_id, measured, predicted, std in zip(*columns, strict=True):
        yield {
            "arch_id": arch_id,
            "accuracy_top1_measured": measured,
            "accuracy_top1_estimated": predicted,
            "accuracy_top1_estimated_std": std,
        }


def _latency_rows(contents: ReportContents) -> Iterable[Mapping[str, object]]:
    for device in contents.devices:
        for sample in device.latency.samples:
            yield {
                "device": device.name,
                "role": sample.role,
                "arch_id": sample.arch_id,
                "measured_ms": sample.measured_ms,
                "estimated_ms": sample.estimated_ms,
            }


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, _names(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _plain(value) for name, value in row.items()})
    return text.getvalue()


def _names(row: Mapping[str, object]) -> Sequence[str]:
    return list(row)


def _plain(value: object) -> object:
    return _rounded(value) if isinstance(value, float) else value


def _rounded(value: float) -> float:
    """Round to `_DIGITS` significant digits."""
    return float(f"{value:.{_DIGITS}g}")
