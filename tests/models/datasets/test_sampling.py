"""Batches hold P identities with K pictures, as the seed and the step alone say."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from models.datasets import PKSampler
from models.errors import DatasetError, OptionError, ShapeError

UNBALANCED = np.array([5, 5, 5, 5, 5, 9, 9, 2, 7, 7, 7])

Indices = npt.NDArray[np.int64]


def test_a_batch_has_k_pictures_of_each_of_p_identities() -> None:
    sampler = PKSampler(UNBALANCED, identities=3, images=3, seed=0)
    for step in range(20):
        labels = UNBALANCED[sampler.batch(step)].reshape(3, 3)
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0])) == 3


def test_few_pictures_repeat_only_after_all_were_drawn() -> None:
    sampler = PKSampler(UNBALANCED, identities=4, images=3, seed=0)
    for step in range(20):
        counts = Counter(sampler.batch(step).tolist())
        for label in set(UNBALANCED.tolist()):
            drawn_counts = [counts[index] for index in np.flatnonzero(np.equal(UNBALANCED, label)).tolist()]
            assert sum(drawn_counts) == 3
            assert max(drawn_counts) - min(drawn_counts) <= 1


def test_a_pass_takes_no_identity_twice() -> None:
    labels = np.repeat(np.arange(10), 2)
    sampler = PKSampler(labels, identities=3, images=2, seed=1)
    assert sampler.batches_per_pass == 3
    for first in (0, 3, 6):
        seen = [
            label for step in range(first, first + 3) for label in labels[sampler.batch(step)][::2].tolist()
        ]
        assert len(set(seen)) == 9


def test_batches_depend_on_seed_and_step_alone() -> None:
    labels = np.repeat(np.arange(10), 4)
    one, same, other = (PKSampler(labels, identities=4, images=2, seed=seed) for seed in (1, 1, 2))
    one.batch(0)
    np.testing.assert_array_equal(one.batch(5), same.batch(5))
    assert one.batch(5).tolist() != one.batch(6).tolist()
    assert one.batch(5).tolist() != other.batch(5).tolist()


def test_too_few_identities_are_refused() -> None:
    with pytest.raises(DatasetError, match="5 identities was asked for and the set has 4"):
        PKSampler(UNBALANCED, identities=5, images=2, seed=0)
    with pytest.raises(DatasetError, match="the set has 0"):
        PKSampler(np.array([-1, -1]), identities=2, images=2, seed=0)


@pytest.mark.parametrize(("identities", "images"), [(1, 2), (0, 2), (2, 1)])
def test_batches_without_a_triplet_are_refused(identities: int, images: int) -> None:
    with pytest.raises(OptionError, match="at least 2"):
        PKSampler(UNBALANCED, identities=identities, images=images, seed=0)


def as_ever(labels: Indices, p: int, k: int, *, seed: int, step: int) -> Indices:
    """Return a batch by the draws that the shipped encoders' training was recorded with, as a plain loop."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    number, place = divmod(step, len(members) // p)
    order = np.random.default_rng([seed, 0, number]).permutation(len(members))
    rng = np.random.default_rng([seed, 0, number, 1 + place])
    drawn = [rng.permutation(members[n]) for n in order[place * p : (place + 1) * p]]
    return np.array([pictures[n % len(pictures)] for pictures in drawn for n in range(k)])


def test_the_draws_of_recorded_trainings_stay() -> None:
    labels = np.random.default_rng(3).integers(0, 40, 400)
    sampler = PKSampler(labels, identities=8, images=4, seed=7)
    assert sampler.batch(0)[:12].tolist() == [95, 19, 366, 276, 41, 373, 224, 84, 156, 273, 59, 177]
    assert sampler.batch(13)[:12].tolist() == [394, 53, 388, 20, 178, 247, 188, 5, 271, 102, 80, 115]
    for step in (0, 4, 5, 13, 2, 400):
        np.testing.assert_array_equal(sampler.batch(step), as_ever(labels, 8, 4, seed=7, step=step))
    few = PKSampler(UNBALANCED, identities=3, images=3, seed=0)
    assert few.batch(0).tolist() == [8, 10, 9, 7, 7, 7, 3, 4, 2]
    for step in range(5):
        np.testing.assert_array_equal(few.batch(step), as_ever(UNBALANCED, 3, 3, seed=0, step=step))


def test_nobody_is_never_drawn_and_changes_no_draw() -> None:
    labels = np.repeat(np.arange(6), 3)
    with_nobody = np.concatenate((labels, [-1] * 40))
    one, other = (PKSampler(these, identities=4, images=2, seed=0) for these in (labels, with_nobody))
    for step in range(10):
        np.testing.assert_array_equal(one.batch(step), other.batch(step))


