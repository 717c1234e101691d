"""The distances of all genuine and impostor pairs of a set, of which only what figures need is held.

Two passes at most: the first gathers every genuine distance and the smallest impostor distances, the second,
run only where impostors had to be dropped, counts them all around each genuine distance. So thresholds at low
false acceptance rates are order statistics, and ROC, AUC and EER come from counts, all exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.distances import Metric
from models.errors import InputError, NonFiniteError, ShapeError
from models.metrics.strips import NOBODY, Distances, Labels, Rows, embedding_strips

__all__ = ["PairDistances", "PairIdentities", "given_pairs", "pair_distances"]

_KEEP = 2**23
_Mask = npt.NDArray[np.bool_]
_Codes = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PairIdentities:
    """Whose the pairs of a set are.

    Attributes:
        genuine: (P,) int32, the identity of each genuine pair, numbered from 0.
        impostor: (2, K) int32, the two of each impostor pair that is held.
        images: (I, C) int64, how many pictures of each identity each camera has (C = 1 without cameras).
        across_cameras: whether pairs of one camera are left out.
    """

    genuine: _Codes
    impostor: _Codes
    images: npt.NDArray[np.int64]
    across_cameras: bool

    def impostor_pairs(self, weights: npt.NDArray[np.int64]) -> int:
        """Return how many impostor pairs there are where identity i is there weights[i] times.

        All ordered pairs, less those of one identity, less (across cameras) those of one camera, halved; the
        copies of an identity form no pairs with each other.
        """
        weighted = self.images * weights[:, None]
        pairs = int(weighted.sum()) ** 2 - int((weighted.sum(axis=1) ** 2).sum())
        if self.across_cameras:
            pairs -= int((weighted.sum(axis=0) ** 2).sum()) - int((weighted**2).sum())
        return pairs // 2


@dataclass(frozen=True, eq=False)
class PairDistances:
    """Genuine and impostor distances.

    Attributes:
        genuine: (P,), ascending.
        impostor: (K,), ascending: the K smallest of all impostor distances.
        impostors: how many there are in all, >= K.
        closer: (P,) int64, of all impostor distances, how many are below each genuine distance.
        level: (P,) int64, how many are equal to it.
        nearest: (N,), for each picture of a set that has impostors, the distance of the nearest one.
        compared: (N,) int64, how many impostors it has. Both are empty for pairs that come without a set.
        identities: whose the pairs are; None where that is unknown.
    """

    genuine: Distances
    impostor: Distances
    impostors: int
    closer: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    nearest: Distances
    compared: npt.NDArray[np.int64]
    identities: PairIdentities | None


def given_pairs(genuine: Distances, impostor: Distances) -> PairDistances:
    """Return distances that are at hand already, in order.

    Args:
        genuine: (P,), of pairs of one identity.
        impostor: (n,), of pairs of two.

    Raises:
        ShapeError: either is not 1-D or empty.
        NonFiniteError: NaN or infinity in either.
    """
    for name, distances in (("genuine", genuine), ("impostor", impostor)):
        if distances.ndim != 1 or not len(distances):
            raise ShapeError(
                f"The {name} distances must be a list of at least one, not {distances.shape}.",
                argument=name,
                got=distances.shape,
            )
        if not np.isfinite(distances).all():
            row = int(np.argmin(np.isfinite(distances)))
            raise NonFiniteError(f"The {name} distance {row} is NaN or infinite.", argument=name, row=row)
    # In one dtype of floating point: what lies between two numbers of one may be a number of another.
    dtype = np.result_type(genuine, impostor, np.float16)
    impostor, genuine = np.sort(impostor.astype(dtype)), np.sort(genuine.astype(dtype))
    closer, level = _around(genuine, impostor)
    nothing = np.empty(0, dtype=np.int64)
    return PairDistances(
        genuine, impostor, len(impostor), closer, level, impostor[:0], nothing, identities=None
    )


def pair_distances(
    embeddings: Rows,
    labels: Labels,
    *,
    metric: Metric | str = "euclidean",
    cameras: Labels | None = None,
    keep: int = _KEEP,
) -> PairDistances:
    """Compare every two pictures of a set, once: the earlier one with the later one.

    Args:
        embeddings: (N, D), any real dtype; not modified.
        labels: (N,), the identities; pictures of -1 are left out.
        metric: a row metric.
        cameras: (N,); if given, pairs of one camera are left out.
        keep: how many impostor distances to hold, of 12 bytes each in float32. Gathering takes up to five
            times that. Of n impostor pairs, thresholds are known for FARs below keep / n.

    Raises:
        ShapeError: not one label, or camera, for each embedding.
        InputError: as `models.distances.pairwise`; there are no genuine or no impostor pairs; keep below 1.
    """
    for name, given in (("labels", labels), ("cameras", cameras)):
        if given is not None and given.shape != (len(embeddings),):
            raise ShapeError(
                f"The {name} must be one for each of the {len(embeddings)} embeddings, not {given.shape}.",
                argument=name,
                expected=(len(embeddings),),
                got=given.shape,
            )
    if keep < 1:
        raise InputError(f"At least 1 impostor distance must be kept, not {keep}.", argument="keep")
    somebody = np.flatnonzero(labels != NOBODY)
    if not len(somebody):
        raise InputError("Pairs need pictures of somebody, and all labels are -1.", argument="labels")
    _, codes = np.unique(labels[somebody], return_inverse=True)
    shots = None if cameras is None else np.unique(cameras[somebody], return_inverse=True)[1]
    pictures = _Set(
        torch.as_tensor(embeddings)[torch.from_numpy(somebody)], codes.astype(np.int32), shots, metric
    )
    return _gather(pictures, keep)


class _Tile(NamedTuple):
    """Some pictures with all: distances, which pairs are genuine and impostor, which others come later."""

    rows: slice
    distances: Distances
    genuine: _Mask
    impostor: _Mask
    later: _Mask


class _Set(NamedTuple):
    embeddings: torch.Tensor
    codes: _Codes
    cameras: npt.NDArray[np.int64] | None
    metric: Metric | str

    def tiles(self) -> Iterator[_Tile]:
        numbers = np.arange(len(self.codes))
        for rows, strip in embedding_strips(self.embeddings, None, self.metric):
            genuine = self.codes[rows, None] == self.codes
            impostor = ~genuine
            if self.cameras is not None:
                other_camera = self.cameras[rows, None] != self.cameras
                genuine &= other_camera
                impostor &= other_camera
            yield _Tile(rows, strip, genuine, impostor, numbers > numbers[rows, None])

    def images(self) -> npt.NDArray[np.int64]:
        """Return (I, C) how many pictures each identity has in each camera."""
        cameras = np.zeros(len(self.codes), dtype=np.int64) if self.cameras is None else self.cameras
        counts = np.zeros((int(self.codes.max()) + 1, int(cameras.max()) + 1), dtype=np.int64)
        np.add.at(counts, (self.codes, cameras), 1)
        return counts


def _gather(pictures: _Set, keep: int) -> PairDistances:
    genuine, genuine_codes, nearest, compared = [], [], [], []
    smallest, impostors = _Smallest(keep), 0
    for tile in pictures.tiles():
        first, second = np.nonzero(tile.genuine & tile.later)
        genuine.append(tile.distances[first, second])
        genuine_codes.append(pictures.codes[second])
        pairs = tile.impostor & tile.later
        impostors += int(pairs.sum())
        first, second = np.nonzero(pairs & (tile.distances < smallest.bound))
        smallest.add(
            tile.distances[first, second],
            np.stack([pictures.codes[first + tile.rows.start], pictures.codes[second]]),
        )
        counts = tile.impostor.sum(axis=1)
        nearest.append(np.where(tile.impostor, tile.distances, np.inf).min(axis=1)[counts > 0])
        compared.append(counts[counts > 0])
    d_genuine = np.concatenate(genuine)
    if not len(d_genuine) or not impostors:
        missing = "two pictures of one identity" if impostors else "pictures of two identities"
        raise InputError(f"Pairs need {missing} (of two cameras, where cameras count), and there are none.")
    order = np.argsort(d_genuine, kind="stable")
    d_genuine = d_genuine[order]
    d_impostor, impostor_codes = smallest.finish()
    closer, level = (
        _around(d_genuine, d_impostor) if len(d_impostor) == impostors else _counts(pictures, d_genuine)
    )
    codes = PairIdentities(
        np.concatenate(genuine_codes)[order], impostor_codes, pictures.images(), pictures.cameras is not None
    )
    return PairDistances(
        genuine=d_genuine,
        impostor=d_impostor,
        impostors=impostors,
        closer=closer,
        level=level,
        nearest=np.concatenate(nearest),
        compared=np.concatenate(compared),
        identities=codes,
    )


def _counts(pictures: _Set, genuine: Distances) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count all impostor distances around each genuine one, tile by tile."""
    closer = np.zeros(len(genuine), dtype=np.int64)
    level = np.zeros(len(genuine), dtype=np.int64)
    for tile in pictures.tiles():
        below, equal = _around(genuine, np.sort(tile.distances[tile.impostor & tile.later]))
        closer += below
        level += equal
    return closer, level


