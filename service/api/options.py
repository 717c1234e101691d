"""Options in query strings: those that a route does not have are refused, not overlooked."""

from collections.abc import Iterable, Iterator, Set
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import problem_of
from service.errors import InvalidFieldsError

__all__ = ["refuse_unknown_options"]

_WITHOUT_BODY = {"GET", "DELETE"}  # who reads a body looks after the query string too; see `service.api.wire`
_OPEN = ("/health", "/metrics")  # probes and scrapers add what they like


def refuse_unknown_options(routes: Iterable[BaseRoute]) -> None:
    """Let the routes that take no body refuse options that they do not have: a misspelt one is a mistake."""
    for route in routes:
        if not isinstance(route, APIRoute) or route.path.startswith(_OPEN):
            continue
        if _WITHOUT_BODY.issuperset(route.methods or ()):
            route.app = _Known(route.app, set(_options(route.dependant)))


def _options(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for one in dependant.dependencies:
        yield from _options(one)


class _Known:
    """Serves what has no other options than the known ones."""

    def __init__(self, app: ASGIApp, known: Set[str]) -> None:
        self._app, self._known = app, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if given := scope["query_string"]:
            names = dict(parse_qsl(given.decode("latin-1"), keep_blank_values=True))
            if unknown := [name for name in names if name not in self._known]:
                await problem_of(Request(scope), self._refusal(unknown))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, unknown: list[str]) -> InvalidFieldsError:
        there_are = f"there are {', '.join(sorted(self._known))}" if self._known else "it takes none"
        message = f"There is no such option here; {there_are}."
        return InvalidFieldsError(
            f"{unknown[0]}: {message}", [(f"/query/{name}", message) for name in unknown]
        )
