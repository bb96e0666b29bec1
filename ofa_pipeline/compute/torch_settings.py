"""The settings of torch that are part of a result's bits, carried to another process."""

import os
from dataclasses import dataclass
from typing import Any, Self

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchSettings:
    """How torch computes in a process."""

    threads: int
    """CPU threads within one operation."""
    is_deterministic: bool
    warns_only: bool
    """Whether a kernel without a deterministic form only warns."""
    fills_memory: bool
    """Whether results are filled before they are computed."""
    allows_tf32: bool
    cublas_workspace: str | None
    """Value of the variable that cuBLAS reads; None where it is not set."""

    @classmethod
    def of_this_process(cls) -> Self:
        """Return the settings that hold here and now."""
        import torch

        fill: Any = torch.utils.deterministic
        return cls(
            threads=torch.get_num_threads(),
            is_deterministic=torch.are_deterministic_algorithms_enabled(),
            warns_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            fills_memory=fill.fill_uninitialized_memory,
            allows_tf32=torch.backends.cudnn.allow_tf32,
            cublas_workspace=os.environ.get(_WORKSPACE),
        )

    def apply(self) -> None:
        """Compute in this process as in the one that the settings are of."""
        if self.cublas_workspace is not None:
            os.environ[_WORKSPACE] = self.cublas_workspace
        import torch

        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.is_deterministic, warn_only=self.warns_only)
        fill: Any = torch.utils.deterministic
        fill.fill_uninitialized_memory = self.fills_memory
        torch.backends.cudnn.allow_tf32 = self.allows_tf32
