"""Calibration: its figures against plain counting, its record against what was written."""

import json
import math
from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest
import torch

from models.calibration import Calibration, Origin, calibrate, implied_fpir
from models.distances import Metric, pairwise
from models.errors import InputError
from models.metrics import PairDistances, given_pairs, pair_distances

ORIGIN = Origin("euclidean", "drawn", "val")


def some_set() -> tuple[
    np.ndarray[tuple[int, int], np.dtype[np.float32]], np.ndarray[tuple[int], np.dtype[np.int64]]
]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(20), 4)
    embeddings = rng.standard_normal((20, 6))[labels] + 0.5 * rng.standard_normal((80, 6))
    return embeddings.astype(np.float32), labels


def pairs_of_a_set() -> PairDistances:
    return pair_distances(*some_set())


def test_rates_are_those_counted_over_all_pairs_and_pictures() -> None:
    embeddings, labels = some_set()
    distances = pairwise(torch.from_numpy(embeddings)).numpy()
    upper, same = np.triu(np.ones((80, 80), dtype=bool), k=1), labels[:, None] == labels
    genuine, impostor = distances[upper & same], np.sort(distances[upper & ~same])

    found = calibrate(pairs_of_a_set(), ORIGIN, draws=50)
    assert [threshold.far for threshold in found.thresholds] == [1e-1, 1e-2, 1e-3]  # of 3,040 pairs
    assert (found.genuine_pairs, found.impostor_pairs, found.identities) == (120, 3040, 20)
    assert (found.probes, found.gallery) == (80, 76)
    for threshold in found.thresholds:
        t = threshold.threshold
        assert t == impostor[int(threshold.far * 3040)]
        assert threshold.measured_far == (impostor < t).mean()
        assert threshold.tar == (genuine < t).mean()
        alarms = [(row[labels != label] < t).any() for row, label in zip(distances, labels, strict=True)]
        assert threshold.measured_fpir == np.mean(alarms)
        assert threshold.implied_fpir == pytest.approx(1 - (1 - threshold.far) ** 76)
        assert threshold.interval is not None
        assert threshold.interval.low <= t <= threshold.interval.high
        assert threshold.tar_interval is not None
        assert threshold.tar_interval.low <= threshold.tar <= threshold.tar_interval.high


def test_distances_without_a_set_have_no_intervals_and_no_probes() -> None:
    found = calibrate(given_pairs(np.array([0.1, 0.4]), np.arange(10.0)), ORIGIN)
    (threshold,) = found.thresholds
    assert (threshold.far, threshold.threshold, threshold.tar) == (0.1, 1.0, 1.0)
    assert threshold.interval is threshold.tar_interval is None
    assert threshold.implied_fpir is threshold.measured_fpir is found.identities is None
    assert (found.probes, found.gallery) == (0, 0)
    assert Calibration.from_record(found.record()) == found


def test_wanted_rates_come_in_falling_order_once_each() -> None:
    found = calibrate(pairs_of_a_set(), ORIGIN, fars=[0.01, 0.2, 0.01], draws=10)
    assert [threshold.far for threshold in found.thresholds] == [0.2, 0.01]
    assert found.at(1e-2) is found.thresholds[1]
    with pytest.raises(InputError, match=r"rate of 0\.001; it is calibrated for 0\.2, 0\.01"):
        found.at(1e-3)


def test_rates_whose_distances_were_not_kept_are_left_out() -> None:
    pairs = pair_distances(*some_set(), keep=400)
    found = calibrate(pairs, ORIGIN, draws=200)
    assert found.thresholds == calibrate(pairs_of_a_set(), ORIGIN, draws=200).thresholds[1:]