def _around(genuine: Distances, impostor: Distances) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many impostor distances, in order, are below each genuine one, and how many equal it."""
    below = impostor.searchsorted(genuine, "left")
    return below, impostor.searchsorted(genuine, "right") - below


class _Smallest:
    """The smallest of many impostor distances, with the identities of each.

    Attributes:
        bound: a distance at or above it is not among them.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._parts: list[tuple[Distances, _Codes]] = []
        self._held = 0
        self.bound = np.inf

    def add(self, distances: Distances, codes: _Codes) -> None:
        """Take distances (T,) and the two identities of each (2, T)."""
        self._parts.append((distances, codes))
        self._held += len(distances)
        if self._held > 2 * self._keep:
            distances, codes = self._join()
            order = np.argpartition(distances, self._keep - 1)[: self._keep]
            self._parts = [(distances[order], codes[:, order])]
            self._held = self._keep
            self.bound = float(distances[order[-1]])

    def finish(self) -> tuple[Distances, _Codes]:
        """Return the smallest in order, and their identities; the order of equal ones changes no figure."""
        distances, codes = self._join()
        order = np.argsort(distances)[: self._keep]
        return distances[order], codes[:, order]

    def _join(self) -> tuple[Distances, _Codes]:
        return (
            np.concatenate([distances for distances, _ in self._parts]),
            np.concatenate([codes for _, codes in self._parts], axis=1),
        )
