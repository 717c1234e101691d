"""Scans of some codes: the nearest by them, and a floor under the distance of all others."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import faiss
import numpy as np

from service.gallery.collection import Vectors
from service.gallery.index.buffers import Integers
from service.gallery.index.codes import MOST, Bytes, Codes
from service.gallery.index.measuring import Measure, squares
from service.gallery.index.rounding import Floats, sum_error

__all__ = ["Packed"]

_faiss: Any = faiss  # its stubs lack some of it
_TYPE = _faiss.ScalarQuantizer.QT_8bit_direct_signed
_MORE = 1 + 1e-9  # for the rounding of what is computed in float64
_SPAN = 1.5  # times as many codes: scanning these where they lie is faster than taking some out


class _Scanners:
    """FAISS's scanners of codes that nobody uses now. It gives them away without a way to free them."""

    def __init__(self) -> None:
        self._idle: dict[tuple[int, int], list[tuple[Any, Any]]] = defaultdict(list)

    def scan(
        self, query: Vectors, codes: Bytes, ids: Integers, fetch: int, *, product: bool
    ) -> tuple[Integers, Vectors]:
        """Return the nearest codes of a query.

        Args:
            query: (W,) whole numbers, -127 to 127.
            codes: (S, W) contiguous.
            ids: (S,) of them.
            fetch: how many, at most S.
            product: compare inner products, not squared distances.

        Returns:
            (F,) ids and (F,) scores, the worst one first.
        """
        metric = _faiss.METRIC_INNER_PRODUCT if product else _faiss.METRIC_L2
        idle = self._idle[len(query), metric]
        try:
            scanner, quantizer = idle.pop()
        except IndexError:
            quantizer = _faiss.ScalarQuantizer(len(query), _TYPE)
            scanner = quantizer.select_InvertedListScanner(metric, None, False, None, False)
        scores = np.full(fetch, -math.inf if product else math.inf, np.float32)
        found = np.full(fetch, -1, np.int64)
        scanner.set_query(faiss.swig_ptr(query))
        scanner.set_list(0, 0.0)  # what is added to each inner product
        pointers = [faiss.swig_ptr(one) for one in (codes, ids, scores, found)]
        scanner.scan_codes(len(codes), *pointers, fetch)
        idle.append((scanner, quantizer))
        return found, scores


_SCANNERS = _Scanners()


