"""Routes of one version: its certificate, its files, and a try of it."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from ofa_pipeline.documents import SubnetCertificate
from ofa_pipeline.documents.answers import SubnetAnswer
from ofa_pipeline.errors import DatasetError, RegistryError, shown
from ofa_pipeline.registry import Lookups, RegisteredSubnet
from ofa_pipeline.registry.answers import subnet_answer
from ofa_pipeline.service.lookups import document
from ofa_pipeline.service.routes import asks_nothing, reads
from ofa_pipeline.service.shelf import Shelf
from ofa_pipeline.temporary import temporary_folder

MAX_IMAGE_BYTES = 32 * 10**6
MAX_NAMED_CLASSES = 10

Fetched = TypeVar("Fetched")
Model = Annotated[str, Path(description="Name of a registered model.", max_length=300)]
Version = Annotated[int, Path(description="Number of its version.", ge=1, le=10**9)]
FileName = Annotated[str, Path(description="Name of a file.", max_length=200)]


class NamedClass(BaseModel):
    """A class with its probability."""

    class_name: str
    probability: float


class TriedImage(BaseModel):
    """What a subnet says of an image."""

    model_uri: str
    classes: list[NamedClass]
    """The most probable first, at most ten."""
    latency_ms: float
    """Of this call on the machine of the service, without reading the image; not certified."""


def version_routes(lookups: Lookups, shelf: Shelf) -> APIRouter:
    """Return the routes of versions."""
    router = APIRouter(
        prefix="/v1/models/{model}/versions/{version}",
        tags=["versions"],
        dependencies=[Depends(asks_nothing)],
    )

    def found(model: str, version: int) -> RegisteredSubnet:
        return lookups.version(f"models:/{model}/{version}")

    @reads(router, "", response_model=SubnetAnswer)
    async def subnet(model: Model, version: Version) -> Response:
        """Return what a version was measured to do."""
        return document(subnet_answer(found(model, version)))

    @reads(router, "/certificate", response_model=SubnetCertificate)
    def certificate(model: Model, version: Version) -> Response:
        """Return the certificate of a version, after its files were compared with their digests."""
        return document(intact(lambda: shelf.certificate(found(model, version))))

    @reads(router, "/files/{name}", response_class=FileResponse)
    def file(model: Model, version: Version, name: FileName, request: Request) -> Response:
        """Return a file of a version; its ETag is its SHA-256, and ranges are served."""
        subnet = found(model, version)
        if name not in intact(lambda: shelf.certificate(subnet)).files:
            raise HTTPException(404, f"{subnet.model_uri} has no file {shown(name)}.")
        path, digest = intact(lambda: shelf.file(subnet, name))
        headers = {"ETag": f'"{digest}"', "X-Checksum-Sha256": digest}
        if _has(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return FileResponse(path, filename=name, headers=headers)

    # An image may unpack to hundreds of megabytes: one at a time, and the others wait here, not in
    # the threads that answer everybody else.
    turns = asyncio.Semaphore(1)

    @router.post("/try")
    async def try_image(model: Model, version: Version, request: Request) -> TriedImage:
        """Classify one image; its bytes are the body of the request."""
        subnet = found(model, version)
        image = await _body(request)
        async with turns:
            return await run_in_threadpool(_tried, shelf, subnet, image)

    return router


def intact(fetch: Callable[[], Fetched]) -> Fetched:
    """Return what is fetched.

    Raises:
        HTTPException: 409 with the reason, if the files are gone or changed.
    """
    try:
        return fetch()
    except RegistryError as error:
        raise HTTPException(409, str(error)) from error


def _has(request: Request, etag: str) -> bool:
    """Whether who asks has a file already, by its ETag."""
    given = request.headers.get("if-none-match", "")
    return given.strip() == "*" or etag in (
        item.strip().removeprefix("W/") for item in given.split(",")
    )


async def _body(request: Request) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: 413 if it is too large, 422 if it is empty.
    """
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > MAX_IMAGE_BYTES:
            limit = MAX_IMAGE_BYTES // 10**6
            raise HTTPException(413, f"an image must have at most {limit} MB. Send a smaller one.")
    if not parts:
        raise HTTPException(422, "the body must be an image file, got nothing.")
    return bytes(parts)


def _tried(shelf: Shelf, subnet: RegisteredSubnet, image: bytes) -> TriedImage:
    classifier = intact(lambda: shelf.classifier(subnet))
    with temporary_folder("try") as folder:
        path = FilePath(folder) / "the image"
        path.write_bytes(image)
        try:
            square = classifier.read(path)
        except DatasetError as error:
            reason = str(error).replace(f"{path}: ", "")
            raise HTTPException(422, f"the body must be an image file: {reason}") from error
    begun = time.perf_counter()
    [probabilities] = classifier.predict(square)
    latency_ms = 1000 * (time.perf_counter() - begun)
    order = probabilities.argsort()[::-1][:MAX_NAMED_CLASSES]
    return TriedImage(
        model_uri=subnet.model_uri,
        classes=[
            NamedClass(
                class_name=classifier.class_names[index], probability=float(probabilities[index])
            )
            for index in order
        ],
        latency_ms=latency_ms,
    )
