"""What a stage keeps of a device elsewhere, and by which cluster it may be reached."""

from ofa_pipeline.devices.elsewhere import ElsewhereStore
from ofa_pipeline.stages.run import StageRun


def store_of(stage: StageRun) -> ElsewhereStore:
    """Return what is kept of the stage's device; no measurement depends on the cluster."""
    cluster = stage.context.params.compute.fan_out.address
    return ElsewhereStore(stage.layout, stage.item, cluster=cluster)
