"""Starts the service."""

import socket
from dataclasses import dataclass
from ipaddress import ip_address

from ofa_pipeline.errors import ParamsError
from ofa_pipeline.registry import SubnetRegistry
from ofa_pipeline.service.app import build_app

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Where the service listens, and who may ask."""

    host: str = "127.0.0.1"
    port: int = 8100
    token: str = ""
    allow_hosts: tuple[str, ...] = ()
    """Further names that it may be called by, where it listens on this machine only."""

    def __post_init__(self) -> None:
        """Refuse to serve other machines without a token.

        Raises:
            ParamsError: If it would.
        """
        if not self.is_local and not self.token:
            raise ParamsError(
                f"a service that other machines reach (--host {self.host}) must ask for a token: "
                "set OFA_PIPELINE_SERVICE_TOKEN, or leave --host out to serve this machine only."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host in LOCAL_NAMES:
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def known_hosts(self) -> tuple[str, ...]:
        """Names that it answers to: a page of elsewhere must not read it by a name of its own.

        Empty where a token is asked for by other machines: they know it by names that only
        they know.
        """
        names = (*LOCAL_NAMES, self.host, *self.allow_hosts)
        return tuple(dict.fromkeys(names)) if self.is_local else ()


def serve(registry: SubnetRegistry, settings: ServiceSettings) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        OSError: If the port is taken, or the address is not of this machine.
    """
    import uvicorn

    app = build_app(registry, token=settings.token, hosts=settings.known_hosts)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Bound here, so that a port that is taken is an error of ours, before anything starts.
    with socket.create_server((settings.host, settings.port), family=family) as listening:
        # Connections inherit it. Without it head and body of an answer wait 40 ms for each other.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(app, log_level="warning", access_log=False)
        uvicorn.Server(config).run(sockets=[listening])
