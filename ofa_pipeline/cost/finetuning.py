"""How long subnets are fine-tuned by the rule, and in what rounds."""

_PART = 3
_MIN_EPOCHS_FOR_ROUNDS = 6
"""Fewer are one round: a half of them would show nothing."""


def finetuning_epochs(trained_epochs: int) -> int:
    """Return the epochs of fine-tuning: a third of the supernet's, so a third of training alone.

    Args:
        trained_epochs: Of the supernet, in all phases together; at least 1.
    """
    return -(-trained_epochs // _PART)


def round_lengths(epochs: int) -> tuple[int, ...]:
    """Return the epochs of each round: a half that shows whether it pays, and the rest.

    Args:
        epochs: Of all rounds together; 0 gives none.
    """
    rest = 0 if epochs < _MIN_EPOCHS_FOR_ROUNDS else epochs // 2
    return tuple(length for length in (epochs - rest, rest) if length)
