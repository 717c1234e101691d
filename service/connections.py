"""Connections as uvicorn keeps them, with a limit on what comes before a body and after it."""

from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["BoundedProtocol"]

_MOST_BYTES = 64 * 1024  # of a request's line and headers; other servers take 8 to 64 KiB
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


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection on which headers, or the trailers of a chunked body, do not come to an end.

    The parser keeps a header until it is whole, and is given it anew with each piece: one of 80 MB, which
    anybody may send, stops the event loop for seconds.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed = 0  # bytes since headers were whole, or some of a body came

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is too much of what is no body."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > _MOST_BYTES and not self.transport.is_closing():
            answered: RequestResponseCycle | None = self.cycle  # uvicorn says that there always is one
            if answered is None or answered.response_complete:
                self.transport.write(_ANSWER)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """Take note that the headers are whole."""
        self._unparsed = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take note that some of a body came."""
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        self._unparsed = 0
        super().on_message_complete()
