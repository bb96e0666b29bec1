"""Where artifacts lie, how they are written whole, and the manifest that describes each.

An artifact is a folder with a ``manifest.json`` that lists its files with their SHA-256, the
params and the artifacts it was made from, and ends in a digest of itself. It appears by renaming
a finished temporary folder, so a folder that exists is complete.
"""

from ofa_pipeline.artifacts.files import (
    digest_file,
    digest_json,
    naming,
    read_json,
    write_bytes,
    write_json,
)
from ofa_pipeline.artifacts.layout import Layout
from ofa_pipeline.artifacts.manifest import (
    Manifest,
    digest_input,
    remedy_for,
    verify_artifact,
    verify_file,
    workspace_of,
)
from ofa_pipeline.artifacts.writing import ArtifactWriter, write_artifact

__all__ = [
    "ArtifactWriter",
    "Layout",
    "Manifest",
    "digest_file",
    "digest_input",
    "digest_json",
    "naming",
    "read_json",
    "remedy_for",
    "verify_artifact",
    "verify_file",
    "workspace_of",
    "write_artifact",
    "write_bytes",
    "write_json",
]
