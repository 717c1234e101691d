"""What every request passes first: its id, its log line and the limit on its body. Pure ASGI."""

import asyncio
import math
import random
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import LookalikeError
from service.api.access_log import AccessLog
from service.api.admission import refuse_late_pictures
from service.api.coming import Coming
from service.api.problems import problem_of
from service.errors import (
    BodyTimeoutError,
    DeadlineError,
    InvalidFieldsError,
    NotReadyError,
    OverloadedError,
    TooLargeError,
)
from service.telemetry import CLIENT_LEFT, RequestMetrics

__all__ = ["RequestMiddleware"]

_DEADLINE = "X-Deadline-Ms"
_DEADLINE_FIELD = _DEADLINE.lower().encode()
_MOST_MS = 10**12  # thirty years
_API = "/v1/"
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

Fields = Mapping[bytes, bytes]  # a request's headers, their names in lower case


class RequestMiddleware:
    """Give each request an id and a deadline, cap its body; log and count what it came to."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        body_timeout_s: float,
        metrics: RequestMetrics,
        deadline_ms: int = 0,
    ) -> None:
        self._app, self._metrics = app, metrics
        self._max_body_bytes, self._body_timeout_s = max_body_bytes, body_timeout_s
        self._deadline_ms = deadline_ms
        self._log = AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._run_lifespan(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields: Fields = dict(scope["headers"])
        given = fields.get(b"x-request-id", b"")
        request_id = (
            given.decode("ascii") if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        )
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0
        note = self._log.note

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _head(message, scope["state"])
            await send(message)

        self._metrics.running += 1
        try:
            scope["state"]["deadline"] = self._deadline(scope["path"], fields)
            refuse_late_pictures(scope, fields)
            await self._app(scope, self._capped(scope, fields, receive), send_with_id)
        except (InvalidFieldsError, OverloadedError) as error:  # of this door; others are answered inside
            note = self._log.note_refused
            refusal = _refusal(scope, fields, error)
            status = refusal.status_code
            await refusal(scope, receive, send)
        except ClientDisconnect:
            status = CLIENT_LEFT
        except asyncio.CancelledError:  # so uvicorn ends what outlasts the grace of a shutdown
            if status:
                raise
            stopping = NotReadyError("The server is stopping. Send the request again when it is back.")
            await problem_of(Request(scope), stopping)(scope, receive, send_with_id)
        except Exception:
            status = status or HTTPStatus.INTERNAL_SERVER_ERROR  # which is answered outside of this
            raise
        finally:
            self._metrics.running -= 1
            self._metrics.note(status)
            note(scope, status, (time.perf_counter() - started) * 1000, request_id)

    async def _run_lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a start that fails on purpose say its sentence instead of a traceback."""
        failure: Message | None = None

        async def hold_failure(message: Message) -> None:
            nonlocal failure
            if message["type"] == "lifespan.startup.failed":
                failure = message
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except BaseException as error:
            if failure is not None:
                known = isinstance(error, LookalikeError)
                await send({**failure, "message": str(error)} if known else failure)
            raise

    def _deadline(self, path: str, fields: Fields) -> float:
        """Return until when the answer is wanted, by the event loop's clock; infinity for ever.

        What tells of the server's health has none: a proxy's header must not make it ill.

        Raises:
            InvalidFieldsError: a header that says no time.
        """
        if not path.startswith(_API):
            return math.inf
        given = fields.get(_DEADLINE_FIELD)
        if given is None:
            wanted_ms: float = self._deadline_ms or math.inf
        else:
            wanted_ms = _milliseconds(given)
        return asyncio.get_running_loop().time() + wanted_ms / 1000

    def _capped(self, scope: Scope, fields: Fields, receive: Receive) -> Receive:
        """Return a receive that refuses a body as soon as it is known to be too large, or to come too late.

        FastAPI's own `max_body_size` would answer in plain text where a problem+json is promised.
        """
        limit = self._max_body_bytes
        declared = fields.get(b"content-length", b"0")
        too_much = declared.isdigit() and int(declared) > limit
        received = 0
        whole = False

        async def capped() -> Message:
            nonlocal received, whole
            if too_much:
                scope["state"]["unread"] = b"expect" in fields  # as above
                raise _too_large(limit)
            if whole:  # what comes now is that the client leaves
                return await receive()
            message = await self._received(scope["state"], receive)
            whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > limit:
                raise _too_large(limit)
            return message

        return capped

    async def _received(self, state: dict[str, Any], receive: Receive) -> Message:
        """Return the next part of a body; take note in the request's state where it does not come.

        Raises:
            DeadlineError: the deadline passed before it came.
            BodyTimeoutError: it did not come for too long.
        """
        coming: Coming[Message] = Coming(receive())
        if coming.there:
            return coming.result
        until, deadline = asyncio.get_running_loop().time() + self._body_timeout_s, state["deadline"]
        try:
            async with asyncio.timeout_at(min(deadline, until)):
                return await coming
        except TimeoutError as error:
            state["unread"] = True
            if deadline <= until:
                raise DeadlineError("The deadline passed before the body was whole.") from error
            raise BodyTimeoutError(
                f"Nothing of the body came for {self._body_timeout_s:g} seconds "
                "(LOOKALIKE_BODY_TIMEOUT_S). Send all of it."
            ) from error


def _refusal(scope: Scope, fields: Fields, error: Exception) -> Response:
    """Return the answer to a request of whose body nothing was read."""
    refusal = problem_of(Request(scope), error)
    if b"expect" in fields:  # whether the body comes now is for the client to choose
        refusal.headers["Connection"] = "close"
    return refusal


def _head(message: Message, state: Mapping[str, Any]) -> None:
    """Put into an answer's headers what each answer has."""
    field = (b"x-request-id", state["request_id"].encode())
    if field not in message["headers"]:  # as in a problem
        message["headers"].append(field)
    if state.get("unread"):
        MutableHeaders(scope=message)["Connection"] = "close"  # what is missing of the body may still come


def _milliseconds(given: bytes) -> int:
    """Return a number of milliseconds as a header has it.

    Raises:
        InvalidFieldsError: it is none, or none above 0.
    """
    digits = given.strip()  # blanks around a value do not count, RFC 9110
    if digits.isdigit() and len(digits) < len(str(_MOST_MS)) and (wanted_ms := int(digits)) > 0:
        return wanted_ms
    message = (
        f"{_DEADLINE} must be a whole number of milliseconds above 0 and below {_MOST_MS:,}, "
        f"not {digits[:40].decode('latin-1')!r}."
    )
    raise InvalidFieldsError(message, [(f"/header/{_DEADLINE}", message)])


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {limit:,} bytes. Send it in parts, send vectors as "
        "application/x-safetensors, or raise LOOKALIKE_MAX_BODY_BYTES."
    )
