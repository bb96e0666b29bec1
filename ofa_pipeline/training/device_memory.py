"""What to say where a training step does not fit an accelerator."""

import torch

from ofa_pipeline.errors import DeviceMemoryError
from ofa_pipeline.training.recipe import Recipe


def too_large(
    error: torch.OutOfMemoryError, *, recipe: Recipe, phase_name: str, largest_px: int
) -> DeviceMemoryError:
    """Return the error that names what to lower.

    Args:
        error: What torch says.
        recipe: Its batch is computed in one pass, one subnet after the other.
        phase_name: Of the phase that is trained.
        largest_px: Largest image size of the step.
    """
    reason = str(error).partition("\n")[0]
    groups = recipe.batch_norm_images
    keep = "" if groups is None else f" (batch_norm_images: {groups} stays as it is)"
    return DeviceMemoryError(
        f"a pass over {recipe.batch_size} images of {largest_px} px must fit the accelerator in "
        f"phase {phase_name}, and does not: {reason} "
        f"Lower training.batch_size{keep}, and the learning rates with it; or the largest of the "
        "space's image sizes; or spread each batch over several GPUs with compute.training.launch. "
        "subnets_per_step makes no difference: they are computed one after the other. Look with "
        "nvidia-smi for other programs on the GPU. The last checkpoint is kept."
    )
