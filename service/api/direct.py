"""Routes whose endpoint reads its request by itself."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

__all__ = ["DirectRoute"]


class DirectRoute(APIRoute):
    """Calls its endpoint with the request and nothing else.

    Looking for dependencies where there are none takes a tenth of what the interpreter does for a picture,
    and a fifth of what it does for a search.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the endpoint itself."""
        return self.endpoint
