"""Routes for what watches the service: health, and metrics as Prometheus reads them."""

from contextlib import suppress

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from ofa_pipeline.masking import mask_secrets
from ofa_pipeline.service.current import CurrentSnapshot, UnreadableRegistryError
from ofa_pipeline.service.routes import reads

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Meters:
    """What is counted, of one application."""

    def __init__(self) -> None:
        """Count from nothing."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "ofa_registry_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ofa_registry_request_seconds",
            "Seconds of a request by route.",
            ("route",),
            registry=self.registry,
            buckets=BUCKETS_S,
        )
        self.subnets = Gauge(
            "ofa_registry_subnets", "Registered subnets that are known.", registry=self.registry
        )
        self.age = Gauge(
            "ofa_registry_snapshot_age_seconds",
            "Seconds since the registry was read.",
            registry=self.registry,
        )
        self.up = Gauge(
            "ofa_registry_up", "1 where the registry could be read last.", registry=self.registry
        )

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: Path of the route with the names of its parameters, never with their values.
            status: Of the response.
            seconds: That it took.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


def health_routes(current: CurrentSnapshot, meters: Meters) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["health"])

    @reads(router, "/healthz")
    async def health() -> JSONResponse:
        """Tell whether look-ups are answered, and how old the answers are."""
        try:
            await current.fresh()
            num_subnets = len(current().subnets)
        except UnreadableRegistryError as error:
            values = {"status": "unreadable", "reason": mask_secrets(str(error))}
            return JSONResponse(values, status_code=503)
        return JSONResponse(
            {
                "status": "stale" if current.is_stale else "ok",
                "reason": mask_secrets(current.fault),
                "subnets": num_subnets,
                "age_s": round(current.age_s, 3),
            }
        )

    @reads(router, "/metrics", response_class=Response)
    async def metrics() -> Response:
        """Return counts and times as Prometheus reads them."""
        # Counts are told of a registry that has gone away, too: that is when they are looked at.
        with suppress(UnreadableRegistryError):
            await current.fresh()
            meters.subnets.set(len(current().subnets))
        meters.age.set(current.age_s)
        meters.up.set(not current.is_stale)
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    return router
