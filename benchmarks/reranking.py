"""Measure k-reciprocal re-ranking beside the formula over dense matrices, into docs/benchmarks.md.

    python -m benchmarks.reranking                    as make bench-reranking
    python -m benchmarks.reranking --quick            a smaller set and few rounds; prints only
    python -m benchmarks.reranking --document PATH    writes into another file

The dense formula is the oracle of the tests, an inverted list for the minima included, as the scripts of the
field have it. Both start from the same embeddings and from the same distances.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.core.children import Children
from benchmarks.core.document import put_section
from benchmarks.core.figures import as_bytes, as_ratio, as_seconds, table
from benchmarks.core.machine import describe_machine, describe_versions
from models.distances import pairwise
from models.reranking import rerank
from service.cpus import available_cpus
from tests.models.reranking_oracle import dense_rerank

__all__ = [
    "DENSE",
    "EXACT",
    "FORMS",
    "FULL",
    "OURS",
    "PER_IDENTITY",
    "Measured",
    "Sizes",
    "clusters",
    "differing_ranks",
    "embeddings",
    "measure",
    "peak_bytes",
    "render",
]

OURS = "Lookalike"
DENSE = "dense formula, float32"
EXACT = "dense formula, float64"

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_AIM = 3.0
_SEED = 20
PER_IDENTITY = 20
_NOISE = 1.5
# The threads of a BLAS that has just computed go on spinning, and would slow whoever comes next.
_PAUSE_S = 0.2
_TIMEOUT_S = 600.0
_BYTES_OF_RSS = 1 if sys.platform == "darwin" else 1024

_HOW = """\
## Re-ranking

{date}, `make bench-reranking`. {machine}. {versions}.

k-reciprocal re-ranking (k1 = 20, k2 = 6, lambda = 0.3) of
{sizes}: random embeddings around centres, about {per_identity} an identity.
The dense formula holds N x N matrices and goes row by row, in NumPy; its distances come from
`models.distances.pairwise`, ours from the strips behind it. They take turns; medians of {rounds} rounds, the
fastest in brackets. Memory is the peak of a process of its own, the answer included, beyond what it had with
the embeddings loaded. Ranks are compared with those of the dense formula in float64.
"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many queries, rows of the gallery and dimensions, and how often each side is timed."""

    queries: int
    gallery: int
    d: int
    rounds: int

    def __str__(self) -> str:
        return f"{self.queries:,} queries and {self.gallery:,} of a gallery, D = {self.d}"


FULL = Sizes(1000, 3000, 512, 7)
_QUICK = Sizes(200, 600, 128, 2)


