"""An epoch in one line, for people who watch a training."""

from ofa_pipeline.training.checkpoint import EpochRecord

_TOP1 = "accuracy_top1_"
_PERCENT = 100
_WHOLE = 100
"""From this speed on no digits after the point are told."""


def describe_epoch(
    record: EpochRecord, epochs: int, *, images_per_s: float, title: str | None = None
) -> str:
    """Return a line such as ``elastic epoch 3 of 12: loss 0.41, top-1 87.3 % largest, 8 images/s``.

    Args:
        record: The epoch.
        epochs: Of the whole phase, warm-up included.
        images_per_s: Images that were trained on in a second, validation left out.
        title: What is trained, for people; None: the phase.
    """
    parts = [f"{title or record.phase} epoch {record.epoch} of {epochs}: loss {record.loss:.3g}"]
    accuracies = [
        f"{_PERCENT * value:.1f} % {name.removeprefix(_TOP1)}"
        for name, value in record.metrics.items()
        if name.startswith(_TOP1)
    ]
    if accuracies:
        parts.append("top-1 " + " and ".join(accuracies))
    return ", ".join([*parts, f"{_speed(images_per_s)} images/s"])


def _speed(images_per_s: float) -> str:
    """Return three digits or all before the point: ``0.812``, ``76.4``, ``1,220``."""
    return f"{images_per_s:.3g}" if images_per_s < _WHOLE else f"{images_per_s:,.0f}"
