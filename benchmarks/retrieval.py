"""Measure CMC and mAP beside the scripts of the field, into docs/benchmarks.md.

    python -m benchmarks.retrieval                    as make bench-retrieval
    python -m benchmarks.retrieval --quick            a smaller set; prints only
    python -m benchmarks.retrieval --document PATH    writes into another file

The script holds the whole matrix of distances, sorts every row of it, and goes query by query, as those of
Market-1501, torchreid and fast-reid do. Both start from the same embeddings.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.core.children import Children
from benchmarks.core.document import put_section
from benchmarks.core.figures import as_bytes, as_ratio, as_seconds, table
from benchmarks.core.machine import describe_machine, describe_versions
from benchmarks.reranking import PER_IDENTITY, Sizes, clusters, peak_bytes
from models.metrics import retrieval_of
from service.cpus import available_cpus

__all__ = ["FORMS", "OURS", "SCRIPT", "People", "differs", "measure", "people", "render"]

OURS = "Lookalike"
SCRIPT = "script of the field"

_DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_FULL = Sizes(20_000, 20_000, 512, 1)
_QUICK = Sizes(500, 2000, 64, 1)
_CAMERAS = 6
_AIM = 2 * 2**30
_AGREE = 1e-4  # nearly equal distances may change places in float32
_TIMEOUT_S = 1800.0

_HOW = """\
## CMC and mAP

{date}, `make bench-retrieval`. {machine}. {versions}.

{sizes}: random embeddings around centres, about {per_identity} an identity, seen by
{cameras} cameras; what a query's own camera saw of its identity is removed. Rank-1, -5, -10 and -20 and
mAP; ours mINP and the other convention of mAP besides. The script holds the matrix of distances
(`torch.cdist`), sorts it whole (NumPy) and goes query by query. Each is run once, in a process of its own;
memory is the peak of that process, libraries and embeddings included.
"""


@dataclass(frozen=True, slots=True)
class People:
    """Embeddings (Q, D) and (G, D), with (Q,) and (G,) identities and cameras."""

    rows: tuple[Tensor, Tensor]
    identities: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    cameras: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def people(sizes: Sizes) -> People:
    """Return the same set on every run."""
    x, identities = clusters(sizes)
    cameras = np.random.default_rng(1).integers(0, _CAMERAS, len(x))
    split = sizes.queries
    of = identities.numpy()
    return People((x[:split], x[split:]), (of[:split], of[split:]), (cameras[:split], cameras[split:]))


def _ours(given: People) -> dict[str, float]:
    found = retrieval_of(*given.rows, given.identities, given.cameras)
    return {"mAP": found.mean_average_precision, **{f"rank-{k}": share for k, share in found.rank.items()}}


def _script(given: People) -> dict[str, float]:
    distances = torch.cdist(*given.rows).numpy()
    order = np.argsort(distances, axis=1, kind="stable")
    first, precisions = [], []
    for query, ranked in enumerate(order):
        same = given.identities[1][ranked] == given.identities[0][query]
        junk = same & (given.cameras[1][ranked] == given.cameras[0][query])
        hits = same[~junk]
        if not hits.any():
            continue
        places = np.flatnonzero(hits) + 1
        first.append(places[0])
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
    ranks = {f"rank-{k}": float(np.mean(np.array(first) <= k)) for k in (1, 5, 10, 20)}
    return {"mAP": float(np.mean(precisions)), **ranks}


FORMS: Mapping[str, Callable[[People], dict[str, float]]] = {OURS: _ours, SCRIPT: _script}


def measure(sizes: Sizes, threads: int) -> dict[str, dict[str, Any]]:
    """Return of each form, run in a process of its own, its `seconds`, `bytes` and `figures`."""
    children = Children(threads)
    return {name: children.run(_run, name, sizes, timeout_s=_TIMEOUT_S) for name in FORMS}


def _run(name: str, sizes: Sizes) -> dict[str, Any]:
    FORMS[name](people(Sizes(50, 200, sizes.d, 1)))
    given = people(sizes)
    started = time.perf_counter()
    figures = FORMS[name](given)
    return {"seconds": time.perf_counter() - started, "bytes": peak_bytes(), "figures": figures}


def differs(measured: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the largest difference of a figure of the one from that of the other."""
    ours, theirs = measured[OURS]["figures"], measured[SCRIPT]["figures"]
    return max(abs(float(ours[name]) - float(value)) for name, value in theirs.items())


def render(sizes: Sizes, measured: Mapping[str, Mapping[str, Any]], threads: int) -> str:
    """Return the section as Markdown."""
    how = _HOW.format(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=describe_machine("cpu", threads),
        versions=describe_versions(),
        sizes=sizes,
        per_identity=PER_IDENTITY,
        cameras=_CAMERAS,
    )
    ours = measured[OURS]["seconds"]
    rows = [
        [
            name,
            as_seconds(found["seconds"]),
            f"{as_ratio(found['seconds'] / ours)} x",
            as_bytes(found["bytes"]),
            *(f"{found['figures'][figure]:.4f}" for figure in ("rank-1", "mAP")),
        ]
        for name, found in measured.items()
    ]
    columns = ["", "time", "beside ours", "memory", "rank-1", "mAP"]
    largest = differs(measured)
    met = measured[OURS]["bytes"] < _AIM and largest <= _AGREE
    taken = as_bytes(measured[OURS]["bytes"])
    verdict = (
        f"Aimed at: less than {as_bytes(_AIM)} in all, with the script's figures: {taken},"
        f" the largest difference of a figure {largest:.0e}, {'met' if met else '**missed**'}."
    )
    return f"{how}\n{table(columns, rows)}\n\n{verdict}\n"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a smaller set; prints only")
    parser.add_argument("--document", type=Path, default=_DOCUMENT, help="the file to write into")
    options = parser.parse_args()
    threads = available_cpus()
    sizes = _QUICK if options.quick else _FULL
    text = render(sizes, measure(sizes, threads), threads)
    sys.stdout.write(text)
    if not options.quick:
        put_section(options.document, "bench-retrieval", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
