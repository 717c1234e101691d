"""One request over HTTP to one address that was checked before."""

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from anyio import CancelScope, current_effective_deadline, current_time
from httpcore2 import (
    SOCKET_OPTION,
    URL,
    AnyIOBackend,
    AsyncConnectionPool,
    AsyncNetworkBackend,
    AsyncNetworkStream,
    ConnectError,
    ConnectTimeout,
    NetworkError,
    ProtocolError,
    Response,
    TimeoutException,
)

from service.urls.networks import Address
from service.urls.places import Place

__all__ = ["CONNECTION_ERRORS", "asked", "header"]

# What goes wrong on the way to an answer, and within one.
CONNECTION_ERRORS = (NetworkError, ProtocolError, TimeoutException, OSError)  # ssl.SSLError is an OSError

_AGENT = f"lookalike/{version('lookalike')}"


class _Pinned(AsyncNetworkBackend):
    """Connects to given addresses, whatever the name would say by now.

    Args:
        addresses: tried in turn, each within its share of the time that is left.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._backend = AnyIOBackend()
        self._stream: AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connect; the host is only for TLS, which asks for its certificate."""
        failure: Exception = ConnectError("no address")
        for tried, address in enumerate(self._addresses):
            left = current_effective_deadline() - current_time()
            share = left / (len(self._addresses) - tried)
            try:
                self._stream = await self._backend.connect_tcp(
                    str(address), port, share, local_address, socket_options
                )
            except (ConnectError, ConnectTimeout) as error:
                failure = error
            else:
                return self._stream
        raise failure

    async def close(self) -> None:
        """Close the connection, where a cancelled handshake has left it open."""
        if self._stream is not None:
            with CancelScope(shield=True):
                await self._stream.aclose()


@asynccontextmanager
async def asked(
    place: Place, addresses: Sequence[Address], context: ssl.SSLContext
) -> AsyncIterator[Response]:
    """Ask for a place at one of these addresses; the body is still to come.

    The Host header, the name in the TLS handshake and that of the certificate are the place's. Nothing but
    these headers is sent: no cookie, no key, no referer, and no proxy of the environment is asked.

    Raises:
        CONNECTION_ERRORS: no connection, no certificate for the name, or no HTTP.
    """
    backend = _Pinned(addresses)
    url = URL(scheme=place.scheme, host=str(place.host), port=place.port, target=place.target)
    headers: dict[bytes | str, bytes | str] = {
        "Host": place.authority,
        "Accept": "image/jpeg, image/png, image/webp",
        "Accept-Encoding": "identity",
        "User-Agent": _AGENT,
        "Connection": "close",
    }
    try:
        async with (
            AsyncConnectionPool(ssl_context=context, max_connections=1, network_backend=backend) as pool,
            pool.stream("GET", url, headers=headers) as response,
        ):
            yield response
    finally:
        await backend.close()


def header(response: Response, name: bytes) -> str:
    """Return a header's first value, empty where there is none."""
    values = (value for key, value in response.headers if key.lower() == name)
    return next(values, b"").decode("utf-8", "replace").strip()
