"""Where everything of a workspace lies, and what it is called."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of a workspace."""

    root: Path

    # ---- names of documents

    MANIFEST: ClassVar[str] = "manifest.json"
    """The manifest of every artifact."""
    ACCURACY_NOISE: ClassVar[str] = "noise.json"
    """The noise of the accuracies: `documents.AccuracyNoise`."""
    AWAITED: ClassVar[str] = "awaited.json"
    """What a stage waits for of a device elsewhere: `documents.Awaited`."""
    SEEN_DEVICE: ClassVar[str] = "seen.json"
    """What a device elsewhere was when it was asked last: `documents.SeenDevice`."""
    BUNDLES: ClassVar[str] = "bundles.json"
    """The bundles of a device: `documents.BundleIndex`."""
    CARD: ClassVar[str] = "card.json"
    """What is known of a bundle: `documents.Card`."""
    CLASSES: ClassVar[str] = "classes.json"
    """The classes of the dataset: `documents.ClassNames`."""
    DATASET_SUMMARY: ClassVar[str] = "summary.json"
    """What the preparation of the dataset found: `dataset_summary.DatasetSummary`."""
    DEVICE_PROFILE: ClassVar[str] = "profile.json"
    """What was measured on a device: `documents.DeviceProfile`."""
    LATENCY_MODEL: ClassVar[str] = "model.json"
    """The latency model of a device: `documents.FittedLatency`."""
    DETAILS: ClassVar[str] = "details.json"
    """The figures of the report by device and budget: names and numbers."""
    METRICS: ClassVar[str] = "metrics.json"
    """The few figures that runs are compared by, as DVC reads them: names and numbers."""
    PICKS: ClassVar[str] = "picks.json"
    """What a search picked: `documents.Picks`."""
    PREDICTOR: ClassVar[str] = "predictor.json"
    """What the accuracy predictor is: `documents.StoredPredictor`."""
    PREDICTOR_REPORT: ClassVar[str] = "report.json"
    """How good the accuracy predictor is: `documents.PredictorReport`."""
    RECEIPTS: ClassVar[str] = "receipts.json"
    """What was registered: `documents.Receipts`."""
    RECERTIFICATION: ClassVar[str] = "recertification.json"
    """What a device measured again: `documents.Recertification`."""
    STATISTICS: ClassVar[str] = "statistics.json"
    """The pixels of the dataset: `documents.PixelStatistics`."""
    STUDY: ClassVar[str] = "study.journal"
    """The measured subnets of a search, as a study that Optuna opens: `search.ledger`."""
    SUBNET: ClassVar[str] = "subnet.json"
    """The network of a bundle: `documents.SubnetDescription`."""

    # ---- names of tables, see `ofa_pipeline.tables`

    ACCURACIES: ClassVar[str] = "accuracy.parquet"
    CROSS_VALIDATION: ClassVar[str] = "cross_validation.parquet"
    EVALUATIONS: ClassVar[str] = "evaluations.parquet"
    FRONT: ClassVar[str] = "front.parquet"
    HISTORY: ClassVar[str] = "history.parquet"
    LATENCIES: ClassVar[str] = "samples.parquet"
    PREDICTIONS: ClassVar[str] = "predictions.parquet"
    QUARANTINE: ClassVar[str] = "quarantine.parquet"

    # ---- names of weights, arrays and pages

    PREDICTOR_ARRAYS: ClassVar[str] = "predictor.npz"
    REPORT_PAGE: ClassVar[str] = "report.html"
    SUPERNET: ClassVar[str] = "supernet.safetensors"
    """Weights of a phase, and those that the first phase starts from."""
    WEIGHTS: ClassVar[str] = "weights.safetensors"
    """The calibrated subnet of a bundle, before batch norm is folded."""

    # ---- paths

    @property
    def artifacts(self) -> Path:
        """Tracked results, one folder an artifact."""
        return self.root / "artifacts"

    @property
    def source(self) -> Path:
        """Listing of the files that the dataset is made from."""
        return self.artifacts / "source"

    @property
    def dataset(self) -> Path:
        """Parquet shards, class names, statistics."""
        return self.artifacts / "dataset"

    @property
    def initial(self) -> Path:
        """What the first phase starts from, where params.yaml names weights."""
        return self.artifacts / "initial"

    def supernet_in(self, artifact: str) -> Path:
        """The weights of a supernet in an artifact, such as ``initial`` or ``supernet/largest``."""
        return self.artifacts / artifact / self.SUPERNET

    def supernet(self, phase: str) -> Path:
        """Weights and history of a phase."""
        return self.artifacts / "supernet" / phase

    def supernet_weights(self, phase: str) -> Path:
        """The supernet of a phase, for `ofa_pipeline.supernet.load_supernet`."""
        return self.supernet_in(f"supernet/{phase}")

    def supernet_history(self, phase: str) -> Path:
        """Table of the epochs of a phase, `ofa_pipeline.tables.HISTORY_SCHEMA`."""
        return self.supernet(phase) / self.HISTORY

    @property
    def accuracy(self) -> Path:
        """Measured accuracy of the initial design."""
        return self.artifacts / "accuracy"

    @property
    def predictor(self) -> Path:
        """Accuracy predictor and its report."""
        return self.artifacts / "predictor"

    def latency(self, device: str) -> Path:
        """Latency samples and model of a device."""
        return self.artifacts / "latency" / device

    def measured(self, device: str) -> Path:
        """What came back from a device elsewhere: no artifact, but what some are made from."""
        return self.root / "measured" / device

    def search(self, device: str) -> Path:
        """Front, verified evaluations and picks of a device."""
        return self.artifacts / "search" / device

    def subnets(self, device: str) -> Path:
        """Bundles of a device."""
        return self.artifacts / "subnets" / device

    def registry(self, device: str) -> Path:
        """Receipts of a device's registrations."""
        return self.artifacts / "registry" / device

    @property
    def seconds(self) -> Path:
        """Seconds that timed stages took, an artifact each."""
        return self.artifacts / "seconds"

    def recertified(self, device: str) -> Path:
        """What was measured of a device's files after they were certified, if anybody has."""
        return self.seconds / "recertify" / device

    @property
    def waiting_runs(self) -> Path:
        """Notes of runs of deployments that wait for a device: `documents.WaitingRun`."""
        return self.root / "scratch" / "waiting"

    @property
    def report(self) -> Path:
        """The HTML report, metrics and plots."""
        return self.artifacts / "report"

    def scratch(self, stage: str, key: str) -> Path:
        """Resume state of a stage; `key` is a digest of everything that it depends on."""
        return self.root / "scratch" / stage / key[:16]

    def relative(self, path: Path) -> str:
        """Return a path as manifests name it."""
        return path.relative_to(self.root).as_posix()