class Packed(NamedTuple):
    """The codes of some rows, next to each other; some of others may lie between them.

    Attributes:
        codes: that they are of.
        positions: (P,) of the rows, in any order.
        ids: (S,) positions of the rows whose codes are scanned.
        values: (S, W) uint8, those.
        members: (P,) the positions, ascending, where others lie between them; None where none do.
    """

    codes: Codes
    positions: Integers
    ids: Integers
    values: Bytes
    members: Integers | None = None

    @classmethod
    def of(cls, codes: Codes, positions: Integers) -> "Packed":
        """Return the codes of the rows at (P,) positions, P > 0: copied where they lie apart."""
        order = codes.order
        places = positions if order is None else order.places[positions]
        first, last = int(places.min()), int(places.max()) + 1
        if last - first <= _SPAN * len(positions):
            ids = np.arange(first, last) if order is None else order.positions[first:last]
            members = _ascending(positions) if len(ids) > len(positions) else None
            return cls(codes, positions, ids, codes.values[first:last], members)
        values = np.empty((len(positions), codes.values.shape[1]), np.uint8)
        # `clip` writes into what it is given; the other modes go through a copy.
        codes.values.take(places, axis=0, out=values, mode="clip")
        return cls(codes, positions, positions, values)

    @property
    def copied_bytes(self) -> int:
        """Return how many bytes it takes beside the codes."""
        return self.values.nbytes if self.ids is self.positions else 0

    def nearest(
        self, queries: Vectors, fetch: int, measure: Measure, threads: int
    ) -> tuple[Integers, Floats]:
        """Return the nearest rows by their codes, and a floor under the distance of all others.

        Args:
            queries: (Q, D) prepared.
            fetch: how many, at most P.
            measure: how rows are compared.
            threads: that FAISS may use.

        Returns:
            (Q, F) positions in no particular order, -1 for others that lie between them; (Q,) floors.
        """
        product = measure.metric == "inner_product"
        asked = _Asked.of(queries, self.codes, product=product)
        fetch = -(-fetch * len(self.ids) // len(self.positions))
        if len(queries) == 1:
            ids, scores = _SCANNERS.scan(asked.whole[0], self.values, self.ids, fetch, product=product)
            found, worst = ids[np.newaxis], scores[:1]
        else:
            places, worst = self._of_several(asked.whole, fetch, threads, product=product)
            found = self.ids[places]
        if self.members is not None:
            at = np.minimum(np.searchsorted(self.members, found), len(self.members) - 1)
            found = np.where(self.members[at] == found, found, -1)
        return found, asked.floors(worst.astype(np.float64), measure)

    def _of_several(
        self, asked: Vectors, fetch: int, threads: int, *, product: bool
    ) -> tuple[Integers, Vectors]:
        """Return (Q, F) places of the nearest, and (Q,) the worst score: threads share out the queries."""
        metric = _faiss.METRIC_INNER_PRODUCT if product else _faiss.METRIC_L2
        index = _faiss.IndexScalarQuantizer(asked.shape[1], _TYPE, metric)
        index.add_sa_codes(self.values)
        scores = np.empty((len(asked), fetch), np.float32)
        found = np.empty((len(asked), fetch), np.int64)
        faiss.omp_set_num_threads(min(threads, len(asked)))
        pointers = [faiss.swig_ptr(one) for one in (asked, scores, found)]
        index.search_c(len(asked), pointers[0], fetch, *pointers[1:])
        return found, scores[:, -1]


def _ascending(positions: Integers) -> Integers:
    return positions if np.all(positions[1:] > positions[:-1]) else np.sort(positions)


@dataclass(frozen=True, slots=True)
class _Asked:
    """Queries in whole numbers, as codes are: FAISS takes no others for some widths, and says nothing.

    Attributes:
        queries: (Q, D) as they are.
        codes: that they are compared with.
        whole: (Q, W) float32, -127 to 127.
        scales: (Q,) they were multiplied with, or (1,).
        off: (Q,) how far what stands for a query is from it.
    """

    queries: Vectors
    codes: Codes
    whole: Vectors
    scales: Floats
    off: Floats

    @classmethod
    def of(cls, queries: Vectors, codes: Codes, *, product: bool) -> "_Asked":
        """Round some: for squared distances in the scale of the codes, for inner products each in its own."""
        wide, width = queries.astype(np.float64), codes.values.shape[1]
        scales = np.array([[codes.scale]])
        if product:
            top = np.abs(wide).max(axis=1, keepdims=True)
            scales = MOST / np.where(top > 0, top, 1.0)
        rounded = np.rint(wide * scales)
        np.minimum(np.maximum(rounded, -MOST, out=rounded), MOST, out=rounded)  # in half the time of np.clip
        whole = rounded.astype(np.float32)
        if queries.shape[1] < width:
            whole = np.pad(whole, [(0, 0), (0, width - queries.shape[1])])
        return cls(queries, codes, whole, scales[:, 0], np.sqrt(squares(wide - rounded / scales)))

    def floors(self, worst: Floats, measure: Measure) -> Floats:
        """Return (Q,) floors under the distances of the rows that are not among the nearest.

        A row is y = (c + e) / s with ||e|| / s at most `error`, a query q = (w + f) / t with ||f|| / t = off.
        So <q, y> is at most <w, c> / (s t) + ||q|| error + off ||c|| / s; and where s = t, ||q - y|| is at
        least ||w - c|| / s - off - error. The scores are sums of whole numbers, right in float32 up to 2^24.

        Args:
            worst: (Q,) the worst of FAISS's scores that were fetched.
            measure: how rows are compared.
        """
        codes, g = self.codes, sum_error(self.whole.shape[1])
        if measure.metric == "inner_product":
            most = worst + g * np.sqrt(squares(self.whole)) * codes.longest
            off = np.sqrt(squares(self.queries)) * codes.error + self.off * (codes.longest / codes.scale)
            return -most / (codes.scale * self.scales) - off * _MORE
        apart = np.sqrt(worst / (1 + g)) / codes.scale - (self.off + codes.error) * _MORE
        return measure.from_squares(np.square(np.maximum(apart, 0.0)))
