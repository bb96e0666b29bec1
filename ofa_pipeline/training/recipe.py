"""What all phases of a training share."""

from dataclasses import dataclass

from ofa_pipeline.data.transforms import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all phases share."""

    batch_size: int
    momentum: float
    weight_decay: float
    label_smoothing: float
    distillation_weight: float
    augmentation: Augmentation
    seed: int
    batch_norm_images: int | None = None
    """Images of a batch that share batch-norm statistics; None: all of the batch. Smaller groups
    ("ghost batch norm") can be computed at the same time: Hoffer et al. 2017 (arXiv:1705.08741),
    section 4."""
    workers: int | None = None
    """CPU threads that compute gradients at the same time, each of another subnet or group of
    images; None: as many as the CPUs allow, with torch's threads in each. The weights do not
    depend on it. On CUDA the device itself works in parallel."""

    @property
    def group_size(self) -> int:
        """Images that share batch-norm statistics."""
        return min(self.batch_norm_images or self.batch_size, self.batch_size)

    @property
    def num_groups(self) -> int:
        """Groups of images of a batch that share batch-norm statistics."""
        return -(-self.batch_size // self.group_size)
