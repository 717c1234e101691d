"""Pairs of a set against a loop over all of them; bootstrap draws against a set with copied identities."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.distances import pairwise
from models.errors import InputError, ShapeError
from models.metrics import PairDistances, given_pairs, operating_intervals, pair_distances, roc, tar_at_far
from models.metrics.intervals import identity_draws
from tests.models.memory import peak_bytes

Labels = npt.NDArray[np.int64]


def some_set(levels: int, count: int = 60) -> tuple[npt.NDArray[np.float32], Labels, Labels]:
    rng = np.random.default_rng(levels)
    labels = rng.integers(-1, 9, count)
    embeddings = rng.integers(0, levels, (count, 3)) + (levels // 4) * labels[:, None]
    return embeddings.astype(np.float32), labels, rng.integers(0, 3, count)


def loop(
    distances: npt.NDArray[np.float32], labels: Labels, cameras: Labels | None
) -> tuple[list[float], list[float]]:
    """Return the genuine and the impostor distances of all pairs that count, ascending."""
    found: tuple[list[float], list[float]] = ([], [])
    for i, j in combinations(range(len(labels)), 2):
        if -1 in (labels[i], labels[j]) or (cameras is not None and cameras[i] == cameras[j]):
            continue
        found[int(labels[i] != labels[j])].append(float(distances[i, j]))
    return sorted(found[0]), sorted(found[1])


@pytest.mark.parametrize("levels", [3, 10_000])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("keep", [1, 40, 10_000])
def test_every_pair_is_counted_once(levels: int, across: bool, keep: int) -> None:
    embeddings, labels, all_cameras = some_set(levels)
    cameras = all_cameras if across else None
    distances = pairwise(torch.from_numpy(embeddings)).numpy()
    genuine, impostor = loop(distances, labels, cameras)
    found = pair_distances(embeddings, labels, cameras=cameras, keep=keep)

    assert found.impostors == len(impostor)
    np.testing.assert_array_equal(found.genuine, genuine)
    np.testing.assert_array_equal(found.impostor, impostor[:keep])
    np.testing.assert_array_equal(found.closer, [sum(d < g for d in impostor) for g in genuine])
    np.testing.assert_array_equal(found.level, [sum(d == g for d in impostor) for g in genuine])
    whole = roc(given_pairs(np.array(genuine), np.array(impostor)))
    assert (roc(found).auc, roc(found).eer) == (whole.auc, whole.eer)


@pytest.mark.parametrize("across", [False, True])
def test_each_picture_has_a_nearest_impostor(across: bool) -> None:
    embeddings, labels, all_cameras = some_set(50)
    cameras = all_cameras if across else np.arange(60)
    distances = pairwise(torch.from_numpy(embeddings)).numpy()
    found = pair_distances(embeddings, labels, cameras=cameras if across else None)
    somebody = [i for i in range(60) if labels[i] != -1]
    others = {
        i: [distances[i, j] for j in somebody if labels[j] != labels[i] and cameras[j] != cameras[i]]
        for i in somebody
    }
    assert found.nearest.tolist() == [min(others[i]) for i in somebody]
    assert found.compared.tolist() == [len(others[i]) for i in somebody]


def test_strips_and_dropped_impostors_change_nothing() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 400, 3000)
    embeddings = (rng.standard_normal((400, 8))[labels] + rng.standard_normal((3000, 8))).astype(np.float32)
    whole, part = (pair_distances(embeddings, labels, keep=keep) for keep in (2**23, 60_000))
    np.testing.assert_array_equal(part.impostor, whole.impostor[:60_000])
    np.testing.assert_array_equal(part.closer, whole.closer)
    np.testing.assert_array_equal(part.level, whole.level)
    assert tar_at_far(part, 1e-2) == tar_at_far(whole, 1e-2)
    with pytest.raises(InputError, match="60,000 were kept"):
        tar_at_far(part, 0.5)


def test_a_matrix_of_all_distances_is_never_formed() -> None:
    rng = np.random.default_rng(0)
    rows, labels = torch.from_numpy(rng.standard_normal((5000, 4), dtype=np.float32)), np.arange(5000) // 2
    assert peak_bytes(lambda: pair_distances(rows, labels, keep=1000)) < 5000 * 5000 * 4 // 2


def with_copies(pairs: PairDistances, weights: npt.NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Return the distances that each pair brings where identity i is there weights[i] times."""
    whose = pairs.identities
    assert whose is not None
    genuine = [d for d, i in zip(pairs.genuine, whose.genuine, strict=True) for _ in range(weights[i])]
    impostor = [
        d
        for d, i, j in zip(pairs.impostor, *whose.impostor, strict=True)
        for _ in range(weights[i] * weights[j])
    ]
    return genuine, impostor


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("far", [0.01, 0.3, 0.9])
def test_intervals_are_those_of_sets_in_which_the_drawn_identities_are_repeated(
    across: bool, far: float
) -> None:
    embeddings, labels, cameras = some_set(40, count=40)
    pairs = pair_distances(embeddings, labels, cameras=cameras if across else None)
    assert pairs.identities is not None
    thresholds: list[float] = []
    rates: list[float] = []
    for weights in np.concatenate(list(identity_draws(9, draws=60, seed=3))):
        genuine, impostor = with_copies(pairs, weights)
        assert pairs.identities.impostor_pairs(weights) == len(impostor)
        threshold = impostor[int(far * len(impostor) + 1e-9)]
        thresholds.append(threshold)
        rates.append(float(np.mean([d < threshold for d in genuine])))
    found = operating_intervals(pairs, far, draws=60, level=0.9, seed=3)
    assert found is not None
    at, tar = (tuple(np.quantile(values, [0.05, 0.95])) for values in (thresholds, rates))
    no_failure = 0.05 ** (1 / len(np.unique(pairs.identities.genuine)))  # of the identities that have pairs
    assert (found[0].low, found[0].high) == pytest.approx(at)
    assert (found[1].low, found[1].high) == pytest.approx(
        (min(tar[0], no_failure), max(tar[1], 1 - no_failure))
    )
    assert all((interval.draws, interval.level) == (60, 0.9) for interval in found)


