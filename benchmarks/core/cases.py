"""What is measured: each case is one size of one thing, on inputs that everybody gets alike."""

from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["LEFT_OUT", "MARGIN", "Case", "all_cases", "quick_cases", "warm_up_of"]

MARGIN = 0.2

_BATCH_ALL_SIZES = {
    128: (128, 256, 512, 1024, 1280, 2048, 4096, 8192, 16384),
    512: (128, 512, 1280, 4096, 16384),
}
_BATCH_HARD_SIZES = {
    (4, 128): (128, 512, 1024, 2048, 4096, 8192, 16384),
    (4, 512): (128, 512, 2048, 8192, 16384),
    (32, 128): (128, 512, 2048, 8192),
}
_SEMI_HARD_SIZES = (128, 256, 512, 1024, 2048, 4096, 8192)
_DISTANCE_SIZES = ((512, 128), (1024, 128), (1024, 512), (4096, 128), (4096, 512))
_METRICS = (
    "squared_euclidean",
    "cosine",
    "manhattan",
    "chebyshev",
    "minkowski",
    "hamming",
    "kl_divergence",
)
# What of N = 128 to 16,384, K = 4 and 32, D = 128 and 512 the sizes above leave out, and why.
LEFT_OUT = """\
Of the grid N = 128 to 16,384, K = 4 and 32, D = 128 and 512, these are left out, to keep one run near half
an hour: semi-hard at D = 512 and beyond N = 8,192; batch-hard at K = 32 with D = 512 and beyond N = 8,192;
some sizes between, most of them at D = 512; and distances of other than 512 to 4,096 rows, of which 16,384
would make an answer of 1 GiB (2 GiB in SciPy's float64). Metrics other than the Euclidean have one size."""

_PRODUCTS = {"euclidean", "squared_euclidean", "cosine", "kl_divergence"}


@dataclass(frozen=True, slots=True)
class Case:
    """One size of one thing.

    Attributes:
        group: batch_all, batch_hard, semi_hard, distances or metrics.
        n: rows; for distances those of either side.
        d: dimensions.
        k: rows of each identity, in the losses.
        data: random, near or clusters, in the distances.
        metric: a row metric.
        backward: whether the gradient is formed too.
    """

    group: str
    n: int
    d: int
    k: int = 0
    data: str = "random"
    metric: str = "euclidean"
    backward: bool = True

    @property
    def key(self) -> str:
        """Return the case in one line; no two have the same."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())

    @property
    def sizes(self) -> str:
        """Return N, K and D of a loss, or the shape of distances, as a reader takes them."""
        if self.is_loss:
            return f"N = {self.n}, K = {self.k}, D = {self.d}"
        return f"{self.n} x {self.n} x {self.d}"

    @property
    def is_loss(self) -> bool:
        """Say whether it is a loss of a labelled batch."""
        return self.group in {"batch_all", "batch_hard", "semi_hard"}

    @property
    def flops(self) -> float:
        """Return the arithmetic that a form by matrix products cannot do without.

        A product is N x N x D multiplications and additions. Distances of x and y take one, and two for
        both gradients. A loss compares x with itself: its distances are symmetric, half a product, and
        batch-all's gradient is one, (W + W^T) x. The gradient of batch-hard and semi-hard touches few
        pairs, and counts as nothing; so do the metrics that are no product.
        """
        if self.metric not in _PRODUCTS:
            return 0.0
        product_ = 2.0 * self.n * self.n * self.d
        if self.is_loss:
            return product_ * (1.5 if self.backward and self.group == "batch_all" else 0.5)
        return product_ * (3 if self.backward else 1)

    @property
    def bytes_moved(self) -> float:
        """Return the traffic with memory that cannot be avoided: inputs, answer and gradient."""
        rows = 4.0 * self.n * self.d
        if self.is_loss:
            return 2 * rows
        return 4.0 * self.n * self.n + rows * (4 if self.backward else 2)

    def as_record(self) -> dict[str, Any]:
        """Return the case as JSON takes it."""
        return asdict(self)


def all_cases() -> list[Case]:
    """Return every case; in each line of sizes the smaller come first."""
    return [
        *(
            _loss("batch_all", n, k, d)
            for k in (4, 32)
            for d, sizes in _BATCH_ALL_SIZES.items()
            for n in sizes
        ),
        *(_loss("batch_hard", n, k, d) for (k, d), sizes in _BATCH_HARD_SIZES.items() for n in sizes),
        *(_loss("semi_hard", n, k, 128) for k in (4, 32) for n in _SEMI_HARD_SIZES),
        *_distances(_DISTANCE_SIZES, (1024, 512), (4096, 512)),
        *(Case("metrics", 1024, 128, metric=metric, backward=False) for metric in _METRICS),
    ]


def quick_cases() -> list[Case]:
    """Return a few small cases of each group, to try the command with."""
    return [
        *(_loss("batch_all", n, k, 32) for k in (4, 32) for n in (128, 256)),
        *(_loss(group, n, 4, 32) for group in ("batch_hard", "semi_hard") for n in (128, 256)),
        *_distances(((128, 32), (256, 32)), (256, 32)),
        *(Case("metrics", 128, 32, metric=metric, backward=False) for metric in _METRICS),
    ]


def warm_up_of(case: Case) -> Case:
    """Return a tiny case that loads and starts what this one will use."""
    return replace(case, n=min(case.n, 4 * max(16, case.k)))


def _loss(group: str, n: int, k: int, d: int) -> Case:
    return Case(group, n, d, k)


def _distances(sizes: tuple[tuple[int, int], ...], *hard_sizes: tuple[int, int]) -> list[Case]:
    shapes = [(n, d, "random") for n, d in sizes]
    shapes += [(n, d, data) for data in ("near", "clusters") for n, d in hard_sizes]
    return [
        Case("distances", n, d, data=data, backward=both) for both in (False, True) for n, d, data in shapes
    ]
