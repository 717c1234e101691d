"""Who may do what: keys, compared in a time that tells nothing about them."""

import hmac
from typing import Annotated

from fastapi import Depends, Request

from service.api.state import ServicesDep
from service.errors import ForbiddenError, UnauthorizedError

__all__ = ["OperatorDep"]

_SCHEME = "bearer "


def _operator(request: Request, services: ServicesDep) -> None:
    """Let an operator pass: a client whose Authorization header has one of the operators' keys.

    Raises:
        ForbiddenError: no such key is configured.
        UnauthorizedError: the request has none, or another one.
    """
    listed = services.settings.operator_keys.get_secret_value().split(",")
    keys = [key.strip().encode() for key in listed if key.strip()]
    if not keys:
        raise ForbiddenError(
            "This is for operators, and the server has no key for them (LOOKALIKE_OPERATOR_KEYS)."
        )
    header = request.headers.get("authorization", "")
    given = header[len(_SCHEME) :].strip().encode() if header[: len(_SCHEME)].lower() == _SCHEME else b""
    # Every key is looked at, so that the time does not tell which one was nearly right.
    if not sum(hmac.compare_digest(given, key) for key in keys):
        raise UnauthorizedError(
            "This is for operators. Send one of their keys as `Authorization: Bearer KEY`."
        )


OperatorDep = Annotated[None, Depends(_operator)]
