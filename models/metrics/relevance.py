"""Which gallery entries a query should find, and which are removed before ranking (junk)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.errors import ShapeError
from models.metrics.strips import NOBODY, Labels

__all__ = ["Relevance"]


@dataclass(frozen=True, eq=False)
class Relevance:
    """The labels of queries and gallery.

    Junk is every gallery entry of identity -1, those of a query's identity from its own camera, and the one
    entry that `own` names. A query's positives are what is left of its identity; identity -1 has none.

    Attributes:
        identities: of the queries (Q,) and of the gallery (G,).
        cameras: likewise; None: no entry is junk for its camera.
        own: (Q,), which gallery entry is the query itself, -1 where none is; None: none is.
    """

    identities: tuple[Labels, Labels]
    cameras: tuple[Labels, Labels] | None = None
    own: Labels | None = None

    def check(self, queries: int, gallery: int) -> None:
        """Refuse labels that are not those of so many queries and gallery entries.

        Raises:
            ShapeError: they are not.
        """
        expected: tuple[tuple[int, ...], ...] = ((queries,), (gallery,))
        for name, labels in (("identities", self.identities), ("cameras", self.cameras)):
            got = None if labels is None else tuple(part.shape for part in labels)
            if got is not None and got != expected:
                raise ShapeError(
                    f"The {name} have the shapes {got} and the distances need {expected}.",
                    argument=name,
                    expected=expected,
                    got=got,
                )
        own = self.own
        if own is not None and (own.shape != (queries,) or ((own < -1) | (own >= gallery)).any()):
            raise ShapeError(
                f"junk must name a gallery entry, below {gallery}, or -1 for each of the {queries} queries.",
                argument="junk",
                expected=(queries,),
                got=own.shape,
            )

    @cached_property
    def nobody(self) -> npt.NDArray[np.int64]:
        """The gallery entries that are junk to every query."""
        return np.flatnonzero(self.identities[1] == NOBODY)

    def split(self, query: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return a query's positives, in gallery order, and the entries that are junk to it alone."""
        order, starts, stops = self._by_identity
        same = order[starts[query] : stops[query]]
        junk = np.zeros(len(same), dtype=bool)
        if self.identities[0][query] == NOBODY:
            junk[:] = True
        if self.cameras is not None:
            junk |= self.cameras[1][same] == self.cameras[0][query]
        if self.own is None or self.own[query] < 0:
            return same[~junk], same[junk]
        own = self.own[query]
        junk |= same == own
        return same[~junk], np.append(same[junk], own)  # it may be of another identity

    @cached_property
    def _by_identity(self) -> tuple[npt.NDArray[np.int64], ...]:
        """The gallery ordered by identity, and where each query's begins and ends in it."""
        order = np.argsort(self.identities[1], kind="stable")
        ordered = self.identities[1][order]
        starts, stops = (ordered.searchsorted(self.identities[0], side) for side in ("left", "right"))
        return order, starts, stops