def test_a_threshold_stays_where_its_interval_cannot_be_had() -> None:
    # The closest impostor pairs are all of identity 0, which many a draw lacks; few others are kept.
    labels = np.repeat(np.arange(10), 5)
    centres = np.where(np.arange(10)[:, None] > 0, 10 * np.eye(10), 0)
    embeddings = centres[labels] + 0.1 * np.random.default_rng(0).standard_normal((50, 10))
    whole = calibrate(pair_distances(embeddings, labels), ORIGIN, draws=100).at(0.1)
    kept = calibrate(pair_distances(embeddings, labels, keep=9 * 25 + 5), ORIGIN, draws=100).at(0.1)
    assert whole.interval is not None
    assert kept.interval is kept.tar_interval is None
    assert (kept.threshold, kept.tar) == (whole.threshold, whole.tar)


def test_no_rate_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="at least one rate"):
        calibrate(pairs_of_a_set(), ORIGIN, fars=[])


def test_a_rate_that_needs_more_pairs_is_refused() -> None:
    with pytest.raises(InputError, match="at least 10,000 impostor pairs; there are 3,040"):
        calibrate(pairs_of_a_set(), ORIGIN, fars=[1e-4])
    with pytest.raises(InputError, match="at least 10 impostor pairs; there are 5"):
        calibrate(given_pairs(np.zeros(3), np.ones(5)), ORIGIN)


def test_a_record_is_plain_json_and_is_read_back_unchanged() -> None:
    found = calibrate(pairs_of_a_set(), Origin(Metric("minkowski", 3.0), "drawn", "val"), draws=20)
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert (record["metric"], record["p"]) == ("minkowski", 3.0)
    assert {"far", "threshold", "interval", "tar"} <= record["thresholds"][0].keys()
    assert record["thresholds"][0]["interval"].keys() == {"low", "high", "level", "draws"}
    assert Calibration.from_record(record) == found


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["dataset"], 3),
        (["metric"], "euclid"),
        (["p"], 3.0),
        (["genuine_pairs"], 0),
        (["genuine_pairs"], 1.5),
        (["impostor_pairs"], "3040"),
        (["probes"], -1),
        (["unknown"], 1),
        (["thresholds"], []),
        (["thresholds"], {}),
        (["thresholds", 0, "far"], 1.0),
        (["thresholds", 0, "far"], True),
        (["thresholds", 0, "threshold"], math.nan),
        (["thresholds", 0, "threshold"], None),
        (["thresholds", 0, "tar"], 1.1),
        (["thresholds", 0, "interval", "low"], "0"),
        (["thresholds", 0, "interval", "unknown"], 1),
        (["thresholds", 0, "unknown"], 1),
        (["dataset"], object()),
    ],
)
def test_what_is_no_record_is_refused(keys: list[str | int], value: object) -> None:
    record = json.loads(json.dumps(calibrate(pairs_of_a_set(), ORIGIN, draws=5).record()))
    place: Any = record
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(InputError, match="no calibration record"):
        Calibration.from_record(record)


@pytest.mark.parametrize("key", ["metric", "thresholds", "identities"])
def test_a_record_without_one_of_its_keys_is_refused(key: str) -> None:
    record = calibrate(pairs_of_a_set(), ORIGIN, draws=5).record()
    del record[key]
    with pytest.raises(InputError, match=key):
        Calibration.from_record(record)


@pytest.mark.parametrize(("far", "gallery"), [(1e-12, 10**6), (1e-4, 10_000), (0.5, 3), (0.1, 0), (0.0, 9)])
def test_the_implied_rate_keeps_its_digits(far: float, gallery: int) -> None:
    getcontext().prec = 60
    assert implied_fpir(far, gallery) == pytest.approx(float(1 - (1 - Decimal(far)) ** gallery), rel=1e-14)


def test_where_everything_is_accepted_so_is_every_probe_of_some_gallery() -> None:
    assert (implied_fpir(1.0, 3), implied_fpir(1.0, 0)) == (1.0, 0.0)


@pytest.mark.parametrize(("far", "gallery"), [(-0.1, 1), (1.1, 1), (0.1, -1)])
def test_impossible_rates_and_galleries_are_refused(far: float, gallery: int) -> None:
    with pytest.raises(InputError, match="A FAR is from 0 to 1"):
        implied_fpir(far, gallery)
