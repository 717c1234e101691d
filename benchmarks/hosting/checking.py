"""Whether an answer is right: the embedding that a quiet server gave, or the picture's own problem."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from benchmarks.hosting.client import Answer, Connections
from benchmarks.hosting.pictures import Picture

__all__ = ["TOLERANCE", "Oracle", "Outcome", "embeddings_of"]

TOLERANCE = 1e-5
_PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request came to.

    Attributes:
        at: when it was due, in seconds since the load began.
        took: until its answer was whole, in seconds from when it was due.
        status: of the answer; 0 where none came.
        good: whether its picture is a good one.
        right: whether the answer is what it must be: of a good picture the embedding, of a corrupt one its
            own problem; or, of any, a problem of status 429 or 504.
    """

    at: float
    took: float
    status: int
    good: bool
    right: bool


class Oracle:
    """Knows what each picture must be answered with.

    Args:
        expected: embeddings by the pictures' names; corrupt ones have none.
    """

    def __init__(self, expected: dict[str, npt.NDArray[np.float32]]) -> None:
        self._expected = expected

    @classmethod
    async def ask(cls, connections: Connections, pictures: Sequence[Picture]) -> "Oracle":
        """Ask a quiet server for the good pictures' embeddings, one by one.

        Raises:
            RuntimeError: it answers with an error.
        """
        expected = {}
        for picture in pictures:
            answer = await connections.ask(picture.request())
            if answer.status != 200:
                raise RuntimeError(
                    f"A quiet server answers {answer.status} to {picture.name}: {answer.body!r}"
                )
            (expected[picture.name],) = embeddings_of(answer)
        return cls(expected)

    def right(self, picture: Picture, answer: Answer) -> bool:
        """Return whether an answer is what it must be, or refuses for reasons that are not the picture's."""
        if answer.status in (429, 504):
            return answer.header("content-type") == _PROBLEM
        if answer.status != picture.status:
            return False
        if picture.problem:
            problem = orjson.loads(answer.body)
            pointers = [one["pointer"] for one in problem.get("errors", [])]
            return bool(problem["type"] == picture.problem and pointers == ["/input/0"])
        (found,) = embeddings_of(answer)
        return self.close(picture, found)

    def close(self, picture: Picture, found: npt.NDArray[np.float32]) -> bool:
        """Return whether an embedding is the picture's."""
        expected = self._expected[picture.name]
        return found.shape == expected.shape and bool(np.abs(found - expected).max() <= TOLERANCE)


def embeddings_of(answer: Answer) -> list[npt.NDArray[np.float32]]:
    """Return the embeddings of an answer, in order."""
    data = orjson.loads(answer.body)["data"]
    return [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in data]
