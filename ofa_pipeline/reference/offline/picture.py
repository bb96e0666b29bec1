"""The picture of a front."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.artifacts import write_bytes
from ofa_pipeline.report import Line, Points, Rule, draw_chart, linear_axis, standalone_chart


def draw_front(
    latency_ms: FloatArray,
    accuracy: FloatArray,
    *,
    budgets: Sequence[tuple[float, float]],
    path: Path,
) -> None:
    """Draw estimated accuracy against estimated latency, with the pick of each budget.

    Args:
        latency_ms: Latency of the efficient architectures, ascending.
        accuracy: Their accuracy, fractions.
        budgets: Each budget in milliseconds with the accuracy of its pick.
        path: The SVG file, written whole or not at all.
    """
    limits = [budget_ms for budget_ms, _ in budgets]
    picked = [100 * best for _, best in budgets]
    chart = draw_chart(
        [
            *(Rule(x=ms, label=f"{top1:.2f} %") for ms, top1 in zip(limits, picked, strict=True)),
            # Steps: what is the best below a latency stays so up to the next architecture.
            Line(
                x=np.repeat(latency_ms, 2)[1:].tolist(),
                y=np.repeat(100 * accuracy, 2)[:-1].tolist(),
                style="estimated",
            ),
            Points(x=limits, y=picked, style="pick"),
        ],
        x=linear_axis([*limits, *latency_ms.tolist()], label="estimated latency (ms)"),
        y=linear_axis([*picked, *(100 * accuracy).tolist()], label="estimated top-1 (%)"),
        height=350,
        description="Estimated top-1 over estimated latency as a line, the best architecture "
        f"within each of {len(budgets)} latency budgets as dots.",
    )
    write_bytes(path, standalone_chart(chart).encode())
