"""Which requests are refused before anything of their body is read: pictures that would come too late."""

from collections.abc import Mapping

from starlette.types import Scope

from service.admission import Admission
from service.api.state import Services

__all__ = ["refuse_late_pictures"]

_ALWAYS_PICTURES = "/v1/embeddings"
_VECTORS_TOO = ("/v1/distances", "/v1/losses")  # whose forms may hold vectors alone
_PICTURE_BODIES = (b"image/", b"multipart/")


def refuse_late_pictures(scope: Scope, fields: Mapping[bytes, bytes]) -> None:
    """Refuse a request with pictures where not even one would have its turn before the deadline.

    A refusal costs a tenth of what reading the body and asking the encoder would; under many times the load
    that it can take, a server that read every body would do nothing else. Bodies that may hold vectors alone
    are read, and refused by the encoder.

    Args:
        scope: of a request, with its deadline in the state.
        fields: its headers, the names in lower case.

    Raises:
        OverloadedError: with when to come back.
    """
    if scope["method"] != "POST":
        return
    media_type, path = fields.get(b"content-type", b"").lower(), scope["path"]
    if path.startswith(_VECTORS_TOO) or (
        path != _ALWAYS_PICTURES and not media_type.startswith(_PICTURE_BODIES)
    ):
        return
    services: Services = scope["app"].state.services
    admissions = [one.admission for one in services.encoders.all()]
    quickest = min(admissions, key=Admission.wait_before) if admissions[1:] else admissions[0]
    quickest.refuse_late(scope["state"]["deadline"])
