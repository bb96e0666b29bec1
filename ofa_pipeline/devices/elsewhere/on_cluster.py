"""The way to a device that is a node of a Ray cluster: one that offers a resource of its own.

Whoever measures takes all of the resource, so two measurements never run there at the same time.
"""

import secrets
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

from ofa_pipeline.compute import (
    Node,
    ask_nodes,
    find_device_node,
    follow_on_node,
    joined_cluster,
    require_same_python,
)
from ofa_pipeline.devices.elsewhere import carried
from ofa_pipeline.devices.elsewhere.folder import result_name
from ofa_pipeline.devices.elsewhere.following import Following, LostError, keep_trying
from ofa_pipeline.devices.machine import DeviceSettings
from ofa_pipeline.devices.runtimes import find_runtime
from ofa_pipeline.documents import MeasuringTask
from ofa_pipeline.errors import ClusterError, DeviceError, NodeLostError, shorten
from ofa_pipeline.progress import SILENT, Reporter

SCHEME = "ray://"
_ARRAYS = "numpy"

REJOIN_S = 600.0
"""How long a node that was lost may take to join the cluster again: a machine that boots."""
_POLL_S = 2.0


def check_node(settings: DeviceSettings, cluster: str) -> str:
    """Look whether a device is a node that can be measured on, and return its host.

    Args:
        settings: Of the device; its location is ``ray://RESOURCE``.
        cluster: Address of the cluster, see `joined_cluster`.

    Raises:
        ClusterError: If the cluster does not answer, no node or several offer the resource, or
            the node has another Python or Ray.
        DeviceError: If the node lacks the runtime.
    """
    if cluster == "local":
        raise ClusterError(
            f"location: {settings.location} names a node of a Ray cluster that runs, but "
            "compute.fan_out.address: local would start another one. Set it to auto or HOST:PORT."
        )
    with joined_cluster(cluster) as ray:
        return _find_fit_node(ray, settings).host


def measure_on_node(
    settings: DeviceSettings,
    folder: Path,
    task: MeasuringTask,
    *,
    cluster: str,
    reporter: Reporter = SILENT,
) -> Path:
    """Measure an exported folder on a node, and return the path of its result, in the folder.

    What was measured stays on the node until all is: where the node died, or this process was
    killed, the same call goes on from there.

    Args:
        settings: Of the device; its location is ``ray://RESOURCE``.
        folder: What `write_folder` wrote.
        task: What it returned.
        cluster: Address of the cluster, see `joined_cluster`.
        reporter: Told of the progress.

    Raises:
        ClusterError: As `check_node`.
        DeviceError: If the node cannot be measured on, or dies time and again.
    """
    with joined_cluster(cluster) as ray:
        node = _find_fit_node(ray, settings)
        measuring = _Measuring(ray, settings, folder, task, reporter, node)
        measuring.keep_trying()
        measuring.forget()
    return measuring.result


def check_on_node(
    settings: DeviceSettings,
    folder: Path,
    task: MeasuringTask,
    *,
    cluster: str,
    reporter: Reporter = SILENT,
) -> Path:
    """Measure a folder on a node, leave nothing there, and return the path of the result here.

    Arguments and errors are those of `measure_on_node`.
    """
    with joined_cluster(cluster) as ray:
        node = _find_fit_node(ray, settings)
        measuring = _Measuring(ray, settings, folder, task, reporter, node)
        measuring.identifier = f"check-{secrets.token_hex(6)}"  # nobody else goes on with it
        try:
            measuring.keep_trying()
        finally:
            measuring.forget()
    return measuring.result


