"""How right the answers are: of distances against float64, of mined rows against the dense form."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.core.batches import labelled_batch, rows_to_compare
from benchmarks.core.cases import MARGIN, Case
from benchmarks.core.distance_peers import DIRECT
from benchmarks.core.peers import peers_of
from models.distances import pairwise
from models.losses import batch_triplet_loss

__all__ = ["NEAR", "measure_accuracy", "measure_mined"]

# A pair is near where its squared distance is at most this share of |x|^2 + |y|^2.
NEAR = 1e-2

_ROWS = 512


def measure_accuracy(case: Case, device: str) -> dict[str, dict[str, float]]:
    """Return of each peer: the largest value on equal rows, the largest relative error of near pairs, NaN."""
    answers = {
        name: _as_tensor(peer.prepare(case, peer.device or device)()) for name, peer in peers_of(case).items()
    }
    errors = {name: {"on_equal": 0.0, "near_error": 0.0, "nan": 0.0} for name in answers}
    x, y = (rows.double() for rows in rows_to_compare(case, "cpu"))
    y_norms = y.square().sum(1)
    for rows in torch.split(torch.arange(case.n), _ROWS):
        # By the differences themselves, in float64: no digits are lost.
        exact = torch.cdist(x[rows], y, compute_mode=DIRECT)
        near = (exact > 0) & (exact.square() <= NEAR * (x[rows].square().sum(1, keepdim=True) + y_norms))
        for name, answer in answers.items():
            _note_errors(errors[name], answer[rows], exact, near)
    return errors


def _note_errors(errors: dict[str, float], got: Tensor, exact: Tensor, near: Tensor) -> None:
    errors["nan"] += int(got.isnan().sum())
    got = got.double().nan_to_num(nan=math.inf)
    errors["on_equal"] = max(errors["on_equal"], _largest(got[exact == 0]))
    relative = (got[near] - exact[near]).abs() / exact[near]
    errors["near_error"] = max(errors["near_error"], _largest(relative))


def measure_mined(case: Case, device: str) -> dict[str, Any]:
    """Compare the rows that batch-hard mines with those of the dense form, for every anchor.

    Returns:
        anchors: how many; same: of how many both mined rows are the dense form's, ties to the lowest row.
    """
    x, labels = labelled_batch(case, device)
    mined = batch_triplet_loss(x, labels, mining="hard", margin=MARGIN, return_triplets=-1).triplets
    got = torch.tensor([(one.anchor, one.positive, one.negative) for one in mined]).T
    distances = pairwise(x)
    wanted = [_dense_choice(distances, labels, rows) for rows in torch.split(torch.arange(case.n), _ROWS)]
    positive, negative = (torch.cat(parts).cpu() for parts in zip(*wanted, strict=True))
    if got.shape != (3, case.n):
        return {"anchors": case.n, "same": 0}
    agrees = (got[0] == torch.arange(case.n)) & (got[1] == positive) & (got[2] == negative)
    return {"anchors": case.n, "same": int(agrees.sum())}


def _dense_choice(distances: Tensor, labels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the farthest positive and nearest negative of some rows."""
    rows = rows.to(labels.device)
    same = labels[rows, None] == labels
    positive = same.clone()
    positive[torch.arange(len(rows), device=rows.device), rows] = False
    tile = distances[rows]
    return tile.masked_fill(~positive, -torch.inf).argmax(1), tile.masked_fill(same, torch.inf).argmin(1)


def _as_tensor(distances: object) -> Tensor:
    if isinstance(distances, Tensor):
        return distances.cpu()
    assert isinstance(distances, np.ndarray)
    return torch.from_numpy(distances)


def _largest(values: Tensor) -> float:
    return float(values.max()) if len(values) else 0.0
