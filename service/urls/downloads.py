"""One picture by its URL: allowed, resolved once, connected to what was checked, redirects likewise."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from anyio import fail_after
from anyio.lowlevel import checkpoint
from httpcore2 import Response

from models.errors import ImageTooLargeError
from service.errors import UrlError
from service.urls.connection import CONNECTION_ERRORS, asked, header
from service.urls.hosts import AllowedHosts
from service.urls.names import Names
from service.urls.networks import Address, AllowedNetworks, is_public
from service.urls.places import Place, parse_url

__all__ = ["Downloads"]

_logger = logging.getLogger("lookalike")

_REDIRECTS = (301, 302, 303, 307, 308)
_OFF = (
    "URLs are not fetched here. Send the picture itself, as a data URI or base64, or have the server allow "
    "the URL's host (LOOKALIKE_URL_HOSTS)."
)


class _UnusableError(Exception):
    """Why there is no picture, for the log alone: it would tell a client what this machine can reach."""


@dataclass(frozen=True, slots=True)
class Downloads:
    """How a picture is downloaded.

    Attributes:
        hosts: from which.
        networks: whose addresses are allowed beside the public ones, to hosts that are listed by name.
        names: looks names up.
        context: of TLS.
        timeout_s: that a picture may take, from the look-up to its last byte.
        redirects: that are followed.
        max_bytes: of a picture.
    """

    hosts: AllowedHosts
    networks: AllowedNetworks
    names: Names
    context: ssl.SSLContext
    timeout_s: float
    redirects: int
    max_bytes: int

    async def download(self, url: str, taken: Callable[[int], None], request_id: str) -> bytes:
        """Return the bytes that a URL has.

        Args:
            url: as the client gave it.
            taken: is told the bytes as they come; what it raises ends the download.
            request_id: under which the log says what went wrong.

        Raises:
            UrlError: it may not be fetched, or nothing came: one sentence for every cause in the network.
            ImageTooLargeError: more bytes than a picture may have.
        """
        if not self.hosts.entries:
            raise UrlError(_OFF, refused=True)
        place = parse_url(url)
        if not self.hosts.allow(place.host, place.port):
            raise UrlError(
                f"Pictures are not fetched from {place.authority}. Send the picture itself, or have the "
                "server allow that host and port (LOOKALIKE_URL_HOSTS).",
                refused=True,
            )
        try:
            with fail_after(self.timeout_s):
                for _ in range(1 + self.redirects):
                    found = await self._ask(place, taken)
                    if isinstance(found, bytes):
                        return found
                    place = found
            raise UrlError(f"Its server redirects more than {self.redirects} times.", refused=True)
        except (*CONNECTION_ERRORS, _UnusableError) as error:  # TimeoutError is an OSError
            why = str(error) or type(error).__name__
            _logger.info("No picture came from %s: %s [%s]", place, ascii(why), request_id)
            raise UrlError(
                "No picture could be fetched: the host has no address that may be used, or did not answer as "
                f"a web server within {self.timeout_s:g} seconds. The server's log says more."
            ) from error

    async def _ask(self, place: Place, taken: Callable[[int], None]) -> bytes | Place:
        """Return the picture, or where it is said to be."""
        async with asked(place, await self._addresses(place), self.context) as response:
            if response.status in _REDIRECTS and (location := header(response, b"location")):
                return self._redirected(place, location)
            if response.status != HTTPStatus.OK:
                raise UrlError(f"The picture's server answered {response.status}.")
            if (encoding := header(response, b"content-encoding")) not in ("", "identity"):
                raise UrlError(
                    f"The picture's server sent it compressed ({encoding[:20]!r}), which was not asked for."
                )
            return await self._body(response, taken)

    def _redirected(self, place: Place, location: str) -> Place:
        """Return where a redirect leads, which is looked at as the first URL was."""
        there = place.redirected(location)
        if not self.hosts.allow(there.host, there.port):
            raise UrlError("Its server redirects to a host that pictures are not fetched from.", refused=True)
        return there

    async def _addresses(self, place: Place) -> list[Address]:
        """Return the addresses of a place's host, all of which may be connected to."""
        if isinstance(place.host, str):
            try:
                found = await self.names.addresses(place.host, place.port)
            except ValueError as error:
                raise _UnusableError(f"its name cannot be looked up ({error})") from error
        else:
            found = [place.host]
        named = self.hosts.name(place.host, place.port)
        for address in found:
            if not is_public(address) and not (named and address in self.networks):
                raise _UnusableError(f"{address} is not allowed (LOOKALIKE_URL_NETWORKS)")
        return found

    async def _body(self, response: Response, taken: Callable[[int], None]) -> bytes:
        """Read a body that may be larger, or smaller, than it says."""
        declared = header(response, b"content-length")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            raise self._too_large(int(declared))
        body = bytearray()
        async for piece in response.aiter_stream():
            taken(len(piece))
            body += piece
            if len(body) > self.max_bytes:
                raise self._too_large(len(body))
            await checkpoint()  # many pieces may come at once; others have their turn between them
        return bytes(body)

    def _too_large(self, size: int) -> ImageTooLargeError:
        return ImageTooLargeError(
            f"The URL's file has {size:,} bytes or more and the limit is {self.max_bytes:,}. "
            "Give a smaller one.",
            limit=self.max_bytes,
            got=size,
        )
