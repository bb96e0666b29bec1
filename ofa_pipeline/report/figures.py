"""The charts of the report, each from the values that it shows."""

from collections.abc import Mapping, Sequence
from itertools import accumulate

from ofa_pipeline.report.charts import (
    Axis,
    Band,
    Line,
    Mark,
    Points,
    Rule,
    Style,
    draw_chart,
    linear_axis,
    spans,
)
from ofa_pipeline.report.contents import (
    DeviceFacts,
    FrontPoint,
    LatencyFacts,
    LatencySample,
    PhaseFacts,
    PredictorFacts,
    ReportContents,
    SubnetFacts,
)
from ofa_pipeline.report.standalone import standalone_chart
from ofa_pipeline.report.text import show_ms

SQUARE = 400.0
"""Height that makes the plot area of a scatter about square."""
TOLERANCE = 0.10
"""Relative error of a latency estimate that counts as good."""


LEGENDS: dict[str, tuple[tuple[Style, str], ...]] = {
    "training": (
        ("measured", "largest subnet, measured"),
        ("measured-2", "smallest subnet, measured"),
    ),
    "predictor": (
        ("estimated", "subnet, with the standard deviation of the prediction"),
        ("identity", "predicted = measured"),
        ("band", "twice the label noise"),
    ),
    "pareto": (
        ("pick", "what ships, measured on test, with 95 % intervals"),
        ("measured-faint", "candidate of the search, measured on selection"),
        ("estimated-faint", "Pareto front, estimated"),
        ("budget", "latency budget"),
    ),
    "latency": (
        ("estimated", "held-out subnet"),
        ("measured-faint", "subnet that the model was fitted to"),
        ("identity", "estimated = measured"),
        ("band", "within 10 %"),
    ),
}
"""What the marks of each kind of chart mean."""
_TITLES = {
    "training": "Accuracy against epochs",
    "predictor": "Predicted and measured top-1",
    "pareto": "Accuracy and latency",
    "latency": "Latency model",
}


def standalone_charts(charts: Mapping[str, str]) -> dict[str, str]:
    """Return every chart of `draw_all` as an SVG file with title and legend."""
    files = {}
    for name, chart in charts.items():
        kind, _, device = name.partition("-")
        title = f"{_TITLES[kind]}: {device}" if device else _TITLES[kind]
        files[name] = standalone_chart(chart, title=title, legend=LEGENDS[kind])
    return files


def draw_all(contents: ReportContents) -> dict[str, str]:
    """Return every chart by its kind, with the device where it is of one."""
    charts = {
        "training": training_chart(contents.phases),
        "predictor": predictor_chart(contents.predictor),
    }
    for device in contents.devices:
        charts[f"pareto-{device.name}"] = pareto_chart(device)
        charts[f"latency-{device.name}"] = latency_chart(device.name, device.latency)
    return charts


def training_chart(phases: Sequence[PhaseFacts]) -> str:
    """Draw top-1 of the smallest and the largest subnet over all epochs, phase by phase."""
    epochs = [epoch for phase in phases for epoch in phase.epochs]
    where = [f"{phase.name} epoch {epoch.epoch}" for phase in phases for epoch in phase.epochs]
    smallest = [100 * epoch.accuracy_smallest for epoch in epochs]
    largest = [100 * epoch.accuracy_largest for epoch in epochs]
    starts = [0.5, *(0.5 + n for n in accumulate(len(phase.epochs) for phase in phases))]
    labels = [phase.name for phase in phases]
    return draw_chart(
        [
            *spans(starts[:-1], end=starts[-1], labels=labels),
            *_curve(largest, where, name="largest", style="measured"),
            *_curve(smallest, where, name="smallest", style="measured-2"),
        ],
        x=_epoch_axis(len(epochs)),
        y=linear_axis([*smallest, *largest], label="top-1 on selection images (%)"),
        height=350,
        description="Line chart: top-1 of the largest and the smallest subnet after each epoch of "
        f"{len(phases)} phases. At the end {largest[-1]:.1f} % and {smallest[-1]:.1f} %.",
    )


