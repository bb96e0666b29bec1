"""Ray, joined for as long as work needs it: a cluster that is there, or one started here."""

import importlib.util
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import ModuleType
from typing import Any

from ofa_pipeline.cores import usable_cores
from ofa_pipeline.errors import ClusterError, shorten
from ofa_pipeline.telemetry import keep_quiet

LOCAL = "local"
AUTO = "auto"

CONNECT_S = 5.0
"""How long a host may take to accept a connection."""
ANSWER_S = 60.0
"""How long a cluster may take to let this machine join; Ray by itself waits for minutes."""

_OBJECT_STORE_BYTES = 128 * 2**20  # architectures go there, and rows come back
_AUTH_MODE, _AUTH_TOKEN = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
_OWN_TOKEN = secrets.token_hex(32)
"""Of what is started here. Ray reads a token once in a process, so there is one."""
_ADDRESS_VARIABLE = "RAY_ADDRESS"
_MAX_REASON = 600
_PROBE = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(1)
ray.shutdown()
"""
_VERSIONS = re.compile(r"Ray:\s*(\S+)\s+Python:\s*(\S+)")


def import_ray() -> ModuleType:
    """Return Ray.

    Raises:
        ClusterError: If it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ClusterError(
            "work on a Ray cluster needs the package ray, which is not installed here. Install it "
            "(pip install 'ofa-pipeline[cluster]'), or do without: compute.fan_out.executor: "
            "local, and no device with location: ray://RESOURCE."
        )
    keep_quiet(os.environ)
    import ray

    module: ModuleType = ray
    return module


@contextmanager
def joined_cluster(address: str) -> Iterator[ModuleType]:
    """Join a Ray cluster while the body runs; what was started for it ends with it.

    A cluster that this process has joined already is used, and stays joined.

    Args:
        address: ``HOST:PORT`` of a cluster that this machine is a node of; ``auto``: the one that
            RAY_ADDRESS names, or that runs here; ``local``: Ray is started on this machine.

    Raises:
        ClusterError: If Ray is missing, does not answer in time, or is of another version.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    with ExitStack() as stack:
        if address == LOCAL:
            options = stack.enter_context(_options_to_start())
        else:
            _require_answer(address)
            options = {"address": address}
        stack.enter_context(_exit_as_asked())
        stack.callback(ray.shutdown)  # also what a start that is cut short leaves
        _init(ray, options, address)
        yield ray


@contextmanager
def _exit_as_asked() -> Iterator[None]:
    """Let SIGTERM end the body as the handler of this process says.

    Ray has a handler of its own while it starts, and turns every exit within its calls into one
    with code 1.
    """
    try:
        yield
    except SystemExit as error:
        handler = signal.getsignal(signal.SIGTERM)
        if error.code in (1, signal.SIGTERM) and callable(handler):
            handler(signal.SIGTERM, None)
        raise


def _init(ray: ModuleType, options: dict[str, Any], address: str) -> None:
    # Ray replaces the handler of SIGTERM by one that ends with another exit code.
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(**options, log_to_driver=False, configure_logging=False)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _cannot_join(address, f"{type(error).__name__}: {error}") from error
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _options_to_start() -> Iterator[dict[str, Any]]:
    """Give the arguments that start Ray here; only who holds its token can use it."""
    # The sockets' paths must be short: not below a workspace.
    folder = tempfile.mkdtemp(prefix="ofa-ray-", dir="/tmp")
    before = {name: os.environ.get(name) for name in (_AUTH_MODE, _AUTH_TOKEN)}
    os.environ.setdefault(_AUTH_TOKEN, _OWN_TOKEN)  # Ray asks for one by itself
    try:
        yield {
            "address": LOCAL,
            "num_cpus": usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": folder,
        }
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


def _require_answer(address: str) -> None:
    """Have a process of its own join the cluster first: it can be ended where Ray does not return.

    Raises:
        ClusterError: If it cannot join.
    """
    named = os.environ.get(_ADDRESS_VARIABLE, AUTO) if address == AUTO else address
    host, _, port = named.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
        except OSError as error:
            raise _cannot_join(named, f"nobody accepts a connection there ({error})") from error
    command = [sys.executable, "-c", _PROBE, address]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as probe:
        try:
            output, _ = probe.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired as error:
            raise _cannot_join(named, f"no answer within {ANSWER_S:g} seconds") from error
        finally:
            with suppress(ProcessLookupError):
                probe.kill()
    if probe.returncode:
        raise _cannot_join(named, output.strip() or f"joining it ended with {probe.returncode}")


def _cannot_join(address: str, reason: str) -> ClusterError:
    reason = reason.rstrip(".")
    versions = _VERSIONS.findall(reason)
    if len(versions) == 2:  # noqa: PLR2004 - the cluster's and ours
        (ray_there, python_there), (ray_here, python_here) = versions
        return ClusterError(
            "the Ray cluster of compute.fan_out.address must have the versions of this machine: "
            f"Ray {ray_here} and Python {python_here} here, Ray {ray_there} and Python "
            f"{python_there} there. Install the same on all nodes, for example requirements.lock."
        )
    if address == LOCAL:
        return ClusterError(
            f"Ray must start on this machine (compute.fan_out.address: local), but: "
            f"{shorten(reason, _MAX_REASON)}. Set compute.fan_out.executor: local to do without it."
        )
    return ClusterError(
        f"a Ray cluster that this machine is a node of must answer at {address} "
        f"(compute.fan_out.address), but: {shorten(reason, _MAX_REASON)}. Start one (ray start "
        "--head), make this machine a node of it (ray start --address=HOST:PORT), correct the "
        "address, or set it to local to have Ray started here."
    )
