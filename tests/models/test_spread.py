"""Quantiles of the pairs of a batch: those of a loop over all of them."""

import math

import pytest
import torch
import torch.nn.functional as F

from models.distances import METRICS
from models.errors import DomainError
from models.spread import QUANTILES, measure_spread
from tests.models import oracles
from tests.models.inputs import metric_named, rows_for

LABELS = [0, 1, 0, 2, 1, 1, 3, 0, 2, 0, 4, 1]


def quantile(values: list[float], share: float) -> float:
    """Return it as the textbook has it: on the line between the two values around (n - 1) * share."""
    values = sorted(values)
    place = (len(values) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def pairs_of(d: list[list[float]], labels: list[int], *, same: bool) -> list[float]:
    pairs = [(i, j) for i in range(len(d)) for j in range(len(d)) if i != j]
    return [d[i][j] for i, j in pairs if (labels[i] == labels[j]) == same]


@pytest.mark.parametrize("name", METRICS)
def test_quantiles_are_those_of_all_pairs(name: str) -> None:
    x = rows_for(name, len(LABELS))
    spread = measure_spread(x, torch.tensor(LABELS), metric_named(name))
    dense = oracles.matrix(x.tolist(), x.tolist(), oracles.DISTANCES[name])
    for found, same in ((spread.d_ap, True), (spread.d_an, False)):
        expected = [quantile(pairs_of(dense, LABELS, same=same), share) for share in QUANTILES]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert spread.medians == (spread.d_ap[2], spread.d_an[2])


def test_rows_are_brought_to_length_1_where_the_loss_does_it() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor(LABELS)
    found, expected = measure_spread(x, labels, normalize=True), measure_spread(F.normalize(x), labels)
    assert found.d_ap == pytest.approx(expected.d_ap, rel=1e-12)
    assert found.d_an == pytest.approx(expected.d_an, rel=1e-12)
    assert found.d_ap != pytest.approx(measure_spread(x, labels).d_ap, rel=0.1)


def test_the_mean_cosine_is_that_of_all_pairs_of_rows() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(1)) + 1
    cosines = [float(F.cosine_similarity(one, other, dim=0)) for one in x for other in x]
    assert measure_spread(x, torch.tensor(LABELS)).cosine == pytest.approx(sum(cosines) / 144, rel=1e-5)


def test_a_large_batch_is_looked_at_through_the_same_anchors_each_time() -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(600, 8, generator=generator) + torch.arange(150).repeat_interleave(4).unsqueeze(1) % 7
    labels = torch.arange(150).repeat_interleave(4)
    state = torch.get_rng_state()
    with oracles.LargestTensor() as largest:
        part = measure_spread(x, labels, "manhattan", pairs=60 * 600)
    assert largest.elements < 600 * 600 // 2
    assert torch.equal(torch.get_rng_state(), state)
    assert part == measure_spread(x, labels, "manhattan", pairs=60 * 600)
    whole = measure_spread(x, labels, "manhattan")
    assert part != whole
    assert part.d_ap == pytest.approx(whole.d_ap, rel=0.1)
    assert part.d_an == pytest.approx(whole.d_an, rel=0.1)


def test_sampled_anchors_meet_every_place_within_an_identity() -> None:
    # In a batch of P x 4, the fourth picture of each identity alone lies far from the others.
    labels = torch.arange(64).repeat_interleave(4)
    x = torch.tensor([0.0, 0.0, 0.0, 5.0]).repeat(64).unsqueeze(1)
    spread = measure_spread(x, labels, pairs=32 * 256)
    assert (spread.d_ap[0], spread.d_ap[-1]) == (0.0, 5.0)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_what_no_pair_tells_is_nan(labels: list[int]) -> None:
    spread = measure_spread(torch.eye(3), torch.tensor(labels))
    missing, there = (spread.d_ap, spread.d_an) if labels[1] else (spread.d_an, spread.d_ap)
    assert all(map(math.isnan, missing))
    assert there == pytest.approx((math.sqrt(2),) * 5)


def test_half_precision_is_measured_and_nothing_is_modified() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    before = x.clone()
    assert measure_spread(x, torch.tensor(LABELS)) == measure_spread(x.float(), torch.tensor(LABELS))
    assert torch.equal(x, before)


def test_a_row_without_a_direction_is_refused_as_the_loss_refuses_it() -> None:
    with pytest.raises(DomainError, match="Row 1"):
        measure_spread(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0]), normalize=True)
