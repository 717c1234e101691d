"""Distances of any kind by one call: of every pair, row by row, or of whole matrices; normalised if asked."""

from dataclasses import dataclass

from torch import Tensor

from models.distances import (
    MATRIX_METRICS,
    Metric,
    matrix_distance,
    metric_of,
    paired,
    pairwise,
    prepare,
    unit_rows,
)
from models.errors import OptionError
from models.formulas import DISTRIBUTIONS

__all__ = ["Comparing", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """How inputs are compared.

    Attributes:
        name: of the metric, of rows or of whole matrices.
        p: the order, as `metric_of` takes it.
        paired: compare row i of x with row i of y only.
        normalize: bring copies of the rows to length 1 first.
        reduction: none, mean or sum of the distances, for `reduce_distances`.

    Raises:
        OptionError: an unknown metric, or options that do not go together.
    """

    name: str = "euclidean"
    p: float = 2.0
    paired: bool = False
    normalize: bool = False
    reduction: str = "none"

    def __post_init__(self) -> None:
        _ = self.metric  # refuses unknown names, and orders that do not belong to them
        if self.whole and self.paired:
            raise OptionError(f"{self.name} compares whole matrices; leave paired out.", argument="paired")
        if self.whole and self.reduction != "none":
            message = f"{self.name} gives one number already; leave reduction out."
            raise OptionError(message, argument="reduction")
        if self.normalize and self.name in DISTRIBUTIONS:
            message = f"{self.name} compares distributions, which sum to 1; leave normalize out."
            raise OptionError(message, argument="normalize")

    @property
    def metric(self) -> Metric:
        """Return what name and p make."""
        return metric_of(self.name, self.p)

    @property
    def whole(self) -> bool:
        """Return whether two whole matrices are compared."""
        return self.name in MATRIX_METRICS

    def check_given(self, *, y: bool) -> None:
        """Raise OptionError where there must be a y and there is none; for asking before it is read."""
        if self.paired and not y:
            message = "Paired distances compare row i of x with row i of y. Give y, or leave paired out."
            raise OptionError(message, argument="y")


def compare(x: Tensor, y: Tensor | None, how: Comparing) -> Tensor:
    """Return the distances of x and y (without y: of x and itself), before their reduction.

    Args:
        x: (N, D), any real dtype; not modified.
        y: (M, D), same device.
        how: the metric and its options.

    Returns:
        (N, M); (N,) where paired; () of whole matrices.

    Raises:
        OptionError: paired, without y.
        InputError: as `models.distances`.
    """
    how.check_given(y=y is not None)
    if how.normalize:
        given = {"x": x} if y is None else {"x": x, "y": y}
        prepared = prepare(given, Metric("euclidean"))
        units = [unit_rows(rows, name) for name, rows in zip(given, prepared, strict=True)]
        x, y = units[0], None if y is None else units[1]
    if how.whole:
        return matrix_distance(x, x if y is None else y, how.metric)
    if how.paired and y is not None:
        return paired(x, y, how.metric)
    return pairwise(x, y, how.metric)
