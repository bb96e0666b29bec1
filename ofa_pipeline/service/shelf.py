"""Bundles that are read over HTTP: fetched once, compared with their digests, kept for a while."""

import shutil
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ofa_pipeline.documents import SubnetCertificate
from ofa_pipeline.errors import OfaPipelineError, RegistryError
from ofa_pipeline.registry import (
    RegisteredSubnet,
    SubnetRegistry,
    as_told,
    certify_version,
    is_ahead,
    stale_reason,
)

if TYPE_CHECKING:
    from ofa_pipeline.specialize import Classifier

MAX_BUNDLES = 32


class Shelf:
    """Verified bundles in a folder of the service; the one that was read longest ago goes first."""

    def __init__(self, registry: SubnetRegistry) -> None:
        """Fetch nothing yet."""
        self._registry = registry
        self._folder = Path()
        self._lock = Lock()
        self._bundles: OrderedDict[str, Path] = OrderedDict()
        self._certificates: dict[str, dict[str, SubnetCertificate]] = {}  # by bundle, then version
        self._classifiers: dict[str, Classifier] = {}

    def keep_in(self, folder: Path) -> None:
        """Put bundles into a folder from now on; who made it removes it."""
        with self._lock:
            self._folder = folder
            self._bundles.clear()
            self._classifiers.clear()

    def certificate(self, subnet: RegisteredSubnet) -> SubnetCertificate:
        """Return the certificate of a version; its files were compared once.

        Whether it has expired or its device has changed since is told anew each time.

        Raises:
            RegistryError: If a file is gone or changed.
        """
        digest = subnet.record.bundle_digest
        with self._lock:
            of_bundle = self._certificates.setdefault(digest, {})
            if subnet.model_uri not in of_bundle:
                of_bundle[subnet.model_uri] = certify_version(self._registry, subnet)
            found = of_bundle[subnet.model_uri]
        is_expired = found.expires is not None and found.expires < datetime.now(UTC)
        told = {
            "is_expired": is_expired,
            "is_dated_ahead": found.issued is not None and is_ahead(found.issued),
            "stale": stale_reason(self._registry, subnet),
        }
        return found.model_copy(update=told)

    def file(self, subnet: RegisteredSubnet, name: str) -> tuple[Path, str]:
        """Return a file of a version and its SHA-256.

        Raises:
            RegistryError: If the version has no such file.
        """
        files = self.certificate(subnet).files
        if name not in files:
            raise RegistryError(
                f"{subnet.model_uri} has no file {name!r}. It has: {', '.join(files)}."
            )
        with self._lock:
            return self._bundle(subnet) / name, files[name]

    def classifier(self, subnet: RegisteredSubnet) -> "Classifier":
        """Return what classifies images with a version.

        Raises:
            RegistryError: If its files are gone or changed, or none of them can be run.
        """
        # Half a gigabyte with PyTorch: who only looks up need not have it.
        from ofa_pipeline.specialize import Classifier

        digest = subnet.record.bundle_digest
        with self._lock:
            bundle = self._bundle(subnet)
            if digest not in self._classifiers:
                try:
                    self._classifiers[digest] = Classifier(bundle, prefer_onnx=True)
                except OfaPipelineError as error:
                    raise RegistryError(as_told(error, bundle, subnet)) from error
            return self._classifiers[digest]

    def _bundle(self, subnet: RegisteredSubnet) -> Path:
        digest = subnet.record.bundle_digest
        if digest not in self._bundles:
            while len(self._bundles) >= MAX_BUNDLES:
                oldest, _ = self._bundles.popitem(last=False)
                self._classifiers.pop(oldest, None)
                self._certificates.pop(oldest, None)
                shutil.rmtree(self._folder / oldest, ignore_errors=True)
            self._bundles[digest] = self._registry.download(subnet, self._folder / digest)
        self._bundles.move_to_end(digest)
        return self._bundles[digest]
