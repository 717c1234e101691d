"""The application: what it is made of, and the lifespan that owns every resource."""

import contextlib
import logging
import ssl
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import torch
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from models.bundle import find_bundle
from models.engines import Device
from models.errors import OptionError
from models.images import ImageLimits
from models.runtime import Encoder
from service.admission import WaitingLimits
from service.api import (
    backups,
    collections,
    decisions,
    distances,
    documentation,
    embeddings,
    encoders,
    health,
    identities,
    item_reading,
    items,
    losses,
    metrics,
    problems,
    recall,
    search,
)
from service.api.direct import DirectRoutes
from service.api.middleware import RequestMiddleware
from service.api.options import refuse_unknown_options
from service.api.state import Services
from service.batch_size import BatchLimits
from service.cpus import available_cpus
from service.encoder import HostingLimits
from service.encoders import HostedEncoders
from service.engines import Engines
from service.gallery.backup_jobs import Backups
from service.gallery.folders import refuse_if_in_use, refuse_within
from service.gallery.gallery import COLLECTIONS_FOLDER, Gallery
from service.gallery.index.sizes import Sizes
from service.gallery.opening import Outcome
from service.gallery.searcher import Searcher
from service.memory import granted_bytes
from service.settings import Settings
from service.telemetry import Telemetry
from service.urls.downloads import Downloads
from service.urls.fetcher import FetchLimits, UrlFetcher
from service.urls.hosts import AllowedHosts
from service.urls.names import LookUp, Names, look_up
from service.urls.networks import AllowedNetworks

__all__ = ["create_app"]

_logger = logging.getLogger("lookalike")

_DESCRIPTION = """Who is this, how sure are you, and what else looks like it?

Embeddings, distances, triplet losses and nearest neighbours over REST. A *sample* is a vector (a
list of numbers) or an image (a data URI or base64, or a URL where that is
switched on); every endpoint that takes one takes both.
Distances: smaller is closer. Errors are problem+json and say what to do.
"""

# Storage calls mostly wait for the disk or for FAISS, which has threads of its own.
_STORAGE_CALLS = 16


class LoadEncoder(Protocol):
    """Makes an encoder of a bundle's folder, as `models.runtime.load_encoder` does."""

    def __call__(self, folder: Path, *, device: Device, threads: int) -> Encoder:
        """Return the encoder."""


@dataclass(frozen=True, slots=True)
class _Seams:
    """What tests put in the place of the real thing, and what tells that all collections are open."""

    load: LoadEncoder | None
    resolve: LookUp
    opened: "Future[Outcome]"


