"""A client that spends little on a request, so that what is measured is the server."""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Answer", "Connection", "Connections", "request"]

_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP; 0 where the connection was lost before the answer was whole.
        head: the status line and the headers, in lower case.
        body: as it came.
    """

    status: int
    head: bytes = b""
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return a header's value, empty where there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key == name.encode():
                return value.strip().decode()
        return ""


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a request as its bytes, made once and sent often; `content_type` is the header Content-Type."""
    fields = {"host": "server", "content-length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """A kept connection, with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._received = bytearray()

    @property
    def open(self) -> bool:
        """Return whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect an answer until it is whole."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        answer = Answer(int(head[9:12]), head)
        whole = end + 4 + int(answer.header("content-length") or 0)
        if len(self._received) < whole:
            return
        body = bytes(self._received[end + 4 : whole])
        self._received.clear()
        if answer.header("connection") == "close":
            self.close()
        self._settle(Answer(answer.status, head, body))

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits that nothing comes any more."""
        self._transport = None
        self._settle(Answer(0))

    async def ask(self, content: bytes) -> Answer:
        """Send a request and return the answer; one of status 0 where none came."""
        if self._transport is None:
            return Answer(0)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(content)
        return await self._answer

    def send(self, content: bytes) -> None:
        """Send a request whose answer nobody waits for."""
        assert self._transport is not None
        self._transport.write(content)

    def abort(self) -> None:
        """Leave at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Send nothing more."""
        if self._transport is not None:
            self._transport.close()

    def _settle(self, answer: Answer) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)


class Connections:
    """Connections to one server, kept for whoever asks next.

    Args:
        url: of the server.
        most: how many there may be at once.
    """

    def __init__(self, url: str, most: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._host, self._port, self._most = parts.hostname, parts.port, most
        self._idle: list[Connection] = []
        self.busy = 0

    @property
    def all_busy(self) -> bool:
        """Return whether another request would need one connection more than there may be."""
        return self.busy >= self._most

    async def connect(self) -> Connection:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        return connection

    async def ask(self, content: bytes) -> Answer:
        """Send a request over a connection that is idle, or over a new one; `Answer(0)` where that fails."""
        self.busy += 1
        try:
            while self._idle and not self._idle[-1].open:
                self._idle.pop()
            kept = bool(self._idle)
            connection = self._idle.pop() if kept else await self.connect()
            async with asyncio.timeout(_LIMIT_S):
                answer = await connection.ask(content)
                if kept and not answer.status:  # the server has closed it, as it may, before the request came
                    connection = await self.connect()
                    answer = await connection.ask(content)
            self._idle.append(connection)
        except OSError:  # TimeoutError among them
            return Answer(0)
        finally:
            self.busy -= 1
        return answer

    async def __aenter__(self) -> "Connections":
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)
