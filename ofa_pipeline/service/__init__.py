"""The registry over HTTP, to read only: look-ups, downloads, pages for people."""

from ofa_pipeline.service.app import build_app
from ofa_pipeline.service.current import CurrentSnapshot
from ofa_pipeline.service.run import ServiceSettings, serve

__all__ = ["CurrentSnapshot", "ServiceSettings", "build_app", "serve"]
