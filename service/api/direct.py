"""Routes whose endpoint reads its request by itself."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import LookalikeError
from service.api.problems import problem_of

__all__ = ["DirectRoute", "DirectRoutes"]


class DirectRoute(APIRoute):
    """Calls its endpoint with the request and nothing else.

    Looking for dependencies where there are none, and the stacks that clean up after them, take a tenth of
    what the interpreter does for a picture, and a third of what it does for a search.
    """

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        """Make it as FastAPI does, for /openapi.json."""
        super().__init__(path, endpoint, **options)
        self.app = self.answer

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to it, with what the endpoint returns or with the problem that it raises."""
        request = Request(scope, receive, send)
        try:
            response = await self.endpoint(request)
        except LookalikeError as error:
            response = problem_of(request, error)
        await response(scope, receive, send)


class DirectRoutes:
    """Lets direct routes answer before FastAPI is asked: what it does around a request is not for them."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        """Pick the direct ones out of the routes."""
        self._app = app
        self._routes = [route for route in routes if isinstance(route, DirectRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; below a proxy's prefix, FastAPI does, which knows how to take it off."""
        if scope["type"] == "http" and not scope.get("root_path"):
            for route in self._routes:
                found = route.path_regex.match(scope["path"])
                if found and scope["method"] in (route.methods or ()):
                    scope["path_params"] = found.groupdict()
                    await route.answer(scope, receive, send)
                    return
        await self._app(scope, receive, send)
