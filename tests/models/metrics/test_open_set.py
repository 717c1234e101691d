"""Open-set identification against a loop over probes that walks down the gallery in stable order."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.distances import pairwise
from models.errors import InputError, NonFiniteError, ShapeError
from models.metrics import Labels, OpenSet, bootstrap_mean, open_set, open_set_of

RANKS = (1, 2, 5)


def loop(
    distances: npt.NDArray[np.floating], identities: tuple[Labels, Labels]
) -> tuple[list[tuple[float, int]], list[float]]:
    """Return distance and rank of each mated probe's identity, and each non-mated probe's best distance."""
    enrolled = {*identities[1].tolist()} - {-1}
    mated, best = [], []
    for row, identity in zip(distances.tolist(), identities[0].tolist(), strict=True):
        order: dict[int, float] = {}
        for g in sorted(range(len(row)), key=lambda g: (row[g], g)):
            if identities[1][g] != -1:
                order.setdefault(int(identities[1][g]), row[g])
        if identity in enrolled:
            mated.append((order[identity], 1 + [*order].index(identity)))
        else:
            best.append(min(order.values()))
    return mated, sorted(best)


def check(found: OpenSet, mated: list[tuple[float, int]], best: list[float]) -> None:
    assert (found.mated, found.non_mated) == (len(mated), len(best))
    for point in found.points:
        assert point.threshold == best[int(point.fpir * len(best) + 1e-9)]
        assert point.measured_fpir == np.mean([d < point.threshold for d in best])
        assert point.dir == {
            r: np.mean([d < point.threshold and rank <= r for d, rank in mated]) for r in RANKS
        }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [1, 3, 1_000_000])
def test_it_agrees_with_a_loop(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, levels, (80, 30)) / levels
    identities = rng.integers(-1, 20, 80), rng.integers(-1, 12, 30)
    found = open_set(distances, identities, fpirs=(0.5, 0.1), ranks=RANKS)
    assert len(found.points) == 2
    assert found.gallery == (identities[1] >= 0).sum()
    assert found.identities == len({*identities[1].tolist()} - {-1})
    mated, best = loop(distances, identities)
    check(found, mated, best)
    whose = identities[0][np.isin(identities[0], identities[1]) & (identities[0] >= 0)]
    for point in found.points:
        hits = np.array([d < point.threshold and rank == 1 for d, rank in mated], dtype=np.float64)
        assert point.interval == bootstrap_mean(hits, whose)


@st.composite
def small_cases(draw: st.DrawFn) -> tuple[npt.NDArray[np.float64], tuple[Labels, Labels]]:
    probes, gallery = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    cell = st.sampled_from([0.0, -0.0, 5e-324, 1.0, float(np.nextafter(1.0, 2.0)), 1e308])
    row = st.lists(cell, min_size=gallery, max_size=gallery)
    distances = np.array(draw(st.lists(row, min_size=probes, max_size=probes)))
    labels = [draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)) for n in (probes, gallery)]
    return distances, (np.array(labels[0]), np.array(labels[1]))


@settings(deadline=None, derandomize=True)
@given(small_cases())
def test_small_sets_with_ties_agree_with_a_loop(
    case: tuple[npt.NDArray[np.float64], tuple[Labels, Labels]],
) -> None:
    distances, identities = case
    mated = np.isin(identities[0], identities[1][identities[1] >= 0])
    if mated.all() or not mated.any():
        with pytest.raises(InputError, match="there are none"):
            open_set(distances, identities)
        return
    check(open_set(distances, identities, fpirs=(0.5,), ranks=RANKS), *loop(distances, identities))


def test_a_probe_must_be_accepted_to_count() -> None:
    # One mated probe, its identity second at 0.3; two non-mated ones, best at 0.2 and 0.4.
    distances = np.array([[0.1, 0.3], [0.2, 0.9], [0.7, 0.4]])
    found = open_set(distances, (np.array([6, 8, 9]), np.array([5, 6])), fpirs=(0.5,), ranks=(1, 2))
    (point,) = found.points
    assert (point.threshold, point.measured_fpir) == (0.4, 0.5)
    assert point.dir == {1: 0.0, 2: 1.0}


@pytest.mark.parametrize("metric", ["euclidean", "hamming"])
def test_embeddings_give_what_their_distances_give(metric: str) -> None:
    rng = np.random.default_rng(0)
    gallery = rng.integers(0, 5, (9000, 3)).astype(np.float32)
    probes = rng.integers(0, 5, (400, 3)).astype(np.float32)
    identities = rng.integers(0, 900, 400), rng.integers(-1, 600, 9000)
    distances = pairwise(torch.from_numpy(probes), torch.from_numpy(gallery), metric).numpy()
    assert open_set_of(probes, gallery, identities, metric=metric) == open_set(distances, identities)


def test_rates_that_need_more_probes_are_refused_by_themselves() -> None:
    distances = np.arange(22.0).reshape(11, 2)
    found = open_set(distances, (np.array([1, *[7] * 10]), np.array([1, 2])))
    assert [point.fpir for point in found.points] == [0.1]
    assert found.refused == {
        0.01: "FPIR 0.01 needs at least 100 non-mated probes, and there are 10.",
        0.001: "FPIR 0.001 needs at least 1,000 non-mated probes, and there are 10.",
    }


@pytest.mark.parametrize(
    ("distances", "probes", "options", "error", "message"),
    [
        (np.zeros((2, 2)), [1, 2], {}, InputError, "non-mated"),
        (np.zeros((2, 2)), [8, -1], {}, InputError, "are mated"),
        (np.zeros((2, 2)), [1, 8], {"fpirs": (0.0,)}, InputError, "is above 0"),
        (np.zeros((2, 2)), [1], {}, ShapeError, "identities"),
        (np.zeros((0, 2)), [], {}, ShapeError, "neither empty"),
        (np.full((2, 2), np.inf), [1, 8], {}, NonFiniteError, "query 0"),
    ],
)
def test_what_is_no_open_set_is_refused(
    distances: npt.NDArray[np.float64],
    probes: list[int],
    options: dict[str, tuple[float]],
    error: type[InputError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        open_set(distances, (np.array(probes, dtype=np.int64), np.array([1, 2])), **options)  # type: ignore[arg-type]  # of the table
