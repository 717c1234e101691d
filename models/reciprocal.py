"""The k-reciprocal encoding of rows, and the distances that it gives; `models.reranking` has the formula.

Distances are formed strip by strip. Three passes need them: the first strips are kept, within a bound, and
the others are formed anew, the same to the last bit. V is held as its nonzero entries, so that memory grows
by N times the neighbours, not by N x N. The neighbours are those of the distances themselves and all the rest
is float64, so that the ranks are those of the dense formula.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from models.comparisons import gathers, strips
from models.errors import OptionError

__all__ = ["Members", "Options", "check_count", "nearest", "reranked"]

_KEPT_ELEMENTS = 2**24  # 64 MiB of float32


@dataclass(frozen=True, slots=True)
class Options:
    """How to re-rank, as `models.reranking.rerank` takes it.

    Raises:
        OptionError: k1, k2 or weight out of range.
    """

    k1: int
    k2: int
    weight: float

    def __post_init__(self) -> None:
        check_count("k1", self.k1)
        check_count("k2", self.k2)
        if not 0 <= self.weight <= 1:
            raise OptionError(f"weight must be from 0 to 1, not {self.weight}.", argument="weight")


@dataclass(frozen=True, slots=True)
class Members:
    """The set of N = `count` rows, the queries first.

    Attributes:
        like: (N, ...), whose device is everybody's.
        queries: how many of them are queries.
        squared: whether the distances are squares already.
        distances: a slice of rows -> their (R, N) distances, the same numbers on every call.
    """

    like: Tensor
    queries: int
    squared: bool
    distances: Callable[[slice], Tensor]
    _kept: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """Return N."""
        return len(self.like)

    def strips(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of the rows and their (R, N) distances, which are not to be modified."""
        for rows in strips(self.like, self.count):
            kept = self._kept.get(rows.start)
            distances = self.distances(rows) if kept is None else kept
            if rows.stop * self.count <= _KEPT_ELEMENTS:
                self._kept[rows.start] = distances
            yield rows, distances

    def normalized(self, distances: Tensor, largest: Tensor) -> Tensor:
        """Return d as float64 of distances, and of the largest of the row of each; neither overflows."""
        shares = distances.double() / largest.masked_fill(largest == 0, 1).double()
        return shares if self.squared else shares.square_()


