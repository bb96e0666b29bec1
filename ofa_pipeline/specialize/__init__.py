"""From a pick of the search to a bundle that ships.

Only what uses bundles is imported here; what makes them is imported where it is used.
"""

from ofa_pipeline.specialize.bundle import (
    INDEX_FILE,
    PREDICTIONS_FILE,
    SHIPPED_FILES,
    SUBNET_FILE,
    WEIGHTS_FILE,
    Bundle,
    bundle_digest,
    classify_code,
    load_bundle,
    write_bundle,
)
from ofa_pipeline.specialize.certificate import Certificate, Certifier, Verdict
from ofa_pipeline.specialize.classify import Classifier, FloatArray, Squares, value_range_of
from ofa_pipeline.specialize.lineage import trace_lineage

__all__ = [
    "INDEX_FILE",
    "PREDICTIONS_FILE",
    "SHIPPED_FILES",
    "SUBNET_FILE",
    "WEIGHTS_FILE",
    "Bundle",
    "Certificate",
    "Certifier",
    "Classifier",
    "FloatArray",
    "Squares",
    "Verdict",
    "bundle_digest",
    "classify_code",
    "load_bundle",
    "trace_lineage",
    "value_range_of",
    "write_bundle",
]

OPEN_MODULES = ("build", "choice", "parity", "tuning")
"""What makes bundles; it needs torch, which who uses them need not have."""
