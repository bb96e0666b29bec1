"""Proxies between this machine and the internet: our own local services are reached without."""

import importlib.util
import os
from collections.abc import Mapping, MutableMapping
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_BYPASS = ("no_proxy", "NO_PROXY")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SOCKS = ("socks5", "socks5h")


def reach_local_directly(environment: MutableMapping[str, str]) -> None:
    """Add this machine to ``NO_PROXY`` in both spellings; what the user wrote there stays.

    Some tools read the upper, some the lower case: both hold all hosts of both afterwards.
    """
    if not any(environment.get(_as_set(name, environment)) for name in _PROXIES):
        return
    listed = [environment.get(name, "") for name in _BYPASS]
    hosts = [host.strip() for text in listed for host in text.split(",") if host.strip()]
    merged = ",".join(dict.fromkeys([*hosts, *LOCAL_HOSTS]))
    for name in _BYPASS:
        environment[name] = merged


def unusable_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name a proxy which Prefect's client cannot be built with.

    It knows HTTP and SOCKS 5, the latter with the package ``socksio``, and fails on any other
    even where nothing would go through it.
    """
    found = {}
    for lower in _PROXIES:
        for name in (lower, lower.upper()):
            scheme = environment.get(name, "").partition("://")[0].lower()
            if "://" in environment.get(name, "") and not _is_known(scheme):
                found[name] = environment[name]
    return found


def proxy_of(url: str) -> str:
    """Return the proxy that a request to an address goes through, without a password.

    Returns:
        Its address and its variable, such as ``http://proxy:3128 (HTTPS_PROXY)``; "" for none.
    """
    parts = urlsplit(url)
    proxies = getproxies_environment()
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    for scheme in (parts.scheme, "all"):
        if proxies.get(scheme):
            return f"{_masked(proxies[scheme])} ({_as_set(f'{scheme}_proxy', os.environ)})"
    return ""


def _as_set(name: str, environment: Mapping[str, str]) -> str:
    """Return the spelling of a variable that counts: the lower case where it is set."""
    return name if environment.get(name) else name.upper()


def _is_known(scheme: str) -> bool:
    if scheme in _SOCKS:
        return importlib.util.find_spec("socksio") is not None
    return scheme in ("http", "https")


def _masked(address: str) -> str:
    """Return an address without what stands before its host."""
    scheme, separator, rest = address.rpartition("://")
    _, has_user, host = rest.rpartition("@")
    return f"{scheme}{separator}{'***@' if has_user else ''}{host}"
