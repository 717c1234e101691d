"""Where labels stand among others."""

import numpy as np
import numpy.typing as npt

from service.gallery.index.buffers import Integers

__all__ = ["located", "which_live"]

# Among so many times as many labels as are looked for, marking them is faster than a search for each.
_SPAN = 16

# From so large a share of the rows on, marking those is faster too.
_SHARE = 0.25


def located(labels: Integers, held: Integers) -> Integers | None:
    """Return (P,) the places of labels among (N,) ascending ones, or None where one is not there.

    Args:
        labels: (P,) in any order.
        held: (N,).
    """
    if not len(held):
        return None if len(labels) else np.empty(0, np.int64)
    first, last = int(held[0]), int(held[-1])
    if last - first + 1 == len(held):  # none was ever taken out
        within = first <= labels.min(initial=first) and labels.max(initial=first) <= last
        return labels - first if within else None
    if last - first < _SPAN * len(labels) and np.all(labels[1:] > labels[:-1]):
        if labels[0] < first or labels[-1] > last:
            return None
        wanted = np.zeros(last - first + 1, np.bool_)
        wanted[labels - first] = True
        places = np.flatnonzero(wanted[held - first])
        return places if len(places) == len(labels) else None
    places = np.minimum(np.searchsorted(held, labels), len(held) - 1)
    return places if np.array_equal(held[places], labels) else None


def which_live(labels: Integers, held: Integers, alive: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return (P,) which labels are those of rows that live.

    Args:
        labels: (P,) in any order, no two of them equal.
        held: (N,) the rows' labels, ascending.
        alive: (N,) which of them live.
    """
    if len(labels) >= _SHARE * len(held):
        return np.isin(labels, held[alive], assume_unique=True)
    places = np.minimum(np.searchsorted(held, labels), len(held) - 1)
    living: npt.NDArray[np.bool_] = (held[places] == labels) & alive[places]
    return living
