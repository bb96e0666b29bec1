"""From a pick of the search to a bundle that ships.

Only what uses bundles is imported here; `tuning` and `parity`, which make them, are imported
where they are used.
"""

from ofa_pipeline.specialize.bundle import (
    PREDICTIONS_FILE,
    Bundle,
    bundle_digest,
    load_bundle,
    write_bundle,
)
from ofa_pipeline.specialize.certificate import Certificate, Certifier, Verdict
from ofa_pipeline.specialize.classify import Classifier
from ofa_pipeline.specialize.lineage import trace_lineage
from ofa_pipeline.specialize.shipped_code import classify_code

__all__ = [
    "PREDICTIONS_FILE",
    "Bundle",
    "Certificate",
    "Certifier",
    "Classifier",
    "Verdict",
    "bundle_digest",
    "classify_code",
    "load_bundle",
    "trace_lineage",
    "write_bundle",
]