def predictor_chart(facts: PredictorFacts) -> str:
    """Draw predicted over measured top-1, with the label noise around the diagonal."""
    measured = [100 * value for value in facts.measured]
    predicted = [100 * value for value in facts.predicted]
    spread = [100 * value for value in facts.predicted_std]
    noise = 100 * facts.noise_std
    x = linear_axis(measured, label="measured top-1 on selection images (%)")
    y = linear_axis([*measured, *predicted], label="predicted top-1, cross-validated (%)")
    ends = _ends(x, y)
    titles = [
        f"{arch_id}: measured {a:.2f} %, predicted {b:.2f} %"
        for arch_id, a, b in zip(facts.arch_ids, measured, predicted, strict=True)
    ]
    return draw_chart(
        [
            Band(x=ends, low=[v - 2 * noise for v in ends], high=[v + 2 * noise for v in ends]),
            Line(x=ends, y=ends, style="identity"),
            Points(
                x=measured,
                y=predicted,
                style="estimated",
                titles=titles,
                y_ranges=[(b - s, b + s) for b, s in zip(predicted, spread, strict=True)],
            ),
        ],
        x=x,
        y=y,
        height=SQUARE,
        description=f"Scatter: predicted over measured top-1 of {len(measured)} subnets, "
        f"Kendall tau {facts.kendall_tau:.2f}, root mean square error {100 * facts.rmse:.2f} "
        "percentage points.",
    )


def latency_chart(device: str, facts: LatencyFacts) -> str:
    """Draw estimated over measured latency, with the 10 % corridor around the diagonal."""
    fitted = [sample for sample in facts.samples if sample.role == "fit"]
    held_out = [sample for sample in facts.samples if sample.role == "holdout"]
    shown = [*fitted, *held_out]
    x = linear_axis([s.measured_ms for s in shown], label="measured p50 latency (ms a call)")
    y = linear_axis(
        [v for s in shown for v in (s.measured_ms, s.estimated_ms)],
        label="estimated latency (ms a call)",
    )
    ends = _ends(x, y)
    below, above = [v * (1 - TOLERANCE) for v in ends], [v * (1 + TOLERANCE) for v in ends]
    return draw_chart(
        [
            Band(x=ends, low=below, high=above),
            Line(x=ends, y=ends, style="identity"),
            _latency_points(fitted, style="measured-faint"),
            _latency_points(held_out, style="estimated"),
        ],
        x=x,
        y=y,
        height=SQUARE,
        description=f"Scatter for {device}: estimated over measured latency of {len(fitted)} "
        f"fitted and {len(held_out)} held-out subnets; {100 * facts.share_within(TOLERANCE):.0f} % "
        f"of the held-out ones are within {100 * TOLERANCE:.0f} %.",
    )


def pareto_chart(device: DeviceFacts) -> str:
    """Draw what ships, and pale what was estimated and measured while searching; and the budgets.

    What ships has its final figures, those of the table: top-1 on test and the certified latency.
    """
    search, served = device.search, device.served
    budgets = [budget_ms for budget_ms, _ in served]
    final = [subnet.p50_ms for _, subnet in served]
    right = 1.35 * max([*budgets, *final, *(point.latency_ms for point in search.verified)])
    front = [point for point in search.front if point.latency_ms <= right]
    shown = [*front, *search.verified]
    ends = [end for subnet in device.subnets for end in _interval(subnet)]
    return draw_chart(
        [
            *(Rule(x=budget, label=f"{budget:.3g} ms") for budget in budgets),
            Line(
                x=[point.latency_ms for point in front],
                y=[100 * point.accuracy_top1 for point in front],
                style="estimated-faint",
            ),
            _verified_points(search.verified),
            _final_points(device.subnets),
        ],
        x=linear_axis(
            [*budgets, *final, *(point.latency_ms for point in shown)],
            label="p50 latency (ms a call)",
        ),
        y=linear_axis([*ends, *(100 * point.accuracy_top1 for point in shown)], label="top-1 (%)"),
        height=370,
        description=f"Accuracy over latency on {device.name}. What ships: "
        + "; ".join(_final_title(subnet) for subnet in device.subnets)
        + f". Pale: the estimated Pareto front and {len(search.verified)} candidates measured in "
        "the search. Vertical lines: the latency budgets.",
    )


