"""Bootstrap intervals against a loop that draws identities and gathers their values."""

import itertools

import numpy as np
import pytest
import scipy.stats

from models.errors import InputError, ShapeError
from models.metrics import bootstrap_mean
from models.metrics.intervals import identity_draws, percentiles


def test_each_identity_drawn_brings_all_of_its_values() -> None:
    rng = np.random.default_rng(1)
    identities = rng.integers(5, 12, 80)
    values = rng.random(80)
    people = np.unique(identities)
    means = []
    for weights in np.concatenate(list(identity_draws(len(people), draws=300, seed=9))):
        drawn = [
            values[identities == one]
            for one, times in zip(people, weights, strict=True)
            for _ in range(times)
        ]
        means.append(np.mean(np.concatenate(drawn)))
    found = bootstrap_mean(values, identities, draws=300, level=0.8, seed=9)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])), abs=1e-12)
    assert (found.level, found.draws) == (0.8, 300)


def test_draws_are_seeded_and_each_has_as_many_identities_as_there_are() -> None:
    one, again, other = (
        np.concatenate(list(identity_draws(700, draws=3000, seed=seed))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert one.shape == (3000, 700)  # several blocks
    assert (one.sum(axis=1) == 700).all()
    assert one.mean(axis=0) == pytest.approx(np.ones(700), abs=0.15)


def test_the_width_is_that_of_identities_not_of_values() -> None:
    # 10 identities of 100 equal values: as uncertain as 10 values, 10 times more than 1,000.
    values = np.repeat(np.arange(10.0) / 9, 100)
    identities = np.repeat(np.arange(10), 100)
    grouped = bootstrap_mean(values, identities, draws=4000)
    single = bootstrap_mean(values, np.arange(1000), draws=1000)
    ratio = (grouped.high - grouped.low) / (single.high - single.low)
    assert ratio == pytest.approx(10, rel=0.15)


def test_one_failure_more_never_raises_an_end() -> None:
    whose = np.arange(102)
    found = [bootstrap_mean((whose >= wrong).astype(float), whose) for wrong in range(6)]
    for fewer, more in itertools.pairwise(found):
        assert (more.low, more.high) <= (fewer.low, fewer.high)


@pytest.mark.parametrize("identities", [1, 10, 500])
def test_of_values_that_are_all_1_or_all_0_the_interval_is_the_exact_one(identities: int) -> None:
    whose = np.repeat(np.arange(identities), 3)
    ones, zeros = (bootstrap_mean(np.full(len(whose), value), whose, level=0.9) for value in (1.0, 0.0))
    low = scipy.stats.binomtest(identities, identities).proportion_ci(0.9, "exact").low
    assert (ones.low, ones.high) == pytest.approx((low, 1.0))
    assert (zeros.low, zeros.high) == pytest.approx((0.0, 1 - low))


@pytest.mark.parametrize(
    ("values", "identities", "options", "error", "message"),
    [
        ([], [], {}, ShapeError, "needs values"),
        ([1.0], [1, 2], {}, ShapeError, "one identity for each"),
        ([1.0], [1], {"draws": 0}, InputError, "at least 1 draw"),
        ([1.0], [1], {"level": 1.0}, InputError, "between 0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused(
    values: list[float], identities: list[int], options: dict[str, int], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        bootstrap_mean(np.array(values), np.array(identities, dtype=np.int64), **options)


def test_no_draw_with_both_kinds_is_refused() -> None:
    with pytest.raises(InputError, match="Not one draw"):
        percentiles(np.empty(0), 0.95)