class _Sparse(NamedTuple):
    """A sparse matrix by rows: row i has the entries starts[i] to starts[i + 1], float64, by column."""

    starts: Tensor
    columns: Tensor
    weights: Tensor

    def entries(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entries of these rows (T,), row after row, and which of the T each belongs to."""
        first = self.starts[rows]
        lengths = self.starts[rows + 1] - first
        owners = torch.arange(len(rows), device=rows.device).repeat_interleave(lengths)
        skipped = (first - lengths.cumsum(0) + lengths)[owners]
        return torch.arange(len(owners), device=rows.device) + skipped, owners

    @property
    def longest(self) -> int:
        """Return the most entries of a row, 1 at least."""
        return max(1, int(self.starts.diff().max()))


def reranked(members: Members, options: Options) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of the queries, and their (R, G) float32 distances to the gallery."""
    queries, count = members.queries, members.count
    if queries in {0, count}:
        return
    width = min(max(options.k1 + 1, options.k2), count)
    neighbours = torch.cat([nearest(strip, width) for _, strip in members.strips()])
    v = _encoded(members, neighbours, options.k1)
    if options.k2 > 1:
        v = _averaged(v, neighbours[:, : options.k2])
    holders = _by_column(v, queries)
    # The strips of the passes before, cut at the last query: a product of another height rounds otherwise.
    for rows, strip in members.strips():
        if rows.start >= queries:
            return
        kept = slice(rows.start, min(rows.stop, queries))
        distances = strip[: kept.stop - kept.start]
        d = members.normalized(distances[:, queries:], distances.amax(1, keepdim=True))
        m = _overlaps(v, holders, kept, count - queries)
        yield kept, torch.lerp(1 - m / (2 - m), d, options.weight).float()


def nearest(distances: Tensor, width: int) -> Tensor:
    """Return the columns (R, W) of the smallest in each row, ascending, ties by column."""
    found = distances.topk(min(width + 1, distances.shape[1]), largest=False)
    columns = found.indices[:, :width].sort(1).values
    columns = columns.gather(1, distances.gather(1, columns).sort(dim=1, stable=True).indices)
    if found.values.shape[1] > width:
        # Of equal distances across the boundary `topk` takes any.
        tied = (found.values[:, width - 1] == found.values[:, width]).nonzero().squeeze(1)
        if len(tied):
            columns[tied] = distances[tied].sort(dim=1, stable=True).indices[:, :width]
    return columns


def _mutual(nearest: Tensor) -> Tensor:
    """Return (N, W) bool: which of a row's nearest (N, W) have the row among their own."""
    rows = torch.arange(len(nearest), device=nearest.device).unsqueeze(1)
    known = (rows * len(nearest) + nearest.sort(1).values).flatten()  # ascending, row after row
    wanted = nearest * len(nearest) + rows
    places = torch.searchsorted(known, wanted).clamp_(max=len(known) - 1)
    return known[places] == wanted


def _encoded(members: Members, neighbours: Tensor, k1: int) -> _Sparse:
    """Return V (N, N) before it is averaged."""
    near, close = neighbours[:, : k1 + 1], neighbours[:, : round(k1 / 2) + 1]
    mutual, mutual_close = _mutual(near), _mutual(close)
    lengths, columns, weights = [], [], []
    for rows, distances in members.strips():
        row, place = mutual[rows].nonzero().unbind(1)
        candidates = near[rows][row, place]
        chosen = torch.zeros_like(distances, dtype=torch.bool)
        chosen[row, candidates] = True
        expanded = chosen.clone()
        for part in gathers(len(row), close.shape[1]):
            theirs, counted = close[candidates[part]], mutual_close[candidates[part]]
            shared = chosen[row[part].unsqueeze(1), theirs] & counted
            taken = counted & (3 * shared.sum(1) > 2 * counted.sum(1)).unsqueeze(1)
            expanded[row[part].unsqueeze(1).expand_as(theirs)[taken], theirs[taken]] = True
        row, column = expanded.nonzero().unbind(1)
        raw = torch.exp(-members.normalized(distances[row, column], distances.amax(1)[row]))
        sums = raw.new_zeros(len(distances)).index_add_(0, row, raw)
        lengths.append(row.bincount(minlength=len(distances)))
        columns.append(column)
        weights.append(raw / sums[row])
    return _Sparse(_starts(torch.cat(lengths)), torch.cat(columns), torch.cat(weights))


def _averaged(v: _Sparse, neighbours: Tensor) -> _Sparse:
    """Return the matrix whose row i is the mean of the rows neighbours[i] (N, K) of v."""
    count, width = neighbours.shape
    lengths, columns, weights = [], [], []
    for rows in gathers(count, width * v.longest):
        wanted = neighbours[rows]
        places, owners = v.entries(wanted.flatten())
        keys = owners.div(width, rounding_mode="floor") * count + v.columns[places]
        kept, inverse = torch.unique(keys, return_inverse=True)
        sums = v.weights.new_zeros(len(kept)).index_add_(0, inverse, v.weights[places])
        lengths.append(kept.div(count, rounding_mode="floor").bincount(minlength=len(wanted)))
        columns.append(kept % count)
        weights.append(sums / width)
    return _Sparse(_starts(torch.cat(lengths)), torch.cat(columns), torch.cat(weights))


def _by_column(v: _Sparse, queries: int) -> _Sparse:
    """Return the gallery's rows of v transposed: row j names the rows of the gallery that have an entry j."""
    first = int(v.starts[queries])
    gallery = torch.arange(len(v.starts) - 1 - queries, device=v.starts.device)
    owners = gallery.repeat_interleave(v.starts[queries:].diff())
    columns, order = v.columns[first:].sort(stable=True)
    starts = _starts(columns.bincount(minlength=len(v.starts) - 1))
    return _Sparse(starts, owners[order], v.weights[first:][order])


def _overlaps(v: _Sparse, holders: _Sparse, rows: slice, width: int) -> Tensor:
    """Return m (R, G) float64 of some queries."""
    wanted = torch.arange(rows.start, rows.stop, device=v.starts.device)
    entries, queries = v.entries(wanted)
    sums = v.weights.new_zeros(len(wanted) * width)
    for part in gathers(len(entries), holders.longest):
        places, owners = holders.entries(v.columns[entries[part]])
        least = torch.minimum(v.weights[entries[part]][owners], holders.weights[places])
        sums.index_add_(0, queries[part][owners] * width + holders.columns[places], least)
    return sums.view(len(wanted), width)


def _starts(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def check_count(name: str, count: object) -> None:
    """Refuse what is no whole number from 1.

    Raises:
        OptionError: it is not.
    """
    if not isinstance(count, int) or count < 1:
        raise OptionError(f"{name} must be a whole number from 1, not {count!r}.", argument=name)
