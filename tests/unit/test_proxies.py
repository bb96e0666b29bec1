"""Local services are reached without a proxy; what the user wrote stays."""

import importlib.util

import pytest

from ofa_pipeline.proxies import proxy_of, reach_local_directly, unusable_proxies

LOCAL = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_this_machine_is_reached_directly(name):
    environment = {name: "http://proxy:3128"}
    reach_local_directly(environment)
    assert environment["NO_PROXY"] == environment["no_proxy"] == LOCAL


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"NO_PROXY": "a.com, .b.com"}, f"a.com,.b.com,{LOCAL}"),
        ({"no_proxy": "a.com", "NO_PROXY": "b.com"}, f"a.com,b.com,{LOCAL}"),
        ({"no_proxy": "localhost,a.com"}, "localhost,a.com,127.0.0.1,::1"),
        ({"NO_PROXY": "*"}, f"*,{LOCAL}"),
        ({"NO_PROXY": ""}, LOCAL),
    ],
)
def test_what_the_user_excepted_stays(before, after):
    environment = {"HTTP_PROXY": "http://proxy:3128", **before}
    reach_local_directly(environment)
    assert environment["NO_PROXY"] == environment["no_proxy"] == after
    again = dict(environment)
    reach_local_directly(again)
    assert again == environment


def test_without_a_proxy_nothing_is_set():
    environment = {"PATH": "/bin", "HTTP_PROXY": ""}
    reach_local_directly(environment)
    assert environment == {"PATH": "/bin", "HTTP_PROXY": ""}


@pytest.mark.parametrize("address", ["socks://h:1", "socks4://h:1", "ftp://h:1"])
def test_proxies_that_prefect_s_client_does_not_know_are_found(address):
    assert unusable_proxies({"ALL_PROXY": address, "HTTP_PROXY": "h:1"}) == {"ALL_PROXY": address}


@pytest.mark.parametrize("is_installed", [True, False])
def test_socks_needs_its_package(monkeypatch, is_installed):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if is_installed else None)
    environment = {"all_proxy": "socks5://h:1", "https_proxy": "http://h:1"}
    assert ("all_proxy" in unusable_proxies(environment)) is not is_installed


@pytest.fixture
def proxies(monkeypatch):
    """Set variables of a world without any."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def choose(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return choose


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://a.com/x", ""),
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.com/x", "http://p:1 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://a.com/x", ""),
        ({"https_proxy": "p:1", "HTTPS_PROXY": "q:1"}, "https://a.com", "p:1 (https_proxy)"),
        ({"ALL_PROXY": "socks5://p:1"}, "http://a.com", "socks5://p:1 (ALL_PROXY)"),
        ({"ALL_PROXY": "http://me:secret@p:1"}, "http://a.com", "http://***@p:1 (ALL_PROXY)"),
        ({"ALL_PROXY": "me:se/cr@et@p:1"}, "http://a.com", "***@p:1 (ALL_PROXY)"),
        ({"HTTP_PROXY": "p:1", "NO_PROXY": "a.com"}, "http://u:p@a.com:80/x", ""),
    ],
)
def test_proxy_of_a_request_is_named_without_its_password(proxies, variables, url, proxy):
    proxies(**variables)
    assert proxy_of(url) == proxy