class _Measuring:
    """One folder on its way to a node, as often as it takes."""

    def __init__(
        self,
        ray: ModuleType,
        settings: DeviceSettings,
        folder: Path,
        task: MeasuringTask,
        reporter: Reporter,
        node: Node,
    ) -> None:
        self._ray = ray
        self._resource = _resource(settings)
        self._python = settings.python
        self._reporter = reporter
        self._node = node
        self._files = _put(ray, folder)
        self._is_lost = False
        self.identifier = task.id[:12]
        self.result = folder / result_name(task)
        self.following = Following(reporter, node.host, total=len(task.networks))

    def keep_trying(self) -> None:
        """Measure, as often as it takes; see `following.keep_trying`."""
        keep_trying(
            f"the node {self._node.host} with the resource {self._resource!r}",
            self._measure,
            progress_of=lambda: self.following.done,
        )

    def _measure(self) -> None:
        """Measure, and write the result beside the networks.

        Raises:
            LostError: If the node died.
            DeviceError: If the script failed there, or the node does not come back.
        """
        if self._is_lost:
            self._await_node()
        self._tell_if_taken()
        try:
            steps = follow_on_node(
                self._ray,
                self._resource,
                carried.measure,
                self.identifier,
                self._files,
                self._ray.get,
                self.result.name,
                self._python,
            )
            with closing(steps):
                for kind, content in steps:
                    self._take(kind, content)
        except NodeLostError as error:
            self._is_lost = True
            raise LostError(shorten(str(error), 300)) from error
        except ClusterError as error:
            if not self._is_lost:
                raise
            raise LostError(shorten(str(error), 300)) from error  # it went again

    def _await_node(self) -> None:
        """Wait until the node that was lost is in the cluster again.

        Raises:
            DeviceError: If that takes too long.
        """
        until, is_told = time.monotonic() + REJOIN_S, False
        while True:
            try:
                self._node = find_device_node(self._ray, self._resource)
            except ClusterError as error:
                if time.monotonic() > until:
                    raise DeviceError(
                        f"the node {self._node.host} was lost while it measured, and did not join "
                        f"the cluster again within {REJOIN_S:g} seconds: {error} What was measured "
                        "is kept there: start Ray there, and run again to go on."
                    ) from error
            else:
                return
            if not is_told:
                is_told = True
                self._reporter.warning(
                    f"the node {self._node.host} with the resource {self._resource!r} is gone: "
                    f"waiting for up to {REJOIN_S:g} seconds until Ray is started there again. "
                    "What was measured is kept there."
                )
            time.sleep(_POLL_S)

    def _take(self, kind: str, content: Any) -> None:  # noqa: ANN401 - text or bytes
        if kind == "line":
            self.following.note(content)
        elif kind == "result":
            self.result.write_bytes(content)
        else:
            said = shorten(" ".join(content.split()), 1000)
            raise DeviceError(f"{self._node.host}: {said}")

    def forget(self) -> None:
        """Remove what is on the node, now that the result is here; where that fails, say so."""
        try:
            ask_nodes(self._ray, [self._node], carried.forget, self.identifier)
        except ClusterError as error:
            self._reporter.message(
                f"~/.cache/ofa-pipeline/{self.identifier} stays on {self._node.host}, where it "
                f"could not be removed: {error}"
            )

    def _tell_if_taken(self) -> None:
        if self._ray.available_resources().get(self._resource, 0.0) < 1:
            self._reporter.message(
                f"the resource {self._resource!r} is in use by another measurement: waiting for it"
            )


def _find_fit_node(ray: ModuleType, settings: DeviceSettings) -> Node:
    resource = _resource(settings)
    node = find_device_node(ray, resource)
    runtime = find_runtime(settings.runtime)
    lacking = require_same_python(
        ray, node, packages=[] if settings.python else [runtime.package, _ARRAYS]
    )
    if lacking:
        how = runtime.how_to_get.get(settings.accelerator, "")
        if settings.accelerator == "cpu":
            how = f"pip install {' '.join(runtime.requirements)}"
        raise DeviceError(
            f"the node {node.host} with the resource {resource!r} must have {settings.runtime} and "
            f"{_ARRAYS} where Ray runs, but lacks {' and '.join(lacking)}. Install it there: "
            f"{how}; or name another Python of the node: python in the device's card."
        )
    return node


def _resource(settings: DeviceSettings) -> str:
    return (settings.location or "").removeprefix(SCHEME)


def _put(ray: ModuleType, folder: Path) -> dict[str, Any]:
    """Put the content of each file into the cluster's store; return references by path."""
    return {
        path.relative_to(folder).as_posix(): ray.put(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
