"""The picture of a device: every subnet, the Pareto front, and a budget."""

from collections.abc import Sequence

from markupsafe import Markup

from ofa_pipeline.documents import Quantile
from ofa_pipeline.registry import RegisteredSubnet
from ofa_pipeline.report import Line, Points, Rule, draw_chart, linear_axis

MAX_DOTS = 2000
"""More are slow to draw and cannot be told apart; the front is always drawn."""


def front_plot(
    subnets: Sequence[RegisteredSubnet],
    front: Sequence[RegisteredSubnet],
    *,
    device: str,
    quantile: Quantile,
    budget_ms: float | None,
) -> Markup:
    """Return the picture as SVG, whose dots tell on hover what they are.

    Args:
        subnets: Everything on the device.
        front: Its Pareto front, the fastest first.
        device: Whose latency is drawn.
        quantile: Of the latency.
        budget_ms: Drawn as a line; None: none.
    """
    on_front = {item.model_uri for item in front}
    others = [item for item in subnets if item.model_uri not in on_front]
    others = others[:: max(1, len(others) // MAX_DOTS)]

    def latency(item: RegisteredSubnet) -> float:
        return item.record.latency[device].value_ms(quantile)

    def points(items: Sequence[RegisteredSubnet], *, is_front: bool) -> Points:
        return Points(
            x=[latency(item) for item in items],
            y=[100 * item.record.accuracy_top1 for item in items],
            style="pick" if is_front else "measured-faint",
            titles=[_title(item, latency(item)) for item in items],
        )

    drawn = [*front, *others]
    limits = [latency(item) for item in drawn] + ([budget_ms] if budget_ms else [])
    x = linear_axis(limits, label=f"latency {quantile} (ms)")
    y = linear_axis([100 * item.record.accuracy_top1 for item in drawn], label="top-1 on test (%)")
    chart = draw_chart(
        [
            *([Rule(x=budget_ms, label=f"{budget_ms:.3g} ms")] if budget_ms else []),
            points(others, is_front=False),
            Line(
                x=[latency(item) for item in front],
                y=[100 * item.record.accuracy_top1 for item in front],
                style="measured",
            ),
            points(front, is_front=True),
        ],
        x=x,
        y=y,
        description=f"Top-1 over latency on {device}: {len(subnets)} subnets, {len(front)} of them "
        "on the Pareto front.",
    )
    return Markup(chart)  # noqa: S704 - made by draw_chart, which escapes


def _title(item: RegisteredSubnet, latency_ms: float) -> str:
    record = item.record
    return (
        f"{record.arch.arch_id} v{item.version}: {record.accuracy_top1:.2%}, {latency_ms:.3g} ms, "
        f"{record.macs / 1e6:.2f} M MACs"
    )