def _curve(values: Sequence[float], where: Sequence[str], *, name: str, style: Style) -> list[Mark]:
    """Return a line over the epochs with a dot for each."""
    numbers = [float(index + 1) for index in range(len(values))]
    titles = [
        f"{place}: {name} subnet {value:.2f} %" for place, value in zip(where, values, strict=True)
    ]
    return [
        Line(x=numbers, y=values, style=style),
        Points(x=numbers, y=values, style=style, titles=titles, radius=2.4),
    ]


def _epoch_axis(num_epochs: int) -> Axis:
    step = max(1, -(-num_epochs // 10))
    ticks = tuple(float(epoch) for epoch in range(step, num_epochs + 1, step))
    return Axis(label="epoch over all phases", low=0.5, high=num_epochs + 0.5, ticks=ticks)


def _latency_points(samples: Sequence[LatencySample], *, style: Style) -> Points:
    return Points(
        x=[sample.measured_ms for sample in samples],
        y=[sample.estimated_ms for sample in samples],
        style=style,
        titles=[
            f"{sample.arch_id}: measured {sample.measured_ms:.3f} ms, estimated "
            f"{sample.estimated_ms:.3f} ms ({100 * sample.relative_error:+.1f} %)"
            for sample in samples
        ],
        x_ranges=[(sample.interval.low, sample.interval.high) for sample in samples],
    )


def _verified_points(points: Sequence[FrontPoint]) -> Points:
    return Points(
        x=[point.latency_ms for point in points],
        y=[100 * point.accuracy_top1 for point in points],
        style="measured-faint",
        titles=[
            f"{point.arch_id}, while searching: {100 * point.accuracy_top1:.2f} % on selection, "
            f"p50 {show_ms(point.latency_ms)} ms"
            for point in points
        ],
    )


def _final_points(subnets: Sequence[SubnetFacts]) -> Points:
    return Points(
        x=[subnet.p50_ms for subnet in subnets],
        y=[100 * subnet.accuracy_top1 for subnet in subnets],
        style="pick",
        radius=5.5,
        titles=[_final_title(subnet) for subnet in subnets],
        labels=[subnet.arch.arch_id for subnet in subnets],
        x_ranges=[(subnet.p50_interval.low, subnet.p50_interval.high) for subnet in subnets],
        y_ranges=[_interval(subnet) for subnet in subnets],
    )


def _final_title(subnet: SubnetFacts) -> str:
    budgets = ", ".join(f"{budget:.3g}" for budget in subnet.budgets_ms)
    low, high = _interval(subnet)
    return (
        f"{subnet.arch.arch_id} for {budgets} ms: {100 * subnet.accuracy_top1:.2f} % on test "
        f"({low:.2f} to {high:.2f}), p50 {show_ms(subnet.p50_ms)} ms, p95 {show_ms(subnet.p95_ms)} "
        "ms"
    )


def _interval(subnet: SubnetFacts) -> tuple[float, float]:
    """Return the interval of the accuracy in per cent."""
    return 100 * subnet.accuracy_interval.low, 100 * subnet.accuracy_interval.high


def _ends(x: Axis, y: Axis) -> list[float]:
    """Return where the diagonal enters and leaves the plot area."""
    return [max(x.low, y.low), min(x.high, y.high)]
