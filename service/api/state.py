"""What the routes work with, handed down from the lifespan."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, WouldBlock, to_thread
from fastapi import Depends, Request

from models.errors import OptionError
from service.api.attended import attended
from service.api.budgets import Needs
from service.encoder import HostedEncoder
from service.encoders import HostedEncoders
from service.errors import EncoderMismatchError, OverloadedError, TooLargeError
from service.gallery.backup_jobs import Backups
from service.gallery.collection import Collection
from service.gallery.gallery import Gallery
from service.gallery.searcher import Searcher
from service.settings import Settings
from service.telemetry import Telemetry
from service.urls.fetcher import UrlFetcher

__all__ = ["Services", "ServicesDep", "is_alone", "services_of"]

Result = TypeVar("Result")

_logger = logging.getLogger("lookalike")

_RETRY_AFTER_S = 5  # a large computation takes seconds


@dataclass(frozen=True, slots=True)
class Services:
    """The resources of one running server.

    Attributes:
        settings: as it was started.
        encoders: the hosted encoders.
        urls: fetches pictures by URL.
        telemetry: what is counted and timed.
        gallery: the collections on disk.
        backups: of these, which operators make.
        searcher: searches them.
        numeric: how many large distance and loss computations run at once.
        admitted: how many run or wait.
        storage: how many gallery calls and small computations run at once.
    """

    settings: Settings
    encoders: HostedEncoders
    urls: UrlFetcher
    telemetry: Telemetry
    gallery: Gallery
    backups: Backups
    searcher: Searcher
    numeric: CapacityLimiter
    admitted: CapacityLimiter
    storage: CapacityLimiter

    @property
    def encoder(self) -> HostedEncoder:
        """Return the default encoder."""
        return self.encoders.default

    def encoder_of(self, collection: Collection) -> HostedEncoder:
        """Return the encoder for a collection's pictures.

        Raises:
            OptionError: it takes vectors only.
            EncoderMismatchError: its vectors are another encoder's than the one that is hosted.
        """
        config = collection.config
        if config.encoder is None:
            raise OptionError(
                f"The collection {collection.name!r} takes vectors only: it was made with a dimension and "
                "no encoder. Send vectors, or make a collection without `dimension`."
            )
        hosted = self.encoders.of_fingerprint(config.fingerprint)
        if hosted is None:
            known = ", ".join(
                f"{one.name!r} ({one.manifest.fingerprint[:12]})" for one in self.encoders.all()
            )
            raise EncoderMismatchError(
                f"The collection {collection.name!r} holds embeddings of the encoder {config.encoder!r} "
                f"(fingerprint {str(config.fingerprint)[:12]}), and hosted is {known}. Embeddings of two "
                "encoders cannot be compared: host the old one too (--encoders), or enrol the pictures in a "
                "new collection."
            )
        return hosted

    def refuse_beyond_limit(self, needs_bytes: int, advice: str) -> None:
        """Refuse work whose estimated memory is over the limit, before it starts.

        Raises:
            TooLargeError: with the advice of what to do instead.
        """
        limit = self.settings.max_work_bytes
        if needs_bytes > limit:
            raise TooLargeError(
                f"This would take about {needs_bytes / 2**20:,.0f} MiB and a request may take "
                f"{limit / 2**20:,.0f}. {advice}, or raise LOOKALIKE_MAX_WORK_BYTES."
            )

    async def compute(self, request: Request, work: Callable[[], Result], needs: Needs) -> Result:
        """Run numeric work in a thread, if it fits; small work does not wait for large work.

        Large work ends early where its client leaves; small work is over before that is noticed.

        Args:
            request: of the client that waits for it, its body read to the end.
            work: the computation, its answer's rendering included.
            needs: what it takes.

        Raises:
            TooLargeError: it would take more than the limit; says what would fit.
            OverloadedError: too many large computations are waiting already.
            ClientDisconnect: the client left.
        """
        if needs.peak_bytes > self.settings.max_work_bytes:
            self.refuse_beyond_limit(needs.peak_bytes, needs.advice(self.settings.max_work_bytes))
        if needs.small:
            return await self.store(work)
        try:
            self.admitted.acquire_on_behalf_of_nowait(request)
        except WouldBlock:
            waiting = self.settings.max_waiting_computations
            raise OverloadedError(
                f"{waiting:,} large computations are waiting, and no more may "
                "(LOOKALIKE_MAX_WAITING_COMPUTATIONS). Try again shortly.",
                retry_after_s=_RETRY_AFTER_S,
            ) from None
        if not self.numeric.available_tokens:
            _logger.debug("A large computation waits for its turn [%s].", request.state.request_id)
        try:
            return await attended(request, work, self.numeric)
        finally:
            self.admitted.release_on_behalf_of(request)

    async def store(self, work: Callable[[], Result]) -> Result:
        """Run a gallery call or a small computation in a thread."""
        return await to_thread.run_sync(work, limiter=self.storage)

    async def attend(self, request: Request, work: Callable[[], Result]) -> Result:
        """Run a gallery call of many steps in a thread; it ends at one of its checkpoints once nobody waits.

        Raises:
            ClientDisconnect, DeadlineError: nobody waits any more.
        """
        return await attended(request, work, self.storage)


def services_of(request: Request) -> Services:
    """Return what the request's server works with."""
    services: Services = request.app.state.services
    return services


def is_alone(request: Request) -> bool:
    """Say whether the server is known to serve no other request; see `service.connections`."""
    served = request.scope["state"].get("served", ())
    return len(served) == 1


async def _services(request: Request) -> Services:  # a plain function would be run in a thread
    return services_of(request)


ServicesDep = Annotated[Services, Depends(_services)]
