"""The report is one page that parses, holds the figures, and lets no name of the data become markup."""

import base64
import json
import re
import sys
from io import BytesIO
from itertools import combinations
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from models.datasets import ImageSet, Sample
from models.errors import DatasetError
from models.evaluation import Evaluation, EvaluationOptions, Subject, figures_of, measure
from models.evaluation.closed_set import closed_sets
from models.reports import evaluation_files, report_html
from models.reports.examples import (
    extreme_pairs,
    pair_histograms,
    random_rows,
    wrong_rows,
)
from models.reports.thumbnails import thumbnail
from models.runtime import Encoder
from tests.models.datasets.fakes import picture
from tests.models.evaluation.pages import Page
from tests.models.evaluation.small import set_of, subject_of

HOSTILE = "<script>alert('x')</script>&\"o'"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Twelve identities in two cameras, one of them with a name that is markup."""
    folder = tmp_path_factory.mktemp("pictures")
    names = [HOSTILE, *(f"p{number}" for number in range(11))]
    samples = tuple(
        Sample(picture(folder / f"{number}&{camera[0]}.png", number), name, camera, "val")
        for camera in ("1<i>", "2 & $\\oops$")
        for number, name in enumerate(names)
    )
    images = ImageSet("set <b>", "val", samples, "csv")
    return measure(subject_of(images, noise=1.5), EvaluationOptions(draws=20))


@pytest.fixture(scope="module")
def text(encoder: Encoder, evaluation: Evaluation) -> str:
    """Return the whole page, made once: its plots take a second to draw."""
    return report_html(encoder, evaluation)


def test_the_page_holds_every_figure_and_nothing_from_elsewhere(
    encoder: Encoder, evaluation: Evaluation, text: str
) -> None:
    page = Page(text)
    for figure in figures_of(evaluation):
        assert figure.name in page.text
        assert figure.value in page.text
    assert encoder.manifest.fingerprint in page.text
    assert page.all("script") == page.all("link") == []
    for image in page.all("img"):
        assert str(image["src"]).startswith("data:image/jpeg;base64,")
        assert image["alt"]
    addresses = re.findall(r'(?:href|src|action)="([^"]*)"|url\(([^)]*)\)', text)
    assert all((one or other).startswith(("#", "data:")) for one, other in addresses)
    assert len(page.all("svg")) == 3
    assert "given pairs" not in page.text
    assert all(plot["aria-label"] for plot in page.all("svg"))
    parts = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(parts) == len(set(parts))


def test_names_of_the_data_stay_words(text: str) -> None:
    page = Page(text)
    assert HOSTILE in page.text
    assert any(HOSTILE in str(image["alt"]) for image in page.all("img"))
    assert "set <b>" in page.text
    assert "1<i> -> 2 & $\\oops$" in page.text
    assert page.all("i") == []
    assert ("b", {}) in page.tags  # of our own
    assert not any("script" in tag for tag, _ in page.tags)


def test_without_pictures_no_file_and_no_identity_is_in_it(
    encoder: Encoder, evaluation: Evaluation, text: str
) -> None:
    page = Page(report_html(encoder, evaluation, pictures=False))
    assert page.all("img") == []
    assert "holds no picture of the set" in page.text
    assert "alert('x')" not in page.text
    assert ".png" not in page.text
    assert "holds pictures of the set" in Page(text).text


def test_the_page_does_not_change_from_time_to_time(
    encoder: Encoder, evaluation: Evaluation, text: str
) -> None:
    assert report_html(encoder, evaluation) == text


def test_random_weights_stand_beside(encoder: Encoder, evaluation: Evaluation) -> None:
    chance = measure(subject_of(evaluation.subject.images, noise=9.0), EvaluationOptions(draws=20))
    both = measure(evaluation.subject, EvaluationOptions(draws=20), baseline=chance)
    page = Page(report_html(encoder, both, pictures=False))
    assert "random weights" in page.text
    assert f"random weights: {figures_of(chance)[0].value}" in page.text


def test_what_could_not_be_measured_leaves_no_empty_part(encoder: Encoder) -> None:
    one = measure(subject_of(set_of(["one"] * 3)), EvaluationOptions(draws=5))
    page = Page(report_html(encoder, one, pictures=False))
    assert "Not measured: verification" in page.text
    assert len(page.all("svg")) == 1


def test_a_bundle_gets_both_files(encoder: Encoder, evaluation: Evaluation) -> None:
    files = evaluation_files(encoder, evaluation, pictures=False)
    assert list(files) == ["evaluation.json", "report.html"]
    assert json.loads(files["evaluation.json"])["format"] == "lookalike-evaluation/1"
    Page(files["report.html"].decode())


def test_without_matplotlib_the_figures_are_there_and_the_log_says_how_to_get_it(
    encoder: Encoder, evaluation: Evaluation, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.dict(sys.modules, {"matplotlib": None}):
        files = evaluation_files(encoder, evaluation, pictures=True)
    assert list(files) == ["evaluation.json"]
    assert "pip install '.[plot]'" in caplog.text


def test_the_worst_queries_are_those_whose_right_match_is_last(evaluation: Evaluation) -> None:
    subject, closed = evaluation.subject, evaluation.closed_sets[0]
    rows, total = wrong_rows(subject, closed, 3)
    labels, embeddings = subject.labels, subject.embeddings.astype(np.float64)
    ranks = {}
    for query in range(12):
        order = 12 + np.argsort(np.linalg.norm(embeddings[query] - embeddings[12:], axis=1), kind="stable")
        ranks[query] = (1 + int(np.argmax(labels[order] == labels[query])), int(order[0]))
    assert total == sum(rank > 1 for rank, _ in ranks.values()) > 3
    assert [row.matches[1].rank for row in rows] == sorted((rank for rank, _ in ranks.values()))[::-1][:3]
    for row in rows:
        wrong, right = row.matches
        assert (right.rank, wrong.sample) == ranks[row.query]
        assert (wrong.right, right.right, wrong.rank) == (False, True, 1)
        assert labels[right.sample] == labels[row.query] != labels[wrong.sample]


def test_random_queries_show_their_ranking_without_junk() -> None:
    subject = subject_of(
        set_of(["a", "b", "c", "a", "b", "c", "-1"] * 2, ["1", "2", "3", "1"] * 3 + ["2", "3"])
    )
    (closed,) = closed_sets(subject, "re-identification", draws=2)
    rows = random_rows(subject, closed, 20)
    assert len(rows) == closed.mean.queries
    for row in rows:
        assert [match.rank for match in row.matches] == list(range(1, len(row.matches) + 1))
        assert sorted(match.distance for match in row.matches) == [match.distance for match in row.matches]
        for match in row.matches:
            same = subject.labels[match.sample] == subject.labels[row.query]
            assert match.right == same
            assert subject.labels[match.sample] != -1
            assert not (same and subject.shots[match.sample] == subject.shots[row.query])


@pytest.mark.parametrize("cameras", [None, ["1", "2", "3"] * 12])
def test_extreme_pairs_are_those_of_a_loop(cameras: list[str] | None) -> None:
    subject = subject_of(set_of([f"p{number % 9}" for number in range(36)], cameras), noise=1.0)
    near, far = extreme_pairs(subject, 4)
    rows = subject.embeddings.astype(np.float64)
    least: dict[tuple[int, ...], float] = {}
    most: dict[int, float] = {}
    histogram = {True: 0, False: 0}
    for i, j in combinations(range(36), 2):
        if subject.shots[i] == subject.shots[j]:
            continue
        d, one, two = float(np.linalg.norm(rows[i] - rows[j])), int(subject.labels[i]), int(subject.labels[j])
        histogram[one == two] += 1
        if one == two:
            most[one] = max(most.get(one, 0.0), d)
        else:
            key = (min(one, two), max(one, two))
            least[key] = min(least.get(key, np.inf), d)
    assert [pair.distance for pair in near] == pytest.approx(sorted(least.values())[:4], rel=1e-5)
    assert [pair.distance for pair in far] == pytest.approx(sorted(most.values())[::-1][:4], rel=1e-5)
    genuine, impostor = pair_histograms(subject)
    assert (genuine.total, impostor.total) == (histogram[True], histogram[False])


def test_a_thumbnail_is_small_and_keeps_its_proportions(tmp_path: Path) -> None:
    head, _, data = thumbnail(picture(tmp_path / "wide.png", size=(400, 100))).partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(BytesIO(base64.b64decode(data))) as small:
        assert small.size == (112, 28)
    with pytest.raises(DatasetError, match=r"gone\.png cannot be shown"):
        thumbnail(tmp_path / "gone.png")


def test_draws_of_the_gallery_are_shown_by_their_first() -> None:
    subject = Subject(set_of(["a", "a", "b", "b"]), np.eye(4, dtype=np.float32), "euclidean")
    (closed,) = closed_sets(subject, "vehicleid", draws=2)
    for row in random_rows(subject, closed, 4):
        assert row.query in closed.searches[0].queries
        assert {match.sample for match in row.matches} == set(closed.searches[0].gallery.tolist())