def evenest(sizes: dict[int, int], k: int) -> list[int]:
    """Return, sorted, how many pictures each camera gives where the one that gave least is always next."""
    given = dict.fromkeys(sizes, 0)
    for _ in range(min(k, sum(sizes.values()))):
        camera = min((c for c in sizes if given[c] < sizes[c]), key=lambda c: given[c])
        given[camera] += 1
    return sorted(given.values())


@pytest.mark.parametrize("images", [2, 4, 7])
def test_an_identity_s_pictures_are_spread_over_its_cameras(images: int) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 12, 120)
    cameras = rng.choice([0, 1, 2, 7], 120, p=[0.7, 0.1, 0.1, 0.1])
    sampler = PKSampler(labels, identities=6, images=images, seed=0, cameras=cameras)
    for step in range(20):
        for row in sampler.batch(step).reshape(6, images):
            own = np.flatnonzero(labels == labels[row[0]])
            assert len(set(row.tolist())) == min(images, len(own))  # none twice while one is left
            first = row[: len(own)]
            counts = Counter(cameras[first].tolist())
            sizes = Counter(cameras[own].tolist())
            assert sorted(counts[camera] for camera in sizes) == evenest(sizes, images)


def test_every_camera_is_drawn_as_often_as_another() -> None:
    labels = np.repeat([0, 1], 12)
    cameras = np.tile([0] * 10 + [1, 2], 2)  # by pictures, camera 0 would be in nearly every batch of two
    sampler = PKSampler(labels, identities=2, images=2, seed=0, cameras=cameras)
    counts = Counter(camera for step in range(600) for camera in cameras[sampler.batch(step)].tolist())
    assert sum(counts.values()) == 2400
    for camera in range(3):
        assert abs(counts[camera] - 800) < 5 * np.sqrt(2400 * 2 / 9)


def test_cameras_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="one camera for each label"):
        PKSampler(UNBALANCED, identities=2, images=2, seed=0, cameras=np.zeros(3, np.int64))


def grouped(identities_of: dict[int, int], images: int = 3) -> tuple[Indices, Indices]:
    """Labels and groups of `images` pictures of each identity, shuffled."""
    groups = np.repeat(list(identities_of), list(identities_of.values()))
    rows = np.random.default_rng(2).permutation(np.repeat(np.arange(len(groups)), images))
    return rows, groups[rows]


def test_bunches_of_a_batch_are_of_one_group_each() -> None:
    labels, groups = grouped({4: 9, 7: 5, 1: 12})
    sampler = PKSampler(labels, identities=8, images=2, seed=0, groups=groups, together=4)
    for step in range(30):
        batch = sampler.batch(step)
        bunches = groups[batch].reshape(2, 8)
        assert (bunches == bunches[:, :1]).all()
        assert len(set(labels[batch].tolist())) == 8


def test_a_pass_by_groups_takes_every_whole_bunch_once_and_in_time_every_identity() -> None:
    labels, groups = grouped({4: 9, 7: 5, 1: 12})  # 2 + 1 + 3 bunches of 4
    sampler = PKSampler(labels, identities=8, images=2, seed=0, groups=groups, together=4)
    assert sampler.batches_per_pass == 3
    taken = [set(labels[sampler.batch(step)].tolist()) for step in range(60)]
    for first in range(0, 60, 3):
        assert sum(len(batch) for batch in taken[first : first + 3]) == 24
        assert len(set().union(*taken[first : first + 3])) == 24
    assert len(set().union(*taken)) == 26


def test_bunches_of_one_are_a_batch_without_regard_to_groups() -> None:
    labels, groups = grouped({4: 9, 7: 5, 1: 12})
    sampler = PKSampler(labels, identities=8, images=2, seed=0, groups=groups)
    counts = Counter(groups[sampler.batch(step)[0]] for step in range(600))
    assert abs(counts[1] - 600 * 12 / 26) < 5 * np.sqrt(600 * 12 / 26)


def test_groups_too_small_for_a_batch_and_uneven_bunches_are_refused() -> None:
    labels, groups = grouped({4: 3, 7: 5})
    with pytest.raises(DatasetError, match=r"8 identities .* has 4 in bunches of 4 of one group"):
        PKSampler(labels, identities=8, images=2, seed=0, groups=groups, together=4)
    with pytest.raises(OptionError, match="bunches of 3"):
        PKSampler(labels, identities=8, images=2, seed=0, groups=groups, together=3)
    with pytest.raises(ShapeError, match="one group for each label"):
        PKSampler(labels, identities=4, images=2, seed=0, groups=groups[:5], together=2)
