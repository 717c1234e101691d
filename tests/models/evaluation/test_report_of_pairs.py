"""The report of LFW's protocol shows the pairs that a file gives, beside all pairs of its pictures."""

import numpy as np
import pytest

from models.datasets import ImageSet, Pairs, Sample
from models.evaluation import Evaluation, EvaluationOptions, measure
from models.reports import report_html
from models.reports.examples import extreme_given_pairs, given_histograms
from models.runtime import Encoder
from tests.models.datasets.fakes import picture
from tests.models.evaluation.pages import Page
from tests.models.evaluation.small import subject_of


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Ten people with three pictures each, and some of their pairs, which a file of LFW's would give."""
    folder = tmp_path_factory.mktemp("faces")
    samples = tuple(
        Sample(picture(folder / f"{number:02d}.png", number), f"p{number // 3}", "", "pairs")
        for number in range(30)
    )
    images = ImageSet("faces", "pairs", samples, "lfw")
    left = np.array([0, 3, 6, 9, 12, 15, 18, 21, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    right = np.array([1, 4, 7, 10, 13, 16, 19, 22, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18])
    pairs = Pairs(images, left, right, left // 3 == right // 3, np.arange(20) % 4)
    subject = subject_of(images, noise=1.5)
    chance = measure(subject_of(images, noise=9.0), EvaluationOptions(draws=5, pairs=pairs))
    return measure(subject, EvaluationOptions(draws=5, pairs=pairs), baseline=chance)


def test_given_pairs_have_their_own_curve_and_distances(encoder: Encoder, given: Evaluation) -> None:
    page = Page(report_html(encoder, given, pictures=False))
    labels = [str(plot["aria-label"]) for plot in page.all("svg")]
    assert [label.split(":")[0] for label in labels] == [
        "ROC of the given pairs",
        "Distances of the given pairs, genuine and impostor",
        "ROC of all pairs",
        "CMC",
        "Distances of all pairs, genuine and impostor",
    ]
    assert "8 genuine pairs" in page.text  # of the file; of all pictures there are 30
    assert "12 impostor pairs" in page.text
    assert "30 genuine pairs" in page.text
    assert page.text.count("random weights") >= 2 + 2  # in both curves, and in the tables
    parts = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(parts) == len(set(parts))


def test_the_histograms_of_given_pairs_count_these_pairs_alone(given: Evaluation) -> None:
    assert given.pairs is not None
    pairs, rows = given.pairs.pairs, given.subject.embeddings.astype(np.float64)
    distances = np.linalg.norm(rows[pairs.left] - rows[pairs.right], axis=1)
    genuine, impostor = given_histograms(given.pairs)
    np.testing.assert_array_equal(genuine.edges, impostor.edges)
    for found, side in ((genuine, distances[pairs.same]), (impostor, distances[~pairs.same])):
        assert found.total == len(side)
        assert found.mean == pytest.approx(side.mean(), rel=1e-5)
        np.testing.assert_allclose(np.histogram(side, found.edges)[0], found.counts, atol=1)


def test_the_worst_given_pairs_are_shown(encoder: Encoder, given: Evaluation) -> None:
    test = given.pairs
    assert test is not None
    rows = given.subject.embeddings.astype(np.float64)
    listed = sorted(
        (float(np.linalg.norm(rows[i] - rows[j])), bool(same), int(i), int(j))
        for i, j, same in zip(test.pairs.left, test.pairs.right, test.pairs.same, strict=True)
    )
    near, far = extreme_given_pairs(test, 3)
    expected_near = [(i, j) for _, same, i, j in listed if not same][:3]
    expected_far = [(i, j) for _, same, i, j in listed[::-1] if same][:3]
    assert [(pair.first, pair.second) for pair in near] == expected_near
    assert [(pair.first, pair.second) for pair in far] == expected_far
    assert [pair.distance for pair in near] == pytest.approx(
        [d for d, same, *_ in listed if not same][:3], rel=1e-5
    )
    page = Page(report_html(encoder, given))
    assert "Worst given pairs" in page.text
    assert "Worst pairs of all pictures" in page.text
