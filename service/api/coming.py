"""Awaitables that are there already, most often."""

from collections.abc import Awaitable, Generator
from typing import Any, Generic, TypeVar

__all__ = ["Coming"]

Result = TypeVar("Result")


class Coming(Generic[Result]):
    """Something to be awaited, begun at once: where it is there, nothing is set up to wait for it.

    A timeout takes as long as all else that is done to receive a small body, which came with its headers.
    """

    result: Result  # where it is there

    def __init__(self, awaited: Awaitable[Result]) -> None:
        """Take the first step; raises what it raises."""
        self._steps = awaited.__await__()
        self.there = False
        try:
            self._first: Any = next(self._steps)
        except StopIteration as end:
            self.there, self.result = True, end.value

    def __await__(self) -> Generator[Any, Any, Result]:
        """Wait for the rest: what the first step yielded is what it waits for."""
        waits_for, step = self._first, self._steps
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as error:  # as of a timeout
                    waits_for = step.throw(error)
                else:
                    waits_for = step.send(sent)
        except StopIteration as end:
            result: Result = end.value
            return result
