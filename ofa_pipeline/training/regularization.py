"""What keeps a subnet from learning its images by heart, and which subnets of a step have it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Regularization:
    """What one subnet of a step is trained with."""

    dropout: float | None
    """Before the classifier; None: the network's own."""
    drop_connect: float
    """See `ofa_pipeline.supernet.drop_connect_rates`."""
    label_smoothing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestOnly:
    """Regularization of the largest subnet alone: small ones have no capacity to give away.

    What is given is that of the largest, and the others have none of it; what is None all have as
    the recipe says.

    Source:
        BigNAS, Yu et al. 2020 (arXiv:2003.11142), section 3.1, "regularization".
    """

    dropout: float | None = None
    drop_connect: float = 0.0
    label_smoothing: float | None = None

    def of(self, subnet: int, *, label_smoothing: float) -> Regularization:
        """Return what a subnet of a step is trained with.

        Args:
            subnet: Its place in the step; the largest is the first.
            label_smoothing: What the recipe says.
        """
        is_largest = subnet == 0
        smoothing = self.label_smoothing if is_largest else 0.0
        return Regularization(
            dropout=self.dropout if is_largest or self.dropout is None else 0.0,
            drop_connect=self.drop_connect if is_largest else 0.0,
            label_smoothing=label_smoothing if self.label_smoothing is None else smoothing or 0.0,
        )
