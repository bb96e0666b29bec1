"""Pages for people: what there is, the front of a device, and a version with its proof."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, select_autoescape

from ofa_pipeline.errors import InfeasibleConstraintError, RegistryError
from ofa_pipeline.registry import (
    Lookups,
    RegisteredSubnet,
    Snapshot,
    accuracy_noise,
    ahead_text,
    dataset_label,
    first_run_rows,
)
from ofa_pipeline.report import style_sheet
from ofa_pipeline.service.current import CurrentSnapshot
from ofa_pipeline.service.operations import operations_of
from ofa_pipeline.service.plot import front_plot
from ofa_pipeline.service.queries import BestQuery, given_once
from ofa_pipeline.service.routes import reads
from ofa_pipeline.service.shelf import Shelf

PAGES = ("/browse", "/models/", "/docs")
"""Beginnings of their addresses, beside /."""
MAX_SHOWN = 200
"""Rows of a table; the rest is in the list of the interface."""
VERDICTS = {
    "within": "within, with 95 % confidence",
    "within_noise": "within the noise",
    "over": "over",
}


class Pages:
    """Templates, filled."""

    def __init__(self) -> None:
        """Load the templates when they are first used."""
        self._templates = Environment(
            loader=PackageLoader("ofa_pipeline.service"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            chart_css=style_sheet("chart.css"),
            verdicts=VERDICTS,
            page_of=page_of,
            dataset_label=dataset_label,
            browse=browse,
            first_run=first_run_rows,
            ahead=ahead_text,
        )

    def page(self, name: str, *, status: int = 200, **values: object) -> HTMLResponse:
        """Return a page."""
        return HTMLResponse(
            self._templates.get_template(f"{name}.html.j2").render(values), status_code=status
        )


def browse(dataset: str, device: str) -> str:
    """Return the address of the page of a dataset and a device."""
    return f"/browse?{urlencode({'dataset': dataset, 'device': device})}"


def page_of(subnet: RegisteredSubnet) -> str:
    """Return the address of the page of a version."""
    return f"/models/{subnet.record.model_name}/{subnet.version}"


def page_routes(
    pages: Pages, lookups: Lookups, current: CurrentSnapshot, shelf: Shelf
) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter(
        include_in_schema=False,
        default_response_class=HTMLResponse,
        dependencies=[Depends(given_once)],
    )

    @reads(router, "/")
    def index() -> Response:
        return pages.page("index", groups=groups_of(current()))

    @reads(router, "/browse")
    def group(query: Annotated[BestQuery, Query()]) -> Response:
        return _group_page(pages, lookups, query)

    @reads(router, "/models/{model}/{version}")
    def version(model: str, version: int) -> Response:
        subnet = lookups.version(f"models:/{model}/{version}")
        certificate, fault = None, ""
        try:
            certificate = shelf.certificate(subnet)
        except RegistryError as error:
            fault = str(error)
        return pages.page(
            "version",
            subnet=subnet,
            record=subnet.record,
            certificate=certificate,
            fault=fault,
            noise=accuracy_noise(subnet),
            files=f"/v1/models/{model}/versions/{subnet.version}/files",
            tried=f"/v1/models/{model}/versions/{subnet.version}/try",
        )

    @reads(router, "/docs")
    def docs(request: Request) -> Response:
        app: FastAPI = request.app
        return pages.page("docs", title=app.title, operations=operations_of(app.openapi()))

    return router


def _group_page(pages: Pages, lookups: Lookups, query: BestQuery) -> Response:
    """Return the page of a dataset and a device; with a latency, its best subnet on top."""
    question = query.question()
    front = lookups.front(device=query.device, quantile=query.quantile, dataset=query.dataset)
    listed = lookups.list_subnets(device=query.device, dataset=query.dataset or "any")
    found, reason = None, ""
    if query.max_latency_ms is not None:
        try:
            found = lookups.explain(question)
        except InfeasibleConstraintError as error:
            reason = str(error)
    digest = front[0].record.dataset_digest
    subnets = [item for item in listed if item.record.dataset_digest == digest]
    subnets.sort(key=lambda item: item.record.latency[query.device].value_ms(query.quantile))
    return pages.page(
        "group",
        query=query,
        label=dataset_label(front[0].record),
        found=found,
        reason=reason,
        front={item.model_uri for item in front},
        shown=subnets[:MAX_SHOWN],
        num_subnets=len(subnets),
        plot=front_plot(
            subnets,
            front,
            device=query.device,
            quantile=query.quantile,
            budget_ms=query.max_latency_ms,
        ),
    )


def groups_of(snapshot: Snapshot) -> list[dict[str, object]]:
    """Return each dataset and device with how many subnets there are, and the extremes."""
    groups: dict[tuple[str, str], list[RegisteredSubnet]] = {}
    for item in snapshot.subnets:
        for device in item.record.latency:
            groups.setdefault((dataset_label(item.record), device), []).append(item)
    return [
        {
            "dataset": dataset,
            "device": device,
            "number": len(items),
            "accuracy": max(item.record.accuracy_top1 for item in items),
            "fastest": min(item.record.latency[device].p50_ms for item in items),
        }
        for (dataset, device), items in sorted(groups.items())
    ]
