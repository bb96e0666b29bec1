"""The picture of a front."""

import io
from collections.abc import Sequence
from pathlib import Path

from ofa_pipeline.arch import FloatArray
from ofa_pipeline.artifacts import write_bytes

_INK, _ACCENT, _GRID = "#1f2937", "#c2410c", "#e5e7eb"


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
        path: The PNG file, written whole or not at all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.step(latency_ms, 100 * accuracy, where="post", color=_INK, linewidth=1.5)
    for budget_ms, best in budgets:
        axes.axvline(budget_ms, color=_GRID, linewidth=1.2, zorder=0)
        axes.plot([budget_ms], [100 * best], "o", color=_ACCENT, markersize=5)
        axes.annotate(
            f"{100 * best:.2f}",
            (budget_ms, 100 * best),
            textcoords="offset points",
            xytext=(-4, 6),
            ha="right",
            fontsize=8,
            color=_ACCENT,
        )
    axes.set_xlabel("estimated latency (ms)")
    axes.set_ylabel("estimated top-1 (%)")
    axes.set_title("Best subnet within each latency budget", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())
