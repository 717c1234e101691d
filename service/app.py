"""The application: what it is made of, and the lifespan that owns every resource."""

import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version

import torch
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from models.bundle import find_bundle
from models.images import ImageLimits
from models.runtime import load_encoder
from service.api import (
    collections,
    decisions,
    distances,
    documentation,
    embeddings,
    health,
    items,
    losses,
    problems,
    search,
)
from service.api.middleware import RequestMiddleware
from service.api.state import Services
from service.cpus import available_cpus
from service.encoder import HostedEncoder
from service.gallery.gallery import Gallery
from service.settings import Settings

__all__ = ["create_app"]

_logger = logging.getLogger("lookalike")

_DESCRIPTION = """Who is this, how sure are you, and what else looks like it?

Embeddings, distances, triplet losses and nearest neighbours over REST. A *sample* is a vector (a
list of numbers) or an image (a data URI or base64); every endpoint that takes one takes both.
Distances: smaller is closer. Errors are problem+json and say what to do.
"""

# Storage calls mostly wait for the disk or for FAISS, which has threads of its own.
_STORAGE_CALLS = 16


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its resources are acquired when it starts and released when it stops."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            app.state.services = await _start(settings, stack)
            yield

    app = FastAPI(
        title="Lookalike",
        version=version("lookalike"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(RequestMiddleware, max_body_bytes=settings.max_body_bytes)
    modules = (embeddings, distances, losses, collections, items, search, decisions, health)
    for module in modules:
        app.include_router(module.router)
    problems.install(app, [route for module in modules for route in module.router.routes])
    documentation.install(app)
    return app


async def _start(settings: Settings, stack: contextlib.AsyncExitStack) -> Services:
    """Load the encoder and open the gallery; the stack closes them in turn."""
    threads = settings.threads or available_cpus()
    torch.set_num_threads(threads)
    encoder = await to_thread.run_sync(
        lambda: load_encoder(find_bundle(settings.encoder), device=settings.device, threads=threads)
    )
    hosted = HostedEncoder(
        encoder,
        limits=ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
        decoders=threads,
        max_batch=settings.max_batch,
        max_waiting=settings.max_waiting_images,
    )
    stack.push_async_callback(to_thread.run_sync, hosted.close)
    gallery = await to_thread.run_sync(lambda: Gallery(settings.data_dir, faiss_threads=threads))
    stack.push_async_callback(to_thread.run_sync, gallery.close)
    _logger.info(
        "Encoder %s (%d dimensions, %s on %s), %d collections in %s, %d threads.",
        encoder.manifest.name,
        encoder.manifest.dimension,
        encoder.engine.name,
        encoder.engine.device,
        len(gallery.list()),
        settings.data_dir,
        threads,
    )
    return Services(
        settings=settings,
        encoder=hosted,
        gallery=gallery,
        numeric=CapacityLimiter(1),  # each computation uses all threads by itself
        admitted=CapacityLimiter(1 + settings.max_waiting_computations),
        storage=CapacityLimiter(_STORAGE_CALLS),
    )
