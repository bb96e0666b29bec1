"""How long a subnet is fine-tuned, by what it costs."""

_PART = 6
_FORWARD_AND_BACKWARD = 3
"""Forward passes that a step of the subnet costs; its teacher, the largest, makes one."""
_MIN_EPOCHS_FOR_ROUNDS = 6
"""Fewer are one round: a half of them would show nothing."""


def epochs_by_cost(macs: int, *, largest_macs: int, trained_epochs: int) -> int:
    """Return the epochs of a subnet's fine-tuning: about the same cost for all of a space.

    They cost as much as a sixth of the supernet's epochs would for the largest subnet, its teacher
    included. A small subnet has further to go, and its epochs are cheap (docs/recipes.md).

    Args:
        macs: Multiply-accumulates of the subnet, an image.
        largest_macs: Those of the largest, which teaches.
        trained_epochs: Of the supernet, in all phases together.

    Returns:
        At least 1 and at most `trained_epochs`.
    """
    of_largest = (_FORWARD_AND_BACKWARD + 1) * largest_macs
    of_subnet = _FORWARD_AND_BACKWARD * macs + largest_macs
    epochs = trained_epochs * of_largest // (_PART * of_subnet)
    return max(1, min(epochs, trained_epochs))


def round_lengths(epochs: int) -> tuple[int, ...]:
    """Return the epochs of each round: a half that shows whether it pays, and the rest.

    Args:
        epochs: Of all rounds together; 0 gives none.
    """
    rest = 0 if epochs < _MIN_EPOCHS_FOR_ROUNDS else epochs // 2
    return tuple(length for length in (epochs - rest, rest) if length)
