"""Small JSON documents of artifacts: one model each, which writes and reads it.

A document is a frozen pydantic model with the number of its format. It is written by
`artifacts.write_json` of its `Document.to_dict` and read by `read_document`, whose errors name the
file, the field, what was found and the command that makes the file again. ``docs/schemas/`` holds
their JSON Schemas. File names are in `artifacts.Layout`.

Two documents are elsewhere, because they must be read where pydantic is not: the manifest
(`artifacts.Manifest`), which trainings read, and what `specialize.classify` reads of a bundle.
"""

from ofa_pipeline.documents.base import (
    Document,
    Part,
    UnnumberedDocument,
    read_document,
)
from ofa_pipeline.documents.latency import (
    DeviceCard,
    DeviceProfile,
    FittedLatency,
    LatencyCosts,
    LatencyFigures,
    LatencyMeasurement,
    LatencyModelReport,
    LatencyReport,
    MeasurementNoise,
    ReferenceSubnet,
)
from ofa_pipeline.documents.search import (
    Candidate,
    PickedSubnet,
    Picks,
    RunnerUp,
    VerificationReport,
)

__all__ = [
    "Candidate",
    "DeviceCard",
    "DeviceProfile",
    "Document",
    "FittedLatency",
    "LatencyCosts",
    "LatencyFigures",
    "LatencyMeasurement",
    "LatencyModelReport",
    "LatencyReport",
    "MeasurementNoise",
    "Part",
    "PickedSubnet",
    "Picks",
    "ReferenceSubnet",
    "RunnerUp",
    "UnnumberedDocument",
    "VerificationReport",
    "read_document",
]
