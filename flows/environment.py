"""Settings of Prefect for a workspace; set before Prefect is imported."""

import json
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from urllib.parse import urlsplit

from flows.settings import PrefectSettingsError, Setting, read_settings
from ofa_pipeline.cli.environment import settle_environment, start_our_own_code
from ofa_pipeline.proxies import LOCAL_HOSTS, unusable_proxies

API_VARIABLE = "PREFECT_API_URL"

HEARTBEAT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
"""Seconds between two reports of a run; one that stops to report was killed. Prefect's own are too
many for `flows.crashes`. `prefect.yaml` gives it to the runs of workers."""

_KEPT_PROXIES = "OFA_KEPT_PROXIES"
"""Environment variable with proxies that Prefect's client fails on, kept for the stages."""


def set_up_prefect(root: Path, environment: MutableMapping[str, str]) -> Setting | None:
    """Set what the user has not set.

    Runs are recorded in the workspace, unless a Prefect server is configured: by
    ``PREFECT_API_URL``, by a file of the current folder, or by the active profile. The other
    settings of that profile count either way.

    Returns:
        The address of the user's server and where it stands; None where a server of the
        workspace's own is to be started.

    Raises:
        PrefectSettingsError: If settings cannot be read, or a proxy cannot be used.
    """
    settle_environment(environment)
    start_our_own_code(environment)
    settings = read_settings(environment)
    server = settings.find(API_VARIABLE)
    if server is not None and not server.value.strip():
        server = None  # set to nothing: as good as not set
    if settings.find("PREFECT_HOME") is None and not (server and settings.has_profiles):
        environment["PREFECT_HOME"] = str(root / ".prefect")
        environment["PREFECT_PROFILES_PATH"] = str(settings.profiles_path.absolute())
    for name, value in {
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        # People read the display; the log goes to Prefect's records.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        **HEARTBEAT,
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
    }.items():
        environment.setdefault(name, value)
    _put_unusable_proxies_away(environment, server)
    return server


def stage_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of DVC and the stages, with all proxies of the user."""
    values = dict(environment)
    return {**values, **json.loads(values.pop(_KEPT_PROXIES, "{}"))}


def _put_unusable_proxies_away(
    environment: MutableMapping[str, str], server: Setting | None
) -> None:
    """Keep proxies from Prefect's client that it cannot be built with, where it needs none."""
    found = unusable_proxies(environment)
    if not found:
        return
    if server is not None and urlsplit(server.value).hostname not in LOCAL_HOSTS:
        raise PrefectSettingsError(
            f"Prefect's server {server.value} must be reached through a proxy that Prefect knows, "
            f"HTTP or SOCKS 5, but {', '.join(found)} names another one. Change it, or add the "
            "server's host to NO_PROXY and unset that variable."
        )
    for name in found:
        del environment[name]
    environment[_KEPT_PROXIES] = json.dumps(
        {**json.loads(environment.get(_KEPT_PROXIES, "{}")), **found}
    )
