"""Connections as uvicorn keeps them, with bounds on all but bodies, which the middleware bounds."""

import logging
from asyncio import Transport
from itertools import chain
from typing import Any, cast

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["BoundedProtocol"]

_logger = logging.getLogger("lookalike.access")

_MOST_BYTES = 64 * 1024  # of a request's line and headers; other servers take 8 to 64 KiB
_MOST_QUEUED = 100  # requests sent before the first is answered
_MOST_QUEUED_BYTES = 2**20  # of the body of one of these
_MOST_JOINED_BYTES = 64 * 1024  # more take longer to copy than to be sent by themselves
_INTERIM = b"HTTP/1.1 1"  # 100 Continue: an answer will follow
_PROBLEM = orjson.dumps(
    {
        "type": "/problems/headers-too-large",
        "title": "The headers are too large",
        "status": 431,
        "detail": f"The request's line and headers have more than {_MOST_BYTES:,} bytes. Send pictures and "
        "vectors in the body.",
    }
)
_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\n"
    b"content-length: %d\r\n"
    b"connection: close\r\n\r\n%b" % (len(_PROBLEM), _PROBLEM)
)


class _Answers:
    """A transport that sends the head of an answer together with what follows it.

    uvicorn writes a head as soon as it has it, though ASGI lets it wait for the body; each write is a call of
    the system and wakes the client: to write once saves a brief answer a tenth of its time.
    """

    __slots__ = ("_begun", "_head", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport, self._head, self._begun = transport, b"", False

    def write(self, data: bytes | memoryview) -> None:
        """Send data, unless it is the head of an answer, which is sent with the next."""
        if not self._begun and bytes(data[: len(_INTERIM)]) != _INTERIM:
            self._head, self._begun = bytes(data), True
            return
        head, self._head = self._head, b""
        if not head:
            self._transport.write(data)
        elif len(data) <= _MOST_JOINED_BYTES:
            self._transport.write(b"".join([head, data]))
        else:
            self._transport.writelines([head, data])

    def end(self) -> None:
        """Send a head that nothing followed: the answer is over."""
        if self._head:
            self._transport.write(self._head)
        self._head, self._begun = b"", False

    def close(self) -> None:
        """Send what is left, and close."""
        self.end()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection on which headers do not come to an end, or more is sent than anybody reads.

    The parser keeps a header until it is whole, and is given it anew with each piece: one of 80 MB, which
    anybody may send, stops the event loop for seconds. uvicorn waits for the first request, and for the end
    of headers, for ever. And it reads on with each answer, whatever is queued behind that.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = 0  # bytes since headers were whole, or some of a body came
        self._in_head = self._too_large = False
        self._waits_since = self.loop.time()  # for a request, or for the end of its headers

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._answers = _Answers(transport)
        self.transport = cast("Transport", self._answers)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much of what is no body."""
        self._unparsed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._too_large or self._unparsed > _MOST_BYTES:
            self._refuse()
        elif self._idle():
            self._wait()

    def on_message_begin(self) -> None:
        """Begin to wait for the end of the headers."""
        self._in_head, self._waits_since = True, self.loop.time()
        super().on_message_begin()
        self.scope["state"]["served"] = self.tasks  # all that are, for whoever would wait for others to join

    def on_headers_complete(self) -> None:
        """Begin to serve the request, unless it is too large or one too many."""
        length = len(self.url) + sum(map(len, chain.from_iterable(self.headers)))
        self._too_large = self._too_large or length > _MOST_BYTES
        if self._too_large:
            return
        self._unparsed, self._in_head = 0, False
        super().on_headers_complete()
        if len(self.pipeline) > _MOST_QUEUED:
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Take some of a body, unless nobody reads it yet and it is much."""
        if self._too_large:
            return
        self._unparsed = 0
        super().on_body(body)
        if self.pipeline and len(self.cycle.body) > _MOST_QUEUED_BYTES:
            self.transport.close()

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        if self._too_large:
            return
        self._unparsed = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._waits_since = self.loop.time()
        self._answers.end()
        super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if it had not been asked for, and close: the parser drops what came after it."""
        self.cycle.keep_alive = False

    def _idle(self) -> bool:
        """Return whether no request is being answered."""
        last: RequestResponseCycle | None = self.cycle  # uvicorn says that there always is one
        return last is None or last.response_complete

    def _wait(self) -> None:
        """Close the connection where nothing whole has come in time; uvicorn ends this as it ends its own."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_at(
            self._waits_since + self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _refuse(self) -> None:
        """Close the connection, with an answer where a request waits for one."""
        _logger.info("A connection was closed: more than %d bytes came that are no body.", _MOST_BYTES)
        if (self._in_head or self._too_large) and self._idle():
            self.transport.write(_ANSWER)
        self.transport.close()
