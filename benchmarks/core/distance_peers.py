"""Who computes the distances: ours, torch.cdist, scikit-learn and SciPy."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.special import rel_entr
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances, manhattan_distances
from torch import Tensor

from benchmarks.core.batches import rows_of_metric, rows_to_compare
from benchmarks.core.cases import Case
from benchmarks.core.loss_peers import Peer
from models.distances import Metric, pairwise

__all__ = ["DIRECT", "distance_peers", "metric_peers"]

DIRECT = "donot_use_mm_for_euclid_dist"

_PRODUCT = "use_mm_for_euclid_dist"
_P = 3.0

# numpy arrays stay untyped: SciPy and scikit-learn are.
_SCIPY_NAMES = {
    "squared_euclidean": "sqeuclidean",
    "cosine": "cosine",
    "manhattan": "cityblock",
    "chebyshev": "chebyshev",
    "minkowski": "minkowski",
    "hamming": "hamming",
}
_SKLEARN: dict[str, Callable[..., object]] = {
    "squared_euclidean": lambda x, y: euclidean_distances(x, y, squared=True),
    "cosine": cosine_distances,
    "manhattan": manhattan_distances,
}
_TORCH_P = {"manhattan": 1.0, "chebyshev": float("inf"), "minkowski": _P, "hamming": 0.0}


def distance_peers(case: Case) -> tuple[Peer, ...]:
    """Return who computes the Euclidean distances of the case: with the gradient, torch only."""
    torch_peers = (
        Peer("Lookalike", _of_tensors(pairwise)),
        Peer("cdist, product", _of_tensors(lambda x, y: torch.cdist(x, y, compute_mode=_PRODUCT))),
        Peer("cdist, direct", _of_tensors(lambda x, y: torch.cdist(x, y, compute_mode=DIRECT))),
    )
    if case.backward:
        return torch_peers
    return (
        *torch_peers,
        Peer("scikit-learn", _of_arrays(euclidean_distances), device="cpu"),
        Peer("SciPy", _of_arrays(cdist), device="cpu"),
    )


def metric_peers(case: Case) -> tuple[Peer, ...]:
    """Return who computes the case's metric."""
    metric, names = case.metric, {"metric": _SCIPY_NAMES.get(case.metric, "")}
    ours = Metric(metric, _P) if metric == "minkowski" else Metric(metric)
    peers = [Peer("Lookalike", _of_tensors(lambda x, y: pairwise(x, y, ours)))]
    if metric in _TORCH_P:
        share = 1 / case.d if metric == "hamming" else 1.0
        p = _TORCH_P[metric]
        peers.append(Peer("torch.cdist", _of_tensors(lambda x, y: share * torch.cdist(x, y, p=p))))
    if metric in _SKLEARN:
        peers.append(Peer("scikit-learn", _of_arrays(_SKLEARN[metric]), device="cpu"))
    if metric == "kl_divergence":
        peers.append(Peer("SciPy", _of_arrays(_relative_entropies), device="cpu"))
    else:
        options = {"p": _P} if metric == "minkowski" else {}
        peers.append(Peer("SciPy", _of_arrays(lambda x, y: cdist(x, y, **names, **options)), device="cpu"))
    return tuple(peers)


def _relative_entropies(x: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", y: object) -> object:
    """Return (N, M) KL divergences, a row at a time: SciPy has them for given pairs."""
    return np.stack([rel_entr(row, y).sum(1) for row in x])


def _inputs(case: Case, device: str) -> tuple[Tensor, Tensor]:
    make = rows_to_compare if case.group == "distances" else rows_of_metric
    return make(case, device)


def _of_tensors(form: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Case, str], Callable[[], object]]:
    def prepare(case: Case, device: str) -> Callable[[], object]:
        x, y = (rows.requires_grad_(case.backward) for rows in _inputs(case, device))

        def call() -> Tensor:
            x.grad = y.grad = None
            distances = form(x, y)
            if case.backward:
                distances.sum().backward()  # type: ignore[no-untyped-call]  # torch has not typed it
            return distances.detach()

        return call

    return prepare


def _of_arrays(form: Callable[..., object]) -> Callable[[Case, str], Callable[[], object]]:
    def prepare(case: Case, device: str) -> Callable[[], object]:
        x, y = (rows.numpy() for rows in _inputs(case, device))
        return lambda: form(x, y)

    return prepare
