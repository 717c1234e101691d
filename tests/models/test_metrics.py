"""Retrieval against a plain loop over queries, and scikit-learn's average precision."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score

from models.errors import InputError, NonFiniteError, ShapeError
from models.metrics import Labels, retrieval


def ints(values: Sequence[int]) -> Labels:
    return np.array(values, dtype=np.int64)


def loop(
    distances: npt.NDArray[np.float64], identities: tuple[Labels, Labels], cameras: tuple[Labels, Labels]
) -> tuple[list[int], list[float]]:
    """Return the rank of the first hit and the average precision of each query that has a positive."""
    first_hits, precisions = [], []
    for q, row in enumerate(distances):
        order = sorted(range(len(row)), key=lambda g: (row[g], g))
        relevant = [
            bool(identities[1][g] == identities[0][q])
            for g in order
            if identities[1][g] != -1
            and not (identities[1][g] == identities[0][q] and cameras[1][g] == cameras[0][q])
        ]
        if any(relevant):
            hits = [rank for rank, is_hit in enumerate(relevant, start=1) if is_hit]
            first_hits.append(hits[0])
            precisions.append(sum(n / rank for n, rank in enumerate(hits, start=1)) / len(hits))
    return first_hits, precisions


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [4, 1_000_000])
def test_it_agrees_with_a_loop(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = (300, 40) if seed == 0 else (20, 50)
    distances = rng.integers(0, levels, (queries, gallery)) / levels  # few levels: many ties
    identities = ints(rng.integers(0, 9, queries).tolist()), ints(rng.integers(-1, 7, gallery).tolist())
    cameras = ints(rng.integers(0, 3, queries).tolist()), ints(rng.integers(0, 3, gallery).tolist())
    first_hits, precisions = loop(distances, identities, cameras)

    result = retrieval(distances, identities, cameras, ranks=(1, 3, 10))

    assert (result.queries, result.skipped, result.gallery) == (
        len(precisions),
        queries - len(precisions),
        gallery,
    )
    assert result.mean_average_precision == pytest.approx(np.mean(precisions), abs=1e-12)
    assert result.rank == {k: pytest.approx(np.mean([hit <= k for hit in first_hits])) for k in (1, 3, 10)}


def test_without_junk_it_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    distances = rng.random((30, 60))
    identities = ints(rng.integers(0, 5, 30).tolist()), ints(rng.integers(0, 5, 60).tolist())
    expected = [
        average_precision_score(identities[1] == identity, -row)
        for identity, row in zip(identities[0], distances, strict=True)
    ]
    assert retrieval(distances, identities).mean_average_precision == pytest.approx(
        np.mean(expected), abs=1e-12
    )


def test_the_own_camera_is_no_hit_and_takes_no_rank() -> None:
    # By distance: junk (same identity, same camera), a wrong one, the right one.
    result = retrieval(
        np.array([[0.0, 1.0, 2.0]]), (ints([4]), ints([4, 5, 4])), (ints([1]), ints([1, 1, 2])), ranks=(1, 2)
    )
    assert (result.rank, result.mean_average_precision) == ({1: 0.0, 2: 1.0}, 0.5)


def test_identity_minus_one_is_removed_and_identity_zero_distracts() -> None:
    distances = np.array([[0.0, 1.0, 2.0]])
    assert retrieval(distances, (ints([4]), ints([-1, -1, 4]))).rank[1] == 1.0
    assert retrieval(distances, (ints([4]), ints([-1, 0, 4]))).mean_average_precision == 0.5


def test_queries_without_a_positive_are_skipped_and_counted() -> None:
    result = retrieval(np.array([[0.0, 1.0], [0.0, 1.0]]), (ints([1, 9]), ints([1, 2])))
    assert (result.queries, result.skipped, result.rank[1]) == (1, 1, 1.0)


def test_equal_distances_keep_the_order_of_the_gallery() -> None:
    result = retrieval(np.zeros((1, 40)), (ints([3]), ints([*range(40)])), ranks=(3, 4))
    assert result.rank == {3: 0.0, 4: 1.0}


@pytest.mark.parametrize(
    ("distances", "queries", "error", "message"),
    [
        (np.zeros((2, 2)), [1, 2, 3], ShapeError, "identities have the shapes"),
        (np.zeros((0, 2)), [], ShapeError, "neither empty"),
        (np.zeros(2), [1, 2], ShapeError, "must be"),
        (np.array([[0.0, 0.0], [0.0, np.nan]]), [1, 2], NonFiniteError, "query 1"),
        (np.zeros((2, 2)), [8, 9], InputError, "No query"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    distances: npt.NDArray[np.float64], queries: list[int], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        retrieval(distances, (ints(queries), ints([1, 2])))


def test_cameras_must_fit_too() -> None:
    with pytest.raises(ShapeError, match="cameras have the shapes"):
        retrieval(np.zeros((1, 1)), (ints([1]), ints([1])), (ints([1]), ints([1, 2])))
