"""Which requests are refused before anything of their body is read: pictures that would come too late."""

from starlette.datastructures import Headers
from starlette.types import Scope

from service.api.state import Services

__all__ = ["refuse_late_pictures"]

_ALWAYS_PICTURES = "/v1/embeddings"
_VECTORS_TOO = ("/v1/distances", "/v1/losses")  # whose forms may hold vectors alone
_PICTURE_BODIES = ("image/", "multipart/")


def refuse_late_pictures(scope: Scope, headers: Headers) -> None:
    """Refuse a request with pictures where not even one would have its turn before the deadline.

    A refusal costs a tenth of what reading the body and asking the encoder would; under many times the load
    that it can take, a server that read every body would do nothing else. Bodies that may hold vectors alone
    are read, and refused by the encoder.

    Args:
        scope: of a request, with its deadline in the state.
        headers: of it.

    Raises:
        OverloadedError: with when to come back.
    """
    if scope["method"] != "POST":
        return
    media_type, path = headers.get("content-type", "").lower(), scope["path"]
    if path.startswith(_VECTORS_TOO) or (
        path != _ALWAYS_PICTURES and not media_type.startswith(_PICTURE_BODIES)
    ):
        return
    services: Services = scope["app"].state.services
    quickest = min(services.encoders.all(), key=lambda one: one.admission.wait_before(1))
    quickest.admission.refuse_late(scope["state"]["deadline"])
