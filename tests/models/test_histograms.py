"""Histograms of pairs: numpy's of all distances at once, whatever the tiles."""

import numpy as np
import pytest
import torch

from models.distances import METRICS
from models.errors import ShapeError
from models.histograms import Histogram, batch_histograms, histograms
from tests.models import oracles
from tests.models.inputs import metric_named, rows_for

LABELS = [0, 1, 0, 2, 1, 1, 3, 0, 2, 0, 4, 1]


def expected(d: list[list[float]], labels: list[int], bins: int) -> list[Histogram]:
    """Loop over the pairs of a distance matrix."""
    pairs = [(i, j) for i in range(len(d)) for j in range(len(d)) if i != j]
    d_ap = [d[i][j] for i, j in pairs if labels[i] == labels[j]]
    d_an = [d[i][j] for i, j in pairs if labels[i] != labels[j]]
    extent = (min(d_ap + d_an), max(d_ap + d_an))
    found = []
    for values in (d_ap, d_an):
        counts, edges = np.histogram(values, bins, extent)
        found.append(Histogram(edges, counts, float(np.mean(values))))
    return found


@pytest.mark.parametrize("tile_elements", [1, 12, 50, 2**20])
@pytest.mark.parametrize("name", METRICS)
def test_pairs_are_counted_as_numpy_counts_all_of_them(name: str, tile_elements: int) -> None:
    x = rows_for(name, len(LABELS))
    dense = oracles.matrix(x.tolist(), x.tolist(), oracles.DISTANCES[name])
    found = batch_histograms(x, LABELS, metric_named(name), bins=17, tile_elements=tile_elements)
    for one, other in zip(found, expected(dense, LABELS, 17), strict=True):
        np.testing.assert_allclose(one.edges, other.edges, rtol=1e-12, atol=1e-12)
        if name != "hamming":  # its few values lie on the edges, where rounding decides
            np.testing.assert_array_equal(one.counts, other.counts)
        assert one.total == other.total
        assert one.mean == pytest.approx(other.mean, rel=1e-12)


@pytest.mark.parametrize("tile_elements", [7, 100, 2**20])
def test_exact_distances_fall_into_the_same_bins_whatever_the_tiles(tile_elements: int) -> None:
    x = torch.randint(0, 16, (60, 3), generator=torch.Generator().manual_seed(0))
    labels = [row % 7 for row in range(60)]
    dense = oracles.matrix(x.tolist(), x.tolist(), oracles.DISTANCES["manhattan"])
    found = batch_histograms(x, labels, "manhattan", tile_elements=tile_elements)
    for one, other in zip(found, expected(dense, labels, 60), strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_array_equal(one.edges, other.edges)


def test_no_more_than_a_tile_is_held() -> None:
    x = torch.zeros(256, 2)
    with oracles.LargestTensor() as largest:
        batch_histograms(x, [0, 1] * 128, "manhattan", tile_elements=1024)
    assert largest.elements < 256 * 256 // 4


@pytest.mark.parametrize(
    ("values", "edges"),
    [([0.0, 0.0], (0, 1)), ([3.0, 3.0], (0, 3)), ([1.0, 1 + 1e-12], (0, 1 + 1e-12)), ([1e-310], (0, 1))],
)
def test_numbers_that_are_alike_have_bins_too(values: list[float], edges: tuple[float, float]) -> None:
    (found,) = histograms(lambda: [[np.array(values)]], 1, bins=5)
    assert (found.edges[0], found.edges[-1]) == edges
    assert found.total == len(values)


def test_a_series_may_be_empty() -> None:
    d_ap, d_an = batch_histograms(torch.eye(3), ["a", "b", "c"])
    assert (d_ap.total, d_an.total) == (0, 6)
    assert np.isnan(d_ap.mean)


def test_the_numbers_of_labels_and_rows_are_compared() -> None:
    with pytest.raises(ShapeError, match="one label for each row"):
        batch_histograms(torch.eye(3), ["a", "b"])