def test_draws_without_the_closest_identities_look_farther() -> None:
    # The 3,600 closest impostor pairs are all of the identities 0 and 1; many a draw lacks one of them.
    labels = np.repeat([0, 1, 2], 60)
    embeddings = np.random.default_rng(0).random((180, 1)) + np.array([0.0, 1.0, 50.0])[labels, None]
    pairs = pair_distances(embeddings, labels)
    thresholds = []
    for weights in np.concatenate(list(identity_draws(3, draws=30, seed=0))):
        _, impostor = with_copies(pairs, weights)
        if impostor:
            thresholds.append(impostor[int(0.1 * len(impostor) + 1e-9)])
    found = operating_intervals(pairs, 0.1, draws=30)
    assert found is not None
    threshold, _ = found
    assert threshold.draws == len(thresholds)
    assert (threshold.low, threshold.high) == pytest.approx(tuple(np.quantile(thresholds, [0.025, 0.975])))
    assert threshold.low < 3 < threshold.high


def test_draws_of_one_identity_alone_are_left_out() -> None:
    pairs = pair_distances(np.array([[0.0], [1.0], [5.0], [7.0]]), np.array([0, 0, 1, 1]))
    found = operating_intervals(pairs, 0.25, draws=200)
    assert found is not None
    threshold, rate = found
    drawn = np.concatenate(list(identity_draws(2, draws=200, seed=0)))
    assert threshold.draws == rate.draws == (drawn == 1).all(axis=1).sum() < 200
    assert (threshold.low, threshold.high) == (5.0, 5.0)  # of 4, 5, 6 and 7, which every draw left has


def test_there_is_no_interval_where_a_draw_needs_more_distances_than_were_kept() -> None:
    embeddings, labels, _ = some_set(1000)
    pairs = pair_distances(embeddings, labels, keep=200)
    far = 199 / pairs.impostors
    assert tar_at_far(pairs, far).impostor_pairs == pairs.impostors
    assert operating_intervals(pairs, far, draws=50) is None


def test_intervals_need_to_know_whose_the_pairs_are() -> None:
    with pytest.raises(InputError, match="whose the pairs are"):
        operating_intervals(given_pairs(np.zeros(3), np.ones(3)), 0.5)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0, 1, 2], {}, InputError, "two pictures of one identity"),
        ([0, 0, 0], {}, InputError, "pictures of two identities"),
        ([0, 0, 1], {"cameras": np.zeros(3, dtype=np.int64)}, InputError, "there are none"),
        ([-1, -1, -1], {}, InputError, "all labels are -1"),
        ([0, 1], {}, ShapeError, "labels must be one for each"),
        ([0, 0, 1], {"cameras": np.zeros(2, dtype=np.int64)}, ShapeError, "cameras must be one for each"),
        ([0, 0, 1], {"keep": 0}, InputError, "At least 1"),
    ],
)
def test_sets_without_pairs_are_refused(
    labels: list[int], options: dict[str, Labels], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        pair_distances(np.eye(3), np.array(labels), **options)  # type: ignore[arg-type]  # of the table