def create_app(settings: Settings, *, load: LoadEncoder | None = None, resolve: LookUp = look_up) -> FastAPI:
    """Return the application; its resources are acquired when it starts and released when it stops.

    Args:
        settings: of the server.
        load: makes the encoders; None is `service.engines.Engines`, as the settings have it.
        resolve: looks up the names of hosts that pictures are fetched from.
    """
    telemetry = Telemetry()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            seams = _Seams(load, resolve, app.state.opened)
            app.state.services = await _start(settings, seams, telemetry, stack)
            yield

    app = FastAPI(
        title="Lookalike",
        version=version("lookalike"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # such a redirect leads to where the client's Host header says
        # FastAPI's own would read the environment, at each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.drain = threading.Event()  # set from a signal's handler
    app.state.opened = Future[Outcome]()  # of opening the collections at the start
    modules = (
        embeddings,
        search,
        encoders,
        distances,
        losses,
        collections,
        items,  # whose /delete comes before any id
        item_reading,
        identities,
        recall,
        decisions,
        backups,
        health,
        metrics,
    )
    routes = [route for module in modules for route in module.router.routes]
    refuse_unknown_options(routes)
    app.router.routes.extend(routes)  # of an included router each request would be matched twice
    app.add_middleware(DirectRoutes, routes=routes)
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=settings.max_body_bytes,
        metrics=telemetry.requests,
        deadline_ms=settings.deadline_ms,
        body_timeout_s=settings.body_timeout_s,
    )
    problems.install(app, routes)
    documentation.install(app)
    return app


async def _start(
    settings: Settings, seams: _Seams, telemetry: Telemetry, stack: contextlib.AsyncExitStack
) -> Services:
    """Load the encoders and begin to open the gallery; the stack closes them in turn."""
    await to_thread.run_sync(refuse_if_in_use, settings.data_dir)  # at once: the encoders take seconds
    homes = settings.data_dir / COLLECTIONS_FOLDER
    await to_thread.run_sync(refuse_within, settings.backups_dir(), homes, "the collections")
    threads = settings.threads or available_cpus()
    torch.set_num_threads(threads)

    urls = UrlFetcher(
        await to_thread.run_sync(_downloads, settings, seams.resolve), _fetch_limits(settings), telemetry.urls
    )
    stack.push_async_callback(urls.close)
    engines = Engines(
        settings.data_dir / "engines", engine=settings.engine, device=settings.device, threads=threads
    )
    load = seams.load
    hosted = HostedEncoders(
        load=partial(load, device=settings.device, threads=threads) if load else engines.load,
        compare=None if load else engines.compare,
        limits=_hosting_limits(settings, threads),
        telemetry=telemetry,
    )
    stack.push_async_callback(hosted.close)
    for count, (name, bundle) in enumerate(settings.bundles(), start=1):
        one = await hosted.host(await to_thread.run_sync(find_bundle, bundle), name)
        if len(hosted.all()) < count:
            raise OptionError(f"Two encoders are called {one.name!r}. Host one as NAME=BUNDLE.")
    gallery = await to_thread.run_sync(
        lambda: Gallery(
            settings.data_dir,
            faiss_threads=threads,
            sizes=Sizes(memory_bytes=granted_bytes()),
            scrub_hours=settings.scrub_hours,
            opened=seams.opened,
        )
    )
    stack.push_async_callback(to_thread.run_sync, gallery.close)
    kept = Backups(settings.backups_dir(), settings.data_dir, gallery)
    stack.push_async_callback(to_thread.run_sync, kept.close)
    searcher = Searcher(threads=threads, most_waiting=settings.max_waiting_searches)
    stack.push_async_callback(to_thread.run_sync, searcher.close)
    _logger.info("Collections are in %s. Threads: %d.", settings.data_dir, threads)
    return Services(
        settings=settings,
        encoders=hosted,
        urls=urls,
        telemetry=telemetry,
        gallery=gallery,
        backups=kept,
        searcher=searcher,
        numeric=CapacityLimiter(1),  # each computation uses all threads by itself
        admitted=CapacityLimiter(1 + settings.max_waiting_computations),
        storage=CapacityLimiter(_STORAGE_CALLS),
    )


def _hosting_limits(settings: Settings, threads: int) -> HostingLimits:
    return HostingLimits(
        batch=BatchLimits(
            settings.max_batch, settings.batch_target_ms / 1000, float(settings.encode_timeout_s)
        ),
        images=ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
        decoders=threads,
        waiting=WaitingLimits(settings.max_waiting_images, settings.max_waiting_bytes),
    )


def _fetch_limits(settings: Settings) -> FetchLimits:
    return FetchLimits(settings.url_at_once, settings.max_waiting_urls, settings.max_waiting_bytes)


def _downloads(settings: Settings, resolve: LookUp) -> Downloads:
    """Return how pictures are fetched by URL; reads the certificate authorities."""
    context = ssl.create_default_context()
    if settings.url_ca_file:
        try:
            context.load_verify_locations(settings.url_ca_file)
        except OSError as error:  # ssl.SSLError among them
            raise OptionError(
                f"LOOKALIKE_URL_CA_FILE: {settings.url_ca_file} has no certificates in PEM ({error})."
            ) from error
    return Downloads(
        hosts=AllowedHosts.parse(settings.url_hosts),
        networks=AllowedNetworks.parse(settings.url_networks),
        names=Names(resolve, at_once=settings.url_at_once),
        context=context,
        timeout_s=settings.url_timeout_s,
        redirects=settings.url_redirects,
        max_bytes=settings.max_image_bytes,
    )
