"""One line in the log for each request, unless so many are refused that writing it would be half the work."""

import asyncio
import logging
from urllib.parse import quote

from starlette.types import Scope

__all__ = ["AccessLog"]

_logger = logging.getLogger("lookalike.access")

_EVERY_S = 1.0
_REFUSALS = 10  # that have a line of their own, every so often


class AccessLog:
    """Writes what requests came to.

    Of those that were refused at the door only the first few of each second have a line of their own, and
    the others are told by their number: under many times the load that a server can take, thousands a second
    are refused, and a line costs as much as the rest of such an answer.
    """

    def __init__(self) -> None:
        self._refused = 0  # since the second began

    def note(self, scope: Scope, status: int, elapsed_ms: float, request_id: str) -> None:
        """Write the line of a request that ended.

        Args:
            scope: of it.
            status: that it was answered with.
            elapsed_ms: since it came, in milliseconds.
            request_id: of it.
        """
        if not _logger.isEnabledFor(logging.INFO):
            return
        _logger.info(
            "%s %s -> %d in %.1f ms [%s]",
            scope["method"],
            quote(scope["path"]),  # a decoded path may hold line breaks
            status,
            elapsed_ms,
            request_id,
        )

    def note_refused(self, scope: Scope, status: int, elapsed_ms: float, request_id: str) -> None:
        """Write the line of a request that was refused at the door, or count it; see `note`."""
        if not self._refused:
            asyncio.get_running_loop().call_later(_EVERY_S, self._tell)
        self._refused += 1
        if self._refused <= _REFUSALS:
            self.note(scope, status, elapsed_ms, request_id)

    def _tell(self) -> None:
        """Write how many had no line of their own, and begin anew."""
        if self._refused > _REFUSALS:
            _logger.info("%d more requests were refused within a second.", self._refused - _REFUSALS)
        self._refused = 0
