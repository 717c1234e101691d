"""Few-shot trials against a loop over queries; the draws against what an episode must be."""

import numpy as np
import pytest

from models.errors import InputError, ShapeError
from models.metrics import Trials, bootstrap_mean, episodes, one_shot_trials, within_alphabet_trials


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("levels", [2, 1000])
def test_a_query_counts_where_its_class_is_nearer_than_all_others(shots: int, levels: int) -> None:
    rng = np.random.default_rng(levels)
    labels = np.repeat(np.arange(8), 6)
    embeddings = (rng.integers(0, levels, (48, 2)) + labels[:, None] * levels // 8).astype(np.float64)
    trials = episodes(labels, 15, ways=5, shots=shots, queries=2, seed=1)
    correct = []
    for support, queries, targets in zip(trials.support, trials.queries, trials.targets, strict=True):
        for query, target in zip(queries, targets, strict=True):
            distances = [
                np.linalg.norm(embeddings[query] - embeddings[rows].mean(axis=0)) for rows in support
            ]
            others = [d for way, d in enumerate(distances) if way != target]
            correct.append(bool(distances[target] < min(others) - 1e-12))
    found = one_shot_trials(embeddings, trials, labels=labels)
    assert 0.1 < found.accuracy == np.mean(correct) < 1
    assert found.error == pytest.approx(1 - found.accuracy)
    assert (found.ways, found.shots, found.trials, found.queries) == (5, shots, 15, 150)
    by_class = bootstrap_mean(np.array(correct, dtype=np.float64), labels[trials.queries].ravel())
    assert found.interval == by_class


def test_an_encoder_that_maps_everything_to_one_point_is_always_wrong() -> None:
    labels = np.repeat(np.arange(5), 4)
    trials = episodes(labels, 10, ways=5, seed=0)
    assert one_shot_trials(np.ones((20, 3)), trials, labels=labels).accuracy == 0.0


def test_perfect_classes_are_always_found_whatever_the_metric() -> None:
    labels = np.repeat(np.arange(5), 4)
    trials = episodes(labels, 10, ways=5, shots=2, queries=2)
    for metric in ("euclidean", "cosine", "manhattan"):
        found = one_shot_trials(np.eye(5)[labels], trials, labels=labels, metric=metric)
        assert found.accuracy == 1.0


def test_episodes_show_and_ask_different_pictures_of_the_same_classes() -> None:
    labels = np.array([7] * 3 + [1] * 4 + [5] * 5 + [2] * 2)  # 2 has too few pictures
    trials = episodes(labels, 50, ways=3, shots=2, queries=1, seed=4)
    assert trials.support.shape == (50, 3, 2)
    for support, queries, targets in zip(trials.support, trials.queries, trials.targets, strict=True):
        assert {*labels[support].ravel()} == {7, 1, 5}
        assert (labels[support] == labels[support[:, :1]]).all()
        assert (labels[support[targets, 0]] == labels[queries]).all()
        assert len({*support.ravel(), *queries}) == 9
    assert len({tuple(labels[support[:, 0]]) for support in trials.support}) == 6  # in every order


def test_pictures_of_nobody_are_no_class() -> None:
    labels = np.array([-1, 3, 3, -1, 8, 8, -1])
    trials = episodes(labels, 20, ways=2, seed=0)
    assert {*labels[trials.support].ravel()} == {*labels[trials.queries].ravel()} == {3, 8}
    with pytest.raises(InputError, match="there are 2"):
        episodes(labels, 1, ways=3)


def test_draws_are_those_of_their_seed() -> None:
    labels = np.repeat(np.arange(9), 5)
    one, again, other = (episodes(labels, 20, ways=5, seed=seed).support for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


def alphabets() -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]:
    """Two alphabets of 6 and 4 characters, and one of 2, each character by the same 5 people."""
    sizes = {3: 6, 8: 4, 9: 2}
    rows = [(a, c, d) for a, size in sizes.items() for c in range(size) for d in range(5)]
    alphabet, character, drawer = np.random.default_rng(0).permutation(np.array(rows)).T
    return alphabet, character, drawer


def test_trials_within_an_alphabet_are_between_two_people() -> None:
    alphabet, character, drawer = alphabets()
    trials = within_alphabet_trials(alphabet, character, drawer, runs=100, ways=4, seed=2)
    assert trials.support.shape == (200, 4, 1)  # the alphabet of two characters takes no part
    people = set()
    for support, queries, targets in zip(
        trials.support[:, :, 0], trials.queries, trials.targets, strict=True
    ):
        assert len({*alphabet[support], *alphabet[queries]}) == 1
        assert len({*character[support]}) == 4
        assert (character[support[targets]] == character[queries]).all()
        (first,), (second,) = {*drawer[support]}, {*drawer[queries]}
        assert first != second
        people.add((first, second))
    assert len(people) == 20  # every ordered pair of people comes up


def test_people_who_have_not_drawn_enough_in_common_are_not_paired() -> None:
    # Three characters: person 0 drew all, person 1 the first two, person 2 all.
    character, drawer = np.array([0, 1, 2, 0, 1, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 2, 2, 2])
    trials = within_alphabet_trials(np.zeros(8, dtype=np.int64), character, drawer, runs=40, ways=3)
    assert {*drawer[trials.support].ravel()} == {*drawer[trials.queries].ravel()} == {0, 2}


@pytest.mark.parametrize(
    ("ways", "runs", "error", "message"),
    [
        (7, 1, InputError, "No alphabet has 7"),
        (0, 1, InputError, "ways must be"),
        (2, 0, InputError, "runs must"),
    ],
)
def test_trials_that_cannot_be_drawn_are_refused(
    ways: int, runs: int, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        within_alphabet_trials(*alphabets(), runs=runs, ways=ways)


def test_labels_of_pictures_must_fit() -> None:
    with pytest.raises(ShapeError, match="Each picture"):
        within_alphabet_trials(
            np.zeros(2, dtype=np.int64), np.zeros(3, dtype=np.int64), np.zeros(2, dtype=np.int64)
        )


def test_episodes_need_enough_classes() -> None:
    with pytest.raises(InputError, match="3 classes of at least 3 pictures, and there are 2"):
        episodes(np.array([0, 0, 0, 1, 1, 1, 2, 2]), 1, ways=3, shots=2)


@pytest.mark.parametrize(
    ("support", "queries", "targets", "error", "message"),
    [
        ([[0], [1]], [[2]], [[0]], ShapeError, "Trials need"),
        ([[[0], [1]]], [[2]], [[0, 1]], ShapeError, "Trials need"),
        ([[[0], [1]]], [[]], [[]], ShapeError, "no trials"),
        ([[[0], [5]]], [[2]], [[0]], InputError, "support of the trials must be from 0 to 2"),
        ([[[0], [1]]], [[-1]], [[0]], InputError, "queries of"),
        ([[[0], [1]]], [[2]], [[2]], InputError, "targets of the trials must be from 0 to 1"),
    ],
)
def test_trials_of_rows_that_do_not_exist_are_refused(
    support: list[object], queries: list[object], targets: list[object], error: type[InputError], message: str
) -> None:
    arrays = (np.array(part, dtype=np.int64) for part in (support, queries, targets))
    with pytest.raises(error, match=message):
        one_shot_trials(np.eye(3), Trials(*arrays), labels=np.arange(3))
