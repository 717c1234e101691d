"""Verification against scikit-learn's ROC and against plain counting at every threshold."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from models.errors import InputError, NonFiniteError, ShapeError
from models.metrics import given_pairs, lfw_accuracy, pairs_needed, roc, tar_at_far, threshold_at

Distances = npt.NDArray[np.float64]

# Equal zeros of two signs, the least number above, two neighbours, and what hardly fits.
HARD_TO_TELL_APART = [0.0, -0.0, 5e-324, 1.0, float(np.nextafter(1.0, 2.0)), 1e308]


def some_pairs(seed: int, levels: int) -> tuple[Distances, Distances]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, 70) / levels, (rng.integers(0, levels, 200) + levels // 3) / levels


@pytest.mark.parametrize("levels", [3, 10, 1_000_000])
def test_the_curve_and_its_area_are_those_of_scikit_learn(levels: int) -> None:
    genuine, impostor = some_pairs(levels, levels)
    found = roc(given_pairs(genuine, impostor))
    same = np.repeat([1, 0], [len(genuine), len(impostor)])
    score = -np.concatenate([genuine, impostor])
    far, tar, _ = roc_curve(same, score, drop_intermediate=False)
    assert found.auc == pytest.approx(roc_auc_score(same, score), abs=1e-12)
    assert np.trapezoid(found.tar, found.far) == pytest.approx(found.auc, abs=1e-12)
    # Its points are corners of scikit-learn's; between them it is a line.
    assert {*zip(found.far, found.tar, strict=True)} <= {*zip(far, tar, strict=True)}
    np.testing.assert_allclose(np.interp(found.eer, far, tar), 1 - found.eer, atol=1e-12)


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(HARD_TO_TELL_APART), min_size=1, max_size=12),
    st.lists(st.sampled_from(HARD_TO_TELL_APART), min_size=1, max_size=12),
)
def test_rates_are_the_shares_below_each_threshold(genuine: list[float], impostor: list[float]) -> None:
    found = roc(given_pairs(np.array(genuine, dtype=np.float64), np.array(impostor, dtype=np.float64)))
    for threshold, far, tar in zip(found.threshold, found.far, found.tar, strict=True):
        assert far == np.mean([d < threshold for d in impostor])
        assert tar == np.mean([d < threshold for d in genuine])
    assert (found.far[0], found.tar[0], found.far[-1], found.tar[-1]) == (0, 0, 1, 1)
    pairs = [(g < i) + (g == i) / 2 for g in genuine for i in impostor]
    assert found.auc == pytest.approx(np.mean(pairs), abs=1e-12)
    assert np.interp(found.eer, found.far, found.tar) >= 1 - found.eer - 1e-12
    assert 0 <= found.eer <= 1


@pytest.mark.parametrize(
    ("genuine", "impostor", "eer"),
    [
        ([0.0, 1.0], [2.0, 3.0], 0.0),
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([1.0], [1.0], 0.5),
        ([0, 2.0], [1.0, 3], 0.5),
    ],
)
def test_equal_error_rates_worked_out_by_hand(
    genuine: list[float], impostor: list[float], eer: float
) -> None:
    assert roc(given_pairs(np.array(genuine), np.array(impostor))).eer == eer


def test_pairs_of_different_dtypes_are_counted_exactly() -> None:
    # Between 0.1 in float32 and the next number of float32 there are numbers of float64.
    genuine = np.array([0.1], dtype=np.float32)
    low, high = float(genuine[0]), float(np.nextafter(genuine[0], np.float32(1)))
    impostor = np.array([low, (low + high) / 2, 1.0])
    found = roc(given_pairs(genuine, impostor))
    for threshold, far in zip(found.threshold, found.far, strict=True):
        assert far == np.mean([d < threshold for d in impostor])


def test_whole_numbers_are_distances_too() -> None:
    whole = given_pairs(np.array([1, 2, 2]), np.array([2, 3, 5]))
    real = given_pairs(np.array([1.0, 2.0, 2.0]), np.array([2.0, 3.0, 5.0]))
    for name, values in vars(roc(real)).items():
        np.testing.assert_array_equal(getattr(roc(whole), name), values)


@pytest.mark.parametrize("far", [0.005, 0.0099, 0.01, 0.07, 0.1, 0.29, 0.5, 0.999])
@pytest.mark.parametrize("levels", [4, 1_000_000])
def test_the_threshold_is_the_kth_smallest_impostor_distance(far: float, levels: int) -> None:
    genuine, impostor = some_pairs(7, levels)
    point = tar_at_far(given_pairs(genuine, impostor), far)
    k = int(np.floor(far * 200 + 1e-9))
    assert point.threshold == sorted(impostor)[k]
    assert point.measured_far == np.mean([d < point.threshold for d in impostor]) <= far + 1e-12
    assert point.tar == np.mean([d < point.threshold for d in genuine])
    assert (point.genuine_pairs, point.impostor_pairs) == (70, 200)


def test_a_rate_is_met_exactly_where_it_is_a_whole_number_of_pairs() -> None:
    impostor = np.arange(100.0)
    for hundredths in range(1, 100):  # 0.29 * 100 is just below 29 in floating point
        assert threshold_at(impostor, hundredths / 100) == hundredths


@pytest.mark.parametrize(("far", "needed"), [(1e-3, "1,000"), (0.00499, "201"), (1e-6, "1,000,000")])
def test_a_rate_below_one_pair_is_refused_with_the_number_it_needs(far: float, needed: str) -> None:
    with pytest.raises(InputError, match=rf"at least {needed} impostor pairs; there are 200"):
        tar_at_far(given_pairs(*some_pairs(1, 10)), far)


@pytest.mark.parametrize("far", [0.0, 1.0, -0.1, 2.0, np.nan])
def test_a_rate_is_between_nothing_and_everything(far: float) -> None:
    with pytest.raises(InputError, match="is above 0 and below 1"):
        tar_at_far(given_pairs(*some_pairs(1, 10)), far)


def test_the_pairs_needed_are_the_least_that_suffice() -> None:
    for n in range(1, 2000):
        assert pairs_needed(1 / n) == n
    assert [pairs_needed(10.0**-e) for e in range(1, 10)] == [10**e for e in range(1, 10)]
    assert pairs_needed(5e-324) > 10**200


def test_the_largest_rate_stays_among_the_distances() -> None:
    assert threshold_at(np.array([1.0, 2.0]), 1 - 1e-12) == 2.0


def test_more_of_the_smallest_distances_are_asked_for_where_they_are_needed() -> None:
    with pytest.raises(InputError, match=r"needs the 11 smallest distances, and 5 were kept"):
        threshold_at(np.arange(5.0), 0.1, total=100)


@pytest.mark.parametrize(
    ("genuine", "impostor", "error"),
    [([], [1.0], ShapeError), ([1.0], [], ShapeError), ([1.0, np.inf], [1.0], NonFiniteError)],
)
def test_pairs_of_both_kinds_are_needed(
    genuine: list[float], impostor: list[float], error: type[InputError]
) -> None:
    with pytest.raises(error, match=r"genuine|impostor"):
        given_pairs(np.array(genuine), np.array(impostor))


@pytest.mark.parametrize("levels", [3, 40, 1_000_000])
def test_each_fold_is_judged_by_what_is_best_on_the_others(levels: int) -> None:
    rng = np.random.default_rng(levels)
    same = rng.random(120) < 0.5
    distances = (rng.integers(0, levels, 120) + np.where(same, 0, levels // 2)) / levels
    folds = rng.permutation(np.repeat(np.arange(10), 12))
    accuracies, thresholds = [], []
    for fold in range(10):
        best, chosen = -1.0, 0.0
        for threshold in [*sorted(distances[folds != fold].tolist()), np.inf]:
            accuracy = np.mean(
                [(d < threshold) == s for d, s, f in zip(distances, same, folds, strict=True) if f != fold]
            )
            if accuracy > best + 1e-12:
                best, chosen = accuracy, threshold
        thresholds.append(chosen)
        accuracies.append(
            np.mean([(d < chosen) == s for d, s, f in zip(distances, same, folds, strict=True) if f == fold])
        )
    found = lfw_accuracy(distances, same, folds)
    assert found.accuracies == pytest.approx(accuracies, abs=1e-12)
    assert found.thresholds == tuple(thresholds)
    assert found.accuracy == pytest.approx(np.mean(accuracies))
    assert found.standard_error == pytest.approx(np.std(accuracies, ddof=1) / 10**0.5)
    assert found.pairs == 120


def test_where_all_pairs_are_the_same_everything_is_accepted() -> None:
    found = lfw_accuracy(np.array([1.0, 2.0, 9.0]), np.ones(3, dtype=bool), np.array([1, 1, 2]))
    assert found.thresholds == (np.inf, np.inf)
    assert found.accuracy == 1.0


@pytest.mark.parametrize(
    ("distances", "folds", "error", "message"),
    [
        ([1.0, 2.0], [0, 0], ShapeError, "two folds or more"),
        ([1.0], [0, 1], ShapeError, "of one length"),
        ([1.0, np.nan], [0, 1], NonFiniteError, "pair 1"),
    ],
)
def test_folds_that_cannot_be_validated_are_refused(
    distances: list[float], folds: list[int], error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        lfw_accuracy(np.array(distances), np.ones(2, dtype=bool), np.array(folds))
