"""A real server of pictures on loopback that answers what it is told to, byte for byte."""

import contextlib
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator

__all__ = ["PictureServer", "answer", "picture_server", "redirect"]

PATIENCE_S = 20

Pieces = Callable[[], Iterable[bytes]]


def answer(body: bytes = b"", *, status: str = "200 OK", headers: str = "", length: bool = True) -> bytes:
    """Return an answer's bytes."""
    declared = f"Content-Length: {len(body)}\r\n" if length else ""
    return f"HTTP/1.1 {status}\r\n{declared}{headers}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(status=status, headers=f"Location: {location}\r\n")


class PictureServer(socketserver.ThreadingTCPServer):
    """Answers each path with its pieces, and keeps the heads of the requests that came.

    Attributes:
        answers: by path; a callable gives the pieces.
        heads: of the requests, as they came.
        opened: connections so far.
        open: connections now.
        names: that TLS asked for.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        self.answers: dict[str, bytes | Pieces] = {}
        self.heads: list[str] = []
        self.names: list[str | None] = []
        self.opened = self.open = 0
        self.lock = threading.Lock()
        self.context = context
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        super().__init__((address, 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def count(self, change: int) -> None:
        """Note a connection that came or went."""
        with self.lock:
            self.open += change
            self.opened += change > 0

    def wait_until_left(self) -> None:
        """Wait until no connection is open any more."""
        until = time.monotonic() + PATIENCE_S
        while self.open and time.monotonic() < until:
            time.sleep(0.01)
        assert not self.open


class _Handler(socketserver.BaseRequestHandler):
    server: PictureServer

    def handle(self) -> None:
        self.server.count(1)
        try:
            with contextlib.suppress(OSError):  # the client left
                self._answer()
        finally:
            self.server.count(-1)

    def _answer(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(PATIENCE_S)
        if self.server.context is not None:
            connection = self.server.context.wrap_socket(connection, server_side=True)
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(65_536)
                if not received:
                    return
                head += received
            self.server.heads.append(head.decode())
            told = self.server.answers[head.split(b" ", 2)[1].partition(b"?")[0].decode()]
            for piece in [told] if isinstance(told, bytes) else told():
                connection.sendall(piece)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def picture_server(
    context: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> Iterator[PictureServer]:
    """Run one."""
    with PictureServer(context, address) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