def embeddings(sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Return queries (Q, D) and gallery (G, D) of `clusters`."""
    x, _ = clusters(sizes)
    return x[: sizes.queries], x[sizes.queries :]


def clusters(sizes: Sizes) -> tuple[Tensor, Tensor]:
    """Return (Q + G, D) rows and (Q + G,) identities from a seed: centres, and 1.5 times as much noise."""
    generator = torch.Generator().manual_seed(_SEED)
    count = sizes.queries + sizes.gallery
    centres = torch.randn(max(1, count // PER_IDENTITY), sizes.d, generator=generator)
    identities = torch.randint(len(centres), (count,), generator=generator)
    return centres[identities] + _NOISE * torch.randn(count, sizes.d, generator=generator), identities


def _ours(queries: Tensor, gallery: Tensor) -> npt.NDArray[np.floating]:
    return rerank(queries, gallery).numpy()


def _dense(queries: Tensor, gallery: Tensor) -> npt.NDArray[np.floating]:
    return _by_formula(queries, gallery, np.float32)


def _exact(queries: Tensor, gallery: Tensor) -> npt.NDArray[np.floating]:
    return _by_formula(queries, gallery, np.float64).astype(np.float32)


def _by_formula(queries: Tensor, gallery: Tensor, dtype: type[np.floating]) -> npt.NDArray[np.floating]:
    x = torch.cat([queries, gallery])
    return dense_rerank(np.square(pairwise(x, x).numpy(), dtype=dtype), len(queries))


FORMS: Mapping[str, Callable[[Tensor, Tensor], npt.NDArray[np.floating]]] = {
    OURS: _ours,
    DENSE: _dense,
    EXACT: _exact,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found.

    Attributes:
        seconds: by form, of each round.
        bytes: by form, extra peak memory.
        differing: by form, how many of the Q x G ranks are not those of the exact formula.
    """

    seconds: Mapping[str, Sequence[float]]
    bytes: Mapping[str, int]
    differing: Mapping[str, int]

    @property
    def speed_up(self) -> float:
        """Return how often ours fits into the dense formula of float32, by the medians."""
        return median(self.seconds[DENSE]) / median(self.seconds[OURS])


def measure(sizes: Sizes, threads: int) -> Measured:
    """Time the forms in turns, compare their ranks, and take the peak of each in a process of its own."""
    inputs = embeddings(sizes)
    answers = {name: form(*inputs) for name, form in FORMS.items()}
    differing = {name: differing_ranks(answer, answers[EXACT]) for name, answer in answers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in FORMS}
    for turn in range(sizes.rounds):
        for name in list(FORMS)[:: 1 if turn % 2 else -1]:
            time.sleep(_PAUSE_S)
            started = time.perf_counter()
            FORMS[name](*inputs)
            seconds[name].append(time.perf_counter() - started)
    children = Children(threads)
    peaks = {name: children.run(_peak_of, name, sizes, timeout_s=_TIMEOUT_S)["bytes"] for name in FORMS}
    return Measured(seconds, peaks, differing)


def differing_ranks(found: npt.NDArray[np.floating], expected: npt.NDArray[np.floating]) -> int:
    """Count the places of (Q, G) distances that another row of the gallery has; ties keep its order."""
    orders = [np.argsort(distances, axis=1, kind="stable") for distances in (found, expected)]
    return int(np.count_nonzero(orders[0] != orders[1]))


def _peak_of(name: str, sizes: Sizes) -> dict[str, Any]:
    """Run in a process of its own: compute a tiny set, then the set, and return what it took at its peak."""
    FORMS[name](*embeddings(Sizes(8, 24, sizes.d, 1)))
    inputs = embeddings(sizes)
    before = peak_bytes()
    FORMS[name](*inputs)
    return {"bytes": peak_bytes() - before}


def peak_bytes() -> int:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_OF_RSS


def render(sizes: Sizes, measured: Measured, threads: int) -> str:
    """Return the section as Markdown."""
    how = _HOW.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine("cpu", threads),
        versions=describe_versions(),
        sizes=sizes,
        per_identity=PER_IDENTITY,
        rounds=sizes.rounds,
    )
    total = sizes.queries * sizes.gallery
    ours = median(measured.seconds[OURS])
    rows = [
        [
            name,
            f"{as_seconds(median(seconds))} ({as_seconds(min(seconds))})",
            f"{as_ratio(median(seconds) / ours)} x",
            as_bytes(measured.bytes[name]),
            f"{measured.differing[name]:,} of {total:,}",
        ]
        for name, seconds in measured.seconds.items()
    ]
    columns = ["", "time", "beside ours", "memory", "other ranks"]
    met = measured.speed_up >= _AIM and not measured.differing[OURS]
    verdict = (
        f"Aimed at: at least {_AIM:g} times as fast as the dense formula in float32, with the ranks of"
        f" float64: {measured.speed_up:.1f} times, {measured.differing[OURS]:,} other ranks,"
        f" {'met' if met else '**missed**'}."
    )
    return f"{how}\n{table(columns, rows)}\n\n{verdict}\n"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a smaller set and few rounds; prints only")
    parser.add_argument("--document", type=Path, default=_DOCUMENT, help="the file to write into")
    options = parser.parse_args()
    threads = available_cpus()
    torch.set_num_threads(threads)
    sizes = _QUICK if options.quick else FULL
    text = render(sizes, measure(sizes, threads), threads)
    sys.stdout.write(text)
    if not options.quick:
        put_section(options.document, "bench-reranking", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
