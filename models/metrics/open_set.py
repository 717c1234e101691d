"""Open-set identification: probes that may be of somebody who is not enrolled. Accepted means d < t."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.distances import Metric
from models.errors import InputError
from models.metrics.intervals import Interval, bootstrap_mean
from models.metrics.relevance import Relevance
from models.metrics.strips import (
    NOBODY,
    Distances,
    Labels,
    Rows,
    Strip,
    check_matrix,
    embedding_strips,
    matrix_strips,
)
from models.metrics.thresholds import pairs_needed, threshold_at

__all__ = ["Identification", "OpenSet", "open_set", "open_set_of"]


@dataclass(frozen=True)
class Identification:
    """What one threshold does.

    Attributes:
        fpir: as it was asked for.
        threshold: by `thresholds.threshold_at`, over the best distances of the non-mated probes.
        measured_fpir: the share of non-mated probes whose best distance is below it.
        dir: dir[r], the share of mated probes whose identity is among the first r and below the threshold.
        interval: of DIR at rank 1, by a bootstrap over the mated identities; the threshold stays.
    """

    fpir: float
    threshold: float
    measured_fpir: float
    dir: dict[int, float]
    interval: Interval


@dataclass(frozen=True)
class OpenSet:
    """Open-set identification.

    Attributes:
        points: one for each wanted FPIR that there are probes enough for.
        refused: the others, and why.
        mated, non_mated: how many probes are, and are not, of an enrolled identity.
        identities, gallery: how many are enrolled, and by how many entries, those of -1 not counted.
    """

    points: tuple[Identification, ...]
    refused: dict[float, str]
    mated: int
    non_mated: int
    identities: int
    gallery: int


def open_set(
    distances: Distances,
    identities: tuple[Labels, Labels],
    *,
    fpirs: Sequence[float] = (1e-1, 1e-2, 1e-3),
    ranks: Sequence[int] = (1, 5, 10, 20),
    bootstrap: tuple[int, int] = (1000, 0),
) -> OpenSet:
    """Identify every probe among the enrolled identities, or as none of them.

    An identity's distance is the least of its entries', a probe's is the least of all. Identities are ranked
    by their distance, equal ones by which entry attains it first in the gallery. A probe of identity -1 is
    non-mated; gallery entries of -1 are removed.

    Args:
        distances: (Q, G), smaller is closer.
        identities: those of the probes (Q,) and of the gallery (G,).
        fpirs: the wanted false positive identification rates.
        ranks: the r of DIR at rank r; at 1 it is what most papers report.
        bootstrap: how often the interval's bootstrap draws, and the seed of that.

    Raises:
        ShapeError: identities that do not fit the distances.
        NonFiniteError: a distance is NaN or infinite.
        InputError: no probe is mated, none is non-mated, or an FPIR is outside (0, 1).

    Source:
        Grother, Ngan and Hanaoka, Face Recognition Vendor Test part 2, NISTIR 8271, section 3 (FPIR, TPIR).
    """
    check_matrix(distances)
    Relevance(identities).check(*distances.shape)
    return _open_set(matrix_strips(distances), identities, fpirs, ranks, bootstrap)


def open_set_of(
    probes: Rows,
    gallery: Rows,
    identities: tuple[Labels, Labels],
    *,
    metric: Metric | str = "euclidean",
    fpirs: Sequence[float] = (1e-1, 1e-2, 1e-3),
    ranks: Sequence[int] = (1, 5, 10, 20),
    bootstrap: tuple[int, int] = (1000, 0),
) -> OpenSet:
    """Return what `open_set` returns for `pairwise(probes, gallery, metric)`, without forming it at once.

    Args:
        probes: (Q, D), any real dtype; not modified.
        gallery: (G, D).
        identities: those of the probes (Q,) and of the gallery (G,).
        metric: a row metric.
        fpirs: as in `open_set`.
        ranks: as in `open_set`.
        bootstrap: as in `open_set`.

    Raises:
        InputError: as `open_set` and `models.distances.pairwise`.
    """
    Relevance(identities).check(len(probes), len(gallery))
    return _open_set(embedding_strips(probes, gallery, metric), identities, fpirs, ranks, bootstrap)


def _open_set(
    strips: Iterable[Strip],
    identities: tuple[Labels, Labels],
    fpirs: Sequence[float],
    ranks: Sequence[int],
    bootstrap: tuple[int, int],
) -> OpenSet:
    draws, seed = bootstrap
    enrolled = _Enrolled(identities[1])
    mated = np.isin(identities[0], enrolled.identities)
    if mated.all() or not mated.any():
        kind = "mated, of an enrolled identity" if not mated.any() else "non-mated, of nobody enrolled"
        raise InputError(f"Open-set identification needs probes that are {kind}; there are none.")
    best, true, place = enrolled.score(strips, identities[0], mated)
    impostors = np.sort(best[~mated])
    points, refused = [], {}
    for fpir in fpirs:
        if 0 < fpir < 1 and len(impostors) < pairs_needed(fpir):
            refused[fpir] = (
                f"FPIR {fpir:g} needs at least {pairs_needed(fpir):,} non-mated probes, and there are "
                f"{len(impostors):,}."
            )
            continue
        threshold = threshold_at(impostors, fpir, of="non-mated probes")
        accepted = true < threshold
        points.append(
            Identification(
                fpir=fpir,
                threshold=threshold,
                measured_fpir=float((impostors < threshold).mean()),
                dir={r: float((accepted & (place <= r)).mean()) for r in ranks},
                interval=bootstrap_mean(
                    (accepted & (place == 1)).astype(np.float64), identities[0][mated], draws=draws, seed=seed
                ),
            )
        )
    return OpenSet(
        points=tuple(points),
        refused=refused,
        mated=int(mated.sum()),
        non_mated=len(impostors),
        identities=len(enrolled.identities),
        gallery=enrolled.entries,
    )


class _Enrolled:
    """The gallery by identity.

    Attributes:
        identities: (I,), ascending, without -1.
        entries: how many gallery entries they have.
    """

    def __init__(self, gallery: Labels) -> None:
        self._order = np.argsort(gallery, kind="stable")
        self._order = self._order[gallery[self._order] != NOBODY]
        self.identities, self._starts = np.unique(gallery[self._order], return_index=True)
        self.entries = len(self._order)
        self._code = np.searchsorted(self.identities, gallery)  # of each entry; -1's is never looked up

    def score(
        self, strips: Iterable[Strip], probes: Labels, mated: npt.NDArray[np.bool_]
    ) -> tuple[Distances, Distances, npt.NDArray[np.int64]]:
        """Return each probe's best distance (Q,), the mated ones' (M,) to their identity, and its rank."""
        best, true, places = [], [], []
        own = np.searchsorted(self.identities, probes)
        for rows, strip in strips:
            scores = np.minimum.reduceat(strip[:, self._order], self._starts, axis=1)  # (q, I)
            best.append(scores.min(axis=1))
            here = np.flatnonzero(mated[rows])
            codes = own[rows][here]
            scores, distances = scores[here], scores[here, codes]
            place = (scores < distances[:, None]).sum(axis=1) + 1
            for at in np.flatnonzero((scores == distances[:, None]).sum(axis=1) > 1):
                place[at] += self._before(strip[here[at]], scores[at], int(codes[at]))
            true.append(distances)
            places.append(place)
        return np.concatenate(best), np.concatenate(true), np.concatenate(places)

    def _before(self, row: Distances, scores: Distances, code: int) -> int:
        """Count the identities at the same distance as this one that attain it earlier in the gallery."""
        entries = self._order[row[self._order] == scores[code]]
        entries.sort()
        codes = self._code[entries]
        codes = codes[scores[codes] == scores[code]]
        earlier = codes[: np.flatnonzero(codes == code)[0]]
        return len(np.unique(earlier))
