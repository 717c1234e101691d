"""What can go wrong in the service, as types that carry their values.

models.errors.LookalikeError
└── ServiceError
    ├── RequestError                  a body that cannot be read, or that asks for the impossible
    │   ├── MalformedBodyError        not JSON, not safetensors, not a form
    │   ├── UnsupportedMediaError     a media type that this endpoint does not read
    │   ├── BodyTimeoutError          a body of which nothing comes any more
    │   ├── TooLargeError             more bytes, rows or work than one request may bring
    │   └── InvalidFieldsError        fields that do not fit the schema, each with its pointer
    │   └── BundleRefusedError        a bundle that cannot be hosted
    ├── UnauthorizedError             no key, or another one
    ├── ForbiddenError                nobody may do this here
    ├── NotFoundError                 no collection, item, encoder or route of that name
    │   └── CollectionDroppedError    a collection that was deleted while it was in use
    ├── ConflictError                 it exists already, otherwise configured
    ├── DimensionMismatchError        vectors of another dimension than the collection's
    ├── EncoderMismatchError          vectors of another encoder than the collection's
    ├── FilterError                   a filter that cannot be understood
    ├── OverloadedError               the queue is full; come back later
    ├── NotReadyError                 starting, draining, or broken
    │   ├── OpeningError              a collection that is not open yet, with how far that is
    │   └── EncoderFailedError        the encoder hangs, broke off, or was closed
    ├── DeadlineError                 the client's deadline passed before the answer was there
    ├── StorageError                  the disk refused or holds something damaged
    │   └── DamageError               a file holds what was not written
    │       └── DamagedItemError      an item of it
    └── UrlError                      a picture's URL that gives none; an ImageError too
"""

from collections.abc import Mapping

from models.errors import ImageError, LookalikeError

__all__ = [
    "BodyTimeoutError",
    "BundleRefusedError",
    "CollectionDroppedError",
    "ConflictError",
    "DamageError",
    "DamagedItemError",
    "DeadlineError",
    "DimensionMismatchError",
    "EncoderFailedError",
    "EncoderMismatchError",
    "FilterError",
    "ForbiddenError",
    "InvalidFieldsError",
    "MalformedBodyError",
    "NotFoundError",
    "NotReadyError",
    "OpeningError",
    "OverloadedError",
    "RequestError",
    "ServiceError",
    "StorageError",
    "TooLargeError",
    "UnauthorizedError",
    "UnsupportedMediaError",
    "UrlError",
]


class ServiceError(LookalikeError):
    """The root of what the service raises on purpose."""


class RequestError(ServiceError):
    """A body that cannot be read, or that asks for the impossible."""


class MalformedBodyError(RequestError):
    """Not JSON, not safetensors, not a form."""


class BodyTimeoutError(RequestError):
    """A body of which nothing comes any more."""


class UnsupportedMediaError(RequestError):
    """A media type that this endpoint does not read."""


class TooLargeError(RequestError):
    """More bytes, rows or work than one request may bring."""


class InvalidFieldsError(RequestError):
    """Fields that do not fit.

    Attributes:
        errors: (JSON pointer, sentence) pairs.
        kind: the exception that they all are, where they are of one kind; it decides the status.
    """

    def __init__(
        self, message: str, errors: list[tuple[str, str]], *, kind: type[Exception] | None = None
    ) -> None:
        super().__init__(message)
        self.errors = errors
        self.kind = kind


class BundleRefusedError(RequestError):
    """A bundle that cannot be hosted; what was hosted before still is."""


class UnauthorizedError(ServiceError):
    """No key, or one that does not fit."""


class ForbiddenError(ServiceError):
    """Nobody may do this here, whatever the key."""


class NotFoundError(ServiceError):
    """No collection, item, encoder or route of that name."""


class CollectionDroppedError(NotFoundError):
    """A collection that was deleted while somebody still used it."""


class ConflictError(ServiceError):
    """It exists already, otherwise configured."""


class DimensionMismatchError(ServiceError):
    """Vectors of another dimension than the collection's; `argument` names the field they came in."""

    def __init__(self, message: str, *, expected: int, got: int, argument: str | None = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.expected = expected
        self.got = got


class EncoderMismatchError(ServiceError):
    """Vectors of another encoder than the collection's."""


class FilterError(ServiceError):
    """A filter that cannot be understood."""


class OverloadedError(ServiceError):
    """The queue is full; `retry_after_s` says when to come back."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReadyError(ServiceError):
    """Starting, draining, or broken; `retry_after_s` says when to come back."""

    retry_after_s = 5


class OpeningError(NotReadyError):
    """A collection that is not open yet; `progress` has how far that is, by name."""

    def __init__(self, message: str, progress: Mapping[str, str | int]) -> None:
        super().__init__(message)
        self.progress = progress


class EncoderFailedError(NotReadyError):
    """The encoder hangs, broke off, or was closed; the same pictures may be sent again."""

    retry_after_s = 1


class DeadlineError(ServiceError):
    """The client's deadline passed before the answer was there."""


class StorageError(ServiceError):
    """The disk refused, or holds something damaged; `retry_after_s` says when to come back."""

    retry_after_s = 5


class DamageError(StorageError):
    """A file holds what was not written, or no longer what was."""


class DamagedItemError(DamageError):
    """An item is not as it was written; with its label, and its id where that is known."""

    def __init__(self, message: str, *, label: int, item_id: str | None) -> None:
        super().__init__(message)
        self.label, self.item_id = label, item_id


class UrlError(ServiceError, ImageError):
    """A URL that gives no picture; in a batch, an error of its own as any other picture's.

    Attributes:
        refused: whether it was not fetched, for a reason in the URL itself or in what it redirects to.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
