"""What can go wrong in the science, as types that carry their values.

    LookalikeError
    ├── InputError (ValueError)       numbers or labels that cannot be computed with
    │   ├── ShapeError                a wrong number of dimensions, rows or columns
    │   ├── NonFiniteError            NaN or infinity, with the first bad row
    │   ├── DomainError               a row outside the metric's domain (a zero vector under cosine)
    │   ├── OverflowedError           an answer beyond the largest number of its dtype
    │   ├── OptionError               an unknown metric, or options that do not go together
    │   └── NoTripletError            labels that form no valid triplet
    ├── ImageError (ValueError)       bytes that do not become a picture
    │   ├── UnsupportedImageError     not a JPEG, PNG or WebP
    │   ├── DamagedImageError         truncated or corrupt
    │   ├── ImageTooLargeError        more bytes or pixels than allowed
    │   ├── NoFaceError               a photograph without a face
    │   ├── SeveralFacesError         a photograph with several, where exactly one was asked for
    │   └── LowQualityError           a picture below the limits of where it was to go
    ├── InterruptedWorkError          a computation that was told to stop
    ├── BundleError                   an encoder on disk that cannot be trusted or run
    └── DatasetError                  a dataset that is not what it should be

Every message is a sentence for the person who sent the input: what is wrong, and what to do.
"""

__all__ = [
    "BundleError",
    "DamagedImageError",
    "DatasetError",
    "DomainError",
    "ImageError",
    "ImageTooLargeError",
    "InputError",
    "InterruptedWorkError",
    "LookalikeError",
    "LowQualityError",
    "NoFaceError",
    "NoTripletError",
    "NonFiniteError",
    "OptionError",
    "OverflowedError",
    "SeveralFacesError",
    "ShapeError",
    "UnsupportedImageError",
]


class LookalikeError(Exception):
    """The root of everything that this project raises on purpose."""


class InputError(LookalikeError, ValueError):
    """Numbers or labels that cannot be computed with.

    Attributes:
        argument: the name of the argument at fault ("x", "labels"), or None.
        row: the first row at fault in it, or None.
    """

    def __init__(self, message: str, *, argument: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.row = row


class ShapeError(InputError):
    """A wrong number of dimensions, rows or columns; `expected` and `got` say which."""

    def __init__(
        self, message: str, *, argument: str | None = None, expected: object = None, got: object = None
    ) -> None:
        super().__init__(message, argument=argument)
        self.expected = expected
        self.got = got


class NonFiniteError(InputError):
    """NaN or infinity where a finite number is needed."""


class DomainError(InputError):
    """A row outside the metric's domain: a zero vector under cosine, no distribution under KL."""


class OverflowedError(InputError):
    """An answer beyond the largest number of its dtype."""


class OptionError(InputError):
    """An unknown name, or options that do not go together."""


class NoTripletError(InputError):
    """Labels that form no valid triplet."""


class ImageError(LookalikeError, ValueError):
    """Bytes that do not become a picture."""


class UnsupportedImageError(ImageError):
    """Not one of the formats that are read."""


class DamagedImageError(ImageError):
    """A picture that is truncated or corrupt."""


class ImageTooLargeError(ImageError):
    """A picture of more bytes or pixels than allowed; `limit` and `got` say how many."""

    def __init__(self, message: str, *, limit: int, got: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.got = got


class NoFaceError(ImageError):
    """A photograph in which no face was found."""


class SeveralFacesError(ImageError):
    """A photograph with several faces, where exactly one was asked for."""


class LowQualityError(ImageError):
    """A picture whose size, sharpness, brightness or detector score is beyond a limit."""


class InterruptedWorkError(LookalikeError):
    """A computation that was told to stop before its end; `signal` is the number of the signal that did."""

    def __init__(self, message: str, *, signal: int | None = None) -> None:
        super().__init__(message)
        self.signal = signal


class BundleError(LookalikeError):
    """An encoder on disk that cannot be trusted or run."""


class DatasetError(LookalikeError):
    """A dataset that is not what it should be."""
