"""What a picture came to."""

from dataclasses import dataclass

from models.engines import Embeddings
from models.errors import ImageError, NoFaceError, SeveralFacesError
from service.jobs import View

__all__ = ["Seen", "one_of"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a picture came to.

    Attributes:
        embeddings: (D,) float32 each: of the picture, or of those of its faces that were asked for.
        view: what is in it; under `one`, several faces without an embedding.
    """

    embeddings: list[Embeddings]
    view: View

    def one(self) -> Embeddings:
        """Return the embedding of the picture, or of the largest face that was asked for.

        Raises:
            NoFaceError, SeveralFacesError: there is none.
        """
        if self.embeddings:
            return self.embeddings[0]
        count = len(self.view.faces or ())
        if count:
            raise SeveralFacesError(
                f"There are {count} faces in it and exactly one was asked for. Crop the picture, or take "
                "the largest face (faces: largest)."
            )
        raise NoFaceError(
            "No face was found in it. Send a picture that shows one, upright and not too small."
        )


def one_of(seen: Seen | ImageError) -> Embeddings | ImageError:
    """Return the one embedding of a picture, or the error that it is or that it has none."""
    if isinstance(seen, ImageError):
        return seen
    try:
        return seen.one()
    except ImageError as error:
        return error
