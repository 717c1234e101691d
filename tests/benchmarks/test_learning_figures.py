"""Evaluation by plain loops, beside the project's own metrics on random sets, ties among them."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.learning.agreement import our_retrieval, our_verification
from benchmarks.learning.plain_figures import People, fold_accuracy, retrieval_figures, verification_figures
from models.datasets import ImageSet, Sample
from models.distances import pairwise
from models.evaluation import EvaluationOptions, Subject, measure
from models.metrics import lfw_accuracy

FARS = [1e-1, 1e-2]


def subject(seed: int, *, cameras: bool) -> Subject:
    """Return 60 pictures of 12 identities whose embeddings are near to their identity's centre."""
    generator = np.random.default_rng(seed)
    identities = np.arange(60) % 12
    rows = generator.normal(size=(12, 16))[identities] + 1.2 * generator.normal(size=(60, 16))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    seen = generator.integers(3, size=60)
    samples = tuple(
        Sample(Path(f"{n}.png"), f"{identity:02d}", str(seen[n]) if cameras else "", "val")
        for n, identity in enumerate(identities)
    )
    return Subject(ImageSet("drawn", "val", samples), units.astype(np.float32), "cosine")


def distances_of(one: Subject) -> npt.NDArray[np.float64]:
    return np.asarray(pairwise(one.tensor, one.tensor, "cosine").numpy(), dtype=np.float64)


@pytest.mark.parametrize("cameras", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_retrieval_is_what_the_evaluation_says(seed: int, cameras: bool) -> None:
    one = subject(seed, cameras=cameras)
    samples = one.images.samples
    people = People(
        [sample.identity for sample in samples], [sample.camera for sample in samples] if cameras else None
    )
    ours = our_retrieval(measure(one, EvaluationOptions(draws=2)))
    assert retrieval_figures(distances_of(one), people) == pytest.approx(ours, abs=1e-12)
    assert 0.1 < ours["mAP (hits)"] < 0.95


@pytest.mark.parametrize("seed", range(3))
def test_verification_is_what_the_evaluation_says(seed: int) -> None:
    one = subject(seed, cameras=True)
    found = measure(one, EvaluationOptions(draws=2))
    assert found.roc is not None
    assert found.calibration is not None
    tar = {far: found.calibration.at(far).tar for far in FARS}
    counts = (found.roc.genuine_pairs, found.roc.impostor_pairs)
    ours = our_verification(found.roc.auc, found.roc.eer, tar, counts)
    left, right = np.triu_indices(len(one.labels), 1)
    assert one.cameras is not None
    across = one.cameras[left] != one.cameras[right]
    same = (one.labels[left] == one.labels[right])[across]
    plain = verification_figures(distances_of(one)[left, right][across], same, FARS)
    assert plain == pytest.approx(ours, abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 8])
def test_fold_accuracy_is_that_of_the_protocol(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    same = np.tile([True, False], 40)
    distances = np.round(generator.normal(np.where(same, 0.4, 0.7), 0.2), decimals)
    folds = np.arange(80) // 8
    expected = lfw_accuracy(distances, same, folds)
    found = fold_accuracy(distances, same, folds)
    assert found == pytest.approx(
        {"accuracy": expected.accuracy, "accuracy, standard error": expected.standard_error}, abs=1e-12
    )


def test_figures_of_a_ranking_by_hand() -> None:
    distances = np.array(
        [[0.0, 0.1, 0.2, 0.3], [0.1, 0.0, 0.5, 0.6], [0.2, 0.5, 0.0, 0.4], [0.3, 0.6, 0.4, 0.0]]
    )
    found = retrieval_figures(distances, People(["a", "b", "a", "c"]))
    # a finds the other a second behind b; the other a finds it first; b and c have nothing to find.
    assert found["queries"] == 2
    assert found["rank-1"] == 0.5
    assert found["mAP (hits)"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["mAP (trapezoid)"] == pytest.approx(((0 + 1 / 2) / 2 + 1) / 2)
    assert found["mINP"] == pytest.approx((1 / 2 + 1) / 2)
