"""The inputs: made from a seed, the same for everybody and on every run."""

import torch
from torch import Tensor

from benchmarks.core.cases import Case

__all__ = ["SHARE_COPIED", "labelled_batch", "rows_of_metric", "rows_to_compare"]

SHARE_COPIED = 0.01

_SEED = 20
_SHARE_OF_IDENTITY = 0.3
_CLUSTERS = 10
_NOISE = 1e-3
_NEAR_COPIES = (1e-2, 1e-4, 1e-6)


def labelled_batch(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """Return x (N, D) and its labels (N,), K rows an identity in random order.

    An embedding is 0.3 of its identity and 0.7 of noise, in variance, of length about 1: a training that has
    begun. At the margin 0.2 some 35 % (D = 128) or 28 % (D = 512) of all triplets are active.
    """
    generator = torch.Generator().manual_seed(_SEED)
    labels = torch.arange(case.n)[torch.randperm(case.n, generator=generator)] // case.k
    identities = torch.randn(case.n // case.k + 1, case.d, generator=generator)
    noise = torch.randn(case.n, case.d, generator=generator)
    x = _SHARE_OF_IDENTITY**0.5 * identities[labels] + (1 - _SHARE_OF_IDENTITY) ** 0.5 * noise
    return (x / case.d**0.5).to(device), labels.to(device)


def rows_to_compare(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """Return x and a copy of x, (N, D): every row has an equal one, and no peer can tell by its address.

    1 % of the rows are copies of others. Of the random rows, three more in a thousand are copies with a
    relative noise of 1e-2, 1e-4 and 1e-6: pairs near zero, on which digits are lost.
    """
    generator = torch.Generator().manual_seed(_SEED)
    x = torch.randn(case.n, case.d, generator=generator)
    if case.data == "near":
        x = torch.randn(1, case.d, generator=generator) + _NOISE * x
    if case.data == "clusters":
        centres = torch.randn(_CLUSTERS, case.d, generator=generator)
        x = centres[torch.randint(_CLUSTERS, (case.n,), generator=generator)] + _NOISE * x
    rows = torch.randperm(case.n, generator=generator)
    copied = max(1, int(SHARE_COPIED * case.n))
    x[rows[:copied]] = x[rows[copied : 2 * copied]]
    if case.data == "random":
        free = rows[2 * copied :]
        for place, noise in enumerate(_NEAR_COPIES * max(1, case.n // 1000)):
            original = x[free[2 * place]]
            x[free[2 * place + 1]] = original + noise * torch.randn(case.d, generator=generator)
    return x.to(device), x.clone().to(device)


def rows_of_metric(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """Return x and y (N, D) in the domain of the metric: distributions for KL, few values for Hamming."""
    generator = torch.Generator().manual_seed(_SEED)
    x, y = torch.randn(2, case.n, case.d, generator=generator).unbind(0)
    if case.metric == "kl_divergence":
        x, y = x.softmax(1), y.softmax(1)
    if case.metric == "hamming":
        x, y = x.round(), y.round()
    return x.contiguous().to(device), y.contiguous().to(device)
