"""From a pick of the search to a bundle that ships.

Only what uses bundles is imported here; what makes them is imported where it is used.
"""

from ofa_pipeline.specialize.bundle import (
    Bundle,
    bundle_digest,
    load_bundle,
    shipped_file,
    write_bundle,
)
from ofa_pipeline.specialize.certificate import Certificate, Certifier
from ofa_pipeline.specialize.classify import Classifier, FloatArray, Squares
from ofa_pipeline.specialize.lineage import trace_lineage, trace_phases
from ofa_pipeline.specialize.shipped_code import classify_code

__all__ = [
    "Bundle",
    "Certificate",
    "Certifier",
    "Classifier",
    "FloatArray",
    "Squares",
    "bundle_digest",
    "classify_code",
    "load_bundle",
    "shipped_file",
    "trace_lineage",
    "trace_phases",
    "write_bundle",
]

OPEN_MODULES = ("build", "canaries", "choice", "fine_tuning", "others", "tuning", "workshop")
"""What makes bundles; it needs torch, which who uses them need not have."""
