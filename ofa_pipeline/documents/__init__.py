"""Small JSON documents of artifacts: one model each, which writes and reads it.

A document is a frozen pydantic model with the number of its format. It is written by
`artifacts.write_json` of its `Document.to_dict` and read by `read_document`, whose errors name the
file, the field, what was found and the command that makes the file again. ``docs/schemas/`` holds
their JSON Schemas. File names are in `artifacts.Layout`.

Two are plain dataclasses elsewhere, because what trains or starts fast must not import pydantic:
`artifacts.Manifest`, which checks itself, and `dataset_summary.DatasetSummary`, which
`read_document` checks all the same. `specialize.shipped_checks`, which ships, checks what is read
of a bundle by itself.
"""

from ofa_pipeline.documents.accuracy import (
    AccuracyNoise,
    LearningPoint,
    PredictionReport,
    PredictorReport,
    StoredPredictor,
)
from ofa_pipeline.documents.base import (
    Document,
    Part,
    UnnumberedDocument,
    read_document,
)
from ofa_pipeline.documents.bundle import (
    AccuracyFigures,
    BudgetChoice,
    BudgetVerdict,
    BundleEntry,
    BundleIndex,
    CalibrationImages,
    Card,
    CardFigures,
    ComputeCost,
    FinetuningCost,
    LatencyCertificate,
    ParityFigures,
    QuantizationFigures,
    Runs,
    SpentSeconds,
    SubnetDescription,
)
from ofa_pipeline.documents.certificate import (
    BudgetCertificate,
    DeviceCertificate,
    SubnetCertificate,
)
from ofa_pipeline.documents.dataset import ClassNames, PixelStatistics
from ofa_pipeline.documents.elsewhere import (
    Awaited,
    AwaitedFile,
    CardElsewhere,
    LoadElsewhere,
    MachineElsewhere,
    MeasuredRow,
    MeasurementSettings,
    MeasuringResult,
    MeasuringRound,
    MeasuringTask,
    NetworkElsewhere,
    ProfiledOn,
    SeenDevice,
    Session,
    Visit,
    WaitingRun,
)
from ofa_pipeline.documents.latency import (
    DeviceCard,
    DeviceProfile,
    FittedLatency,
    LatencyCosts,
    LatencyFigures,
    LatencyLearningPoint,
    LatencyMeasurement,
    LatencyModelReport,
    LatencyReport,
    LatencyResidual,
    LatencySelection,
    LaunchCosts,
    MeasurementNoise,
    PredictionInterval,
    Quantile,
    ReferenceSubnet,
    Verdict,
)
from ofa_pipeline.documents.recertification import CanaryFigures, Recertification
from ofa_pipeline.documents.registry import Receipt, Receipts, budget_alias
from ofa_pipeline.documents.search import (
    Candidate,
    PickedSubnet,
    Picks,
    RunnerUp,
    VerificationReport,
)

__all__ = [
    "AccuracyFigures",
    "AccuracyNoise",
    "Awaited",
    "AwaitedFile",
    "BudgetCertificate",
    "BudgetChoice",
    "BudgetVerdict",
    "BundleEntry",
    "BundleIndex",
    "CalibrationImages",
    "CanaryFigures",
    "Candidate",
    "Card",
    "CardElsewhere",
    "CardFigures",
    "ClassNames",
    "ComputeCost",
    "DeviceCard",
    "DeviceCertificate",
    "DeviceProfile",
    "Document",
    "FinetuningCost",
    "FittedLatency",
    "LatencyCertificate",
    "LatencyCosts",
    "LatencyFigures",
    "LatencyLearningPoint",
    "LatencyMeasurement",
    "LatencyModelReport",
    "LatencyReport",
    "LatencyResidual",
    "LatencySelection",
    "LaunchCosts",
    "LearningPoint",
    "LoadElsewhere",
    "MachineElsewhere",
    "MeasuredRow",
    "MeasurementNoise",
    "MeasurementSettings",
    "MeasuringResult",
    "MeasuringRound",
    "MeasuringTask",
    "NetworkElsewhere",
    "ParityFigures",
    "Part",
    "PickedSubnet",
    "Picks",
    "PixelStatistics",
    "PredictionInterval",
    "PredictionReport",
    "PredictorReport",
    "ProfiledOn",
    "Quantile",
    "QuantizationFigures",
    "Receipt",
    "Receipts",
    "Recertification",
    "ReferenceSubnet",
    "RunnerUp",
    "Runs",
    "SeenDevice",
    "Session",
    "SpentSeconds",
    "StoredPredictor",
    "SubnetCertificate",
    "SubnetDescription",
    "UnnumberedDocument",
    "Verdict",
    "VerificationReport",
    "Visit",
    "WaitingRun",
    "budget_alias",
    "read_document",
]
OPEN_MODULES = ("answers", "lineage")
"""Documents of the commands with `--json` and of the service, which nobody else waits for."""
