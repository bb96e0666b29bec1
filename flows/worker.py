"""What a worker of a Prefect server does before each run: the step that `prefect.yaml` names."""

import os
from pathlib import Path

from ofa_pipeline.errors import OfaPipelineError

_NEEDED = ("params.yaml", "dvc.yaml")


def enter_workspace(directory: str = "") -> dict[str, str]:
    """Make the workspace the current folder, to which the parameters of the run are relative.

    Args:
        directory: The workspace, absolute; `prefect.yaml` gives the OFA_WORKSPACE of the worker.

    Returns:
        ``directory``: where the run is, as Prefect's own step of this kind answers.

    Raises:
        OfaPipelineError: If the worker has no OFA_WORKSPACE, or it is no workspace there.
    """
    wanted = "OFA_WORKSPACE of the worker must be the absolute path of a workspace"
    then = "Start the worker again with OFA_WORKSPACE=/path/to/workspace before its command."
    if not directory:
        raise OfaPipelineError(f"{wanted}, but is not set. {then}")
    root = Path(directory).expanduser()
    if not root.is_absolute():
        raise OfaPipelineError(f"{wanted}, got {directory!r}, which is relative. {then}")
    missing = [name for name in _NEEDED if not (root / name).is_file()]
    if missing:
        raise OfaPipelineError(
            f"{wanted}, but {root} has no {' and no '.join(missing)}. "
            "`ofa-pipeline init` makes a workspace of a folder. " + then
        )
    os.chdir(root)
    return {"directory": str(Path.cwd())}
