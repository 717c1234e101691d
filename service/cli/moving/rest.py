"""A running server, asked over kept connections, and asked again where it is busy or away for a while."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click
import httpcore2

__all__ = ["JSON", "SAFETENSORS", "Answer", "Server", "StoppedError"]

JSON = "application/json"
SAFETENSORS = "application/x-safetensors"  # as service.api.wire has it, without the torch that comes with it

_BUSY = (429, 502, 503, 504)
_LONGEST_WAIT_S = 60.0
_FIRST_WAIT_S = 0.5
_TIMEOUT = {"connect": 10.0, "read": 300.0, "write": 300.0, "pool": 300.0}
_SLOW = httpcore2.ReadTimeout  # of a server that is there
_GONE = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, OSError)


class StoppedError(Exception):
    """The command is ending: nothing more is asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    content: bytes

    def json(self) -> dict[str, Any]:
        """Return its JSON; empty where it has none, as a proxy's answer."""
        try:
            found = json.loads(self.content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def sentence(self) -> str:
        """Return what a problem says."""
        detail = self.json().get("detail")
        return str(detail) if detail else f"The server answered {self.status}. Is it a Lookalike server?"


class Server:
    """A server at a URL. Thread-safe; all that is asked of it can be asked twice.

    Args:
        url: http://HOST:PORT, or https.
        patience_s: how long it may be busy or away before the command gives up.
        connections: how many are kept.

    Raises:
        BadParameter: the URL is none.
    """

    def __init__(self, url: str, *, patience_s: float, connections: int) -> None:
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
            raise click.BadParameter("give it as http://HOST:PORT", param_hint="--url")
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._pool = httpcore2.ConnectionPool(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30
        )
        self._reached = False
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let nobody wait any longer: who does gets StoppedError."""
        self._stopped.set()

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()

    def ask(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        *,
        headers: Mapping[bytes | str, bytes | str] | None = None,
    ) -> Answer:
        """Return the answer, whatever its status but those of a server that is busy: then it is asked again.

        Raises:
            ClickException: there is no such server, or it was busy or away for longer than one has patience.
            StoppedError: the command is ending.
        """
        given_up = time.monotonic() + self._patience_s
        wait_s = _FIRST_WAIT_S
        while not self._stopped.is_set():
            try:
                answer, wanted_s = self._once(method, path, content, headers or {})
            except _GONE as error:
                reason, wanted_s = f"does not answer ({str(error) or type(error).__name__})", None
                if not self._reached and not isinstance(error, _SLOW):
                    raise click.ClickException(f"{self.url} {reason}. Is the server running?") from error
            else:
                self._reached = True
                if answer.status not in _BUSY:
                    return answer
                reason = f"is busy: {answer.sentence()}"
            pause_s = min(wanted_s or wait_s, _LONGEST_WAIT_S)
            if time.monotonic() + pause_s > given_up:
                raise click.ClickException(f"{self.url} {reason.removesuffix('.')}.")
            self._stopped.wait(pause_s)
            wait_s *= 2
        raise StoppedError

    def _once(
        self, method: str, path: str, content: bytes, headers: Mapping[bytes | str, bytes | str]
    ) -> tuple[Answer, float | None]:
        """Return one answer, and the seconds after which it says to come back."""
        sent: dict[bytes | str, bytes | str] = {"Host": urlsplit(self.url).netloc, **headers}
        if method in ("POST", "PUT"):
            sent = {"Content-Type": JSON, "Content-Length": str(len(content)), **sent}
        response = self._pool.request(
            method, self.url + path, headers=sent, content=content, extensions={"timeout": _TIMEOUT}
        )
        fields = {name.lower(): value for name, value in response.headers}
        after = fields.get(b"retry-after", b"")
        return Answer(response.status, response.content), float(after) if after.isdigit() else None
