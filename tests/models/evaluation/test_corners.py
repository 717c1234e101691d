"""Sets and protocols that hardly fit each other give right figures, or one sentence that says what to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.datasets import HELD_OUT, ImageSet, Pairs, Role, read_dataset
from models.errors import InputError
from models.evaluation import (
    PROTOCOLS,
    EvaluationOptions,
    Subject,
    as_json,
    characters,
    evaluate,
    figures_of,
    measure,
    warnings_of,
)
from models.evaluation.warnings import was_trained_on
from models.metrics import metric_learning
from models.reports import report_html
from models.reports.examples import pair_histograms
from models.runtime import Encoder
from tests.models.datasets.fakes import market, veri
from tests.models.evaluation.small import set_of, subject_of

TEN = [f"p{number}" for number in range(10)]
BOTH: list[Role] = ["query" if number < 10 else "gallery" for number in range(20)]
TWO_CAMERAS = ["1"] * 10 + ["2"] * 10
WITHOUT_CAMERAS = [protocol for protocol in PROTOCOLS if protocol != "re-identification"]


@pytest.fixture(autouse=True)
def _few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classify in 20 episodes instead of a thousand: here they must be possible, and not precise."""
    monkeypatch.setattr(characters, "_EPISODES", 20)


def options(protocol: str, **further: object) -> EvaluationOptions:
    return EvaluationOptions(protocol=protocol, draws=5, **further)  # type: ignore[arg-type]


NOTHING_TO_FIND = {
    "all of nobody": (set_of(["-1"] * 4), PROTOCOLS, "of nobody.*Give them identities"),
    "all of nobody, by roles": (
        set_of(["-1"] * 4, None, ["query", "query", "gallery", "gallery"]),
        PROTOCOLS,
        "of nobody",
    ),
    "one picture": (set_of(["a"]), PROTOCOLS, "No identity of fake/val has a second picture"),
    "one picture each": (set_of([*TEN, "-1", "-1"]), PROTOCOLS, "second picture.*Measure a split"),
    "one picture each, two cameras": (set_of(TEN, ["1", "2"] * 5), PROTOCOLS, "second picture"),
    "one camera": (
        set_of(TEN * 2, ["north"] * 20),
        ["re-identification"],
        "own camera do not count.*--protocol metric-learning",
    ),
    "each in one camera": (
        set_of(TEN * 2, ["1", "2"] * 10),
        ["re-identification"],
        "no other camera shows its identity",
    ),
    "queries alone": (
        set_of(TEN * 2, None, ["query"] * 20),
        ["re-identification"],
        "20 queries and 0 pictures in the gallery; it needs both",
    ),
    "a gallery alone": (
        set_of(TEN * 2, None, ["gallery"] * 20),
        ["re-identification"],
        "0 queries and 20 pictures",
    ),
    "a gallery of others": (
        set_of([*TEN, *(f"other {name}" for name in TEN)], None, BOTH),
        ["re-identification"],
        "No query of fake/val is of an identity that the gallery shows",
    ),
    "queries of nobody": (
        set_of(["-1"] * 10 + TEN, None, BOTH),
        ["re-identification"],
        "an identity that the gallery shows",
    ),
}


@pytest.mark.parametrize(
    ("images", "protocol", "words"),
    [
        pytest.param(images, protocol, words, id=f"{name}-{protocol}")
        for name, (images, protocols, words) in NOTHING_TO_FIND.items()
        for protocol in protocols
    ],
)
def test_where_nothing_can_be_found_the_reason_is_said_before_a_picture_is_read(
    encoder: Encoder, images: ImageSet, protocol: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):  # and no DatasetError of the pictures, which are nowhere
        evaluate(encoder, images, options(protocol, rerank=True))
    with pytest.raises(InputError, match=words):
        measure(subject_of(images), options(protocol))


@pytest.mark.parametrize("protocol", WITHOUT_CAMERAS)
@pytest.mark.parametrize("cameras", [TWO_CAMERAS, ["1", "2", "3", "1"] * 5, ["1"] * 20])
def test_protocols_that_do_not_look_at_cameras_measure_the_set_as_if_it_had_none(
    protocol: str, cameras: list[str]
) -> None:
    subject = subject_of(set_of(TEN * 2, cameras), noise=1.2)
    without = replace(subject, images=set_of(TEN * 2))
    one, other = (measure(each, options(protocol, rerank=True)) for each in (subject, without))
    assert one.record() == other.record()
    assert figures_of(one) == figures_of(other)
    assert one.images == 20


def test_a_query_that_is_in_the_gallery_too_is_one_picture_by_every_protocol(tmp_path: Path) -> None:
    images = read_dataset(veri(tmp_path), "test")
    other = replace(images.samples[2], identity="0007", path=Path("0007_c003_00030680_0.jpg"))
    images = replace(images, samples=(*images.samples, other))
    assert [sample.role for sample in images.samples] == ["query", "gallery", "gallery", "gallery"]
    rows = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float32)
    for protocol in PROTOCOLS:
        evaluation = measure(Subject(images, rows, "euclidean"), options(protocol))
        (found,) = evaluation.closed_sets
        # One pair of the vehicle, at right angles, and none of the query with itself.
        assert evaluation.cosine_same == pytest.approx(0.0, abs=1e-6)
        if protocol not in {"re-identification", "vehicleid"}:
            assert (found.mean.queries, found.mean.gallery, found.mean.positives) == (2, 3, 2)


def test_pairs_with_a_query_that_is_in_the_gallery_too_are_counted_once(tmp_path: Path) -> None:
    images = read_dataset(veri(tmp_path), "test")
    copied = [*images.samples, *(replace(sample, identity="0007") for sample in images.samples)]
    subject = subject_of(replace(images, samples=tuple(copied)), noise=1.0)
    evaluation = measure(subject, options("re-identification"))
    assert evaluation.roc is not None
    # A vehicle is once in each of two cameras: one genuine pair each, and two impostor pairs across cameras.
    assert (evaluation.roc.genuine_pairs, evaluation.roc.impostor_pairs) == (2, 2)
    genuine, impostor = pair_histograms(evaluation.subject)
    assert (genuine.total, impostor.total) == (2, 2)


def test_where_every_picture_queries_all_others_distractors_are_nobody(tmp_path: Path) -> None:
    images = read_dataset(market(tmp_path), "test")
    subject = subject_of(images, noise=1.0)
    evaluation = measure(subject, options("metric-learning"))
    assert evaluation.identities == 2  # without 0000, who are many
    labels = np.array(["0001 0003".find(sample.identity) for sample in images.samples])
    assert evaluation.metric_learning == metric_learning(subject.embeddings, labels)
    assert evaluation.directions["all"].queries == 4


def test_roles_without_cameras_are_kept_by_re_identification() -> None:
    evaluation = measure(subject_of(set_of(TEN * 2, None, BOTH)), options("re-identification"))
    assert evaluation.directions["query -> gallery"].gallery == 10


@pytest.mark.parametrize("form", ["csv", "lfw"])
def test_lfws_protocol_without_pairs_says_where_pairs_come_from(form: str) -> None:
    evaluation = measure(subject_of(set_of(TEN * 2, form=form)), options("lfw"))
    assert evaluation.pairs is None
    words = {"csv": "Give the path of such a file", "lfw": "--split all takes pairs.txt"}[form]
    assert words in evaluation.not_measured["pairs"]
    assert "pairs" not in measure(subject_of(set_of(TEN * 2)), options("auto")).not_measured


def test_trials_within_alphabets_are_of_characters_alone() -> None:
    names = [f"{number}" for number in range(24)]
    images = set_of(names * 3, form="sop")
    samples = tuple(replace(sample, group="bicycles") for sample in images.samples)
    evaluation = measure(subject_of(replace(images, samples=samples)), options("omniglot"))
    assert list(evaluation.few_shot) == ["episodes_5_way", "episodes_20_way"]
    assert "alphabet" in evaluation.not_measured["within_alphabet_20_way"]


@pytest.mark.parametrize(
    ("cameras", "warned"), [(["1"] * 9 + [""] + ["2"] * 10, True), (TWO_CAMERAS, False), (None, False)]
)
def test_a_camera_that_is_missing_somewhere_is_warned_of(cameras: list[str] | None, warned: bool) -> None:
    for protocol in ("auto", "re-identification"):
        text = " ".join(warnings_of(measure(subject_of(set_of(TEN * 2, cameras)), options(protocol))))
        assert ("1 of 20 pictures have no camera. So none counts" in text) == warned


def pairs_of(images: ImageSet, genuine: int, impostor: int, folds: int = 1) -> Pairs:
    """Return some of all pairs of a set."""
    labels = images.labels()
    left, right = np.triu_indices(len(images), 1)
    same = labels[left] == labels[right]
    rows = np.concatenate([np.flatnonzero(same)[:genuine], np.flatnonzero(~same)[:impostor]])
    return Pairs(images, left[rows], right[rows], same[rows], np.arange(len(rows)) % folds)


@pytest.mark.parametrize(("impostor", "folds"), [(2, 1), (9, 1), (5, 4)])
def test_few_given_pairs_have_an_accuracy_and_a_curve_without_thresholds(
    encoder: Encoder, impostor: int, folds: int
) -> None:
    images = set_of(TEN * 2, form="lfw")
    given = pairs_of(images, 5, impostor, folds)
    evaluation = measure(subject_of(images, noise=1.0), options("auto", pairs=given))
    test = evaluation.pairs
    assert test is not None
    assert test.operating is None
    assert (test.curve.genuine_pairs, test.curve.impostor_pairs) == (5, impostor)
    assert test.folds.pairs == 5 + impostor
    assert b'"accuracy"' in as_json(encoder, evaluation)


def test_the_fewest_given_pairs_have_a_report(encoder: Encoder) -> None:
    images = set_of(TEN * 2, form="lfw")
    evaluation = measure(subject_of(images, noise=1.0), options("auto", pairs=pairs_of(images, 5, 2)))
    assert "Distances of the given pairs" in report_html(encoder, evaluation, pictures=False)


@pytest.mark.parametrize(("genuine", "impostor", "folds"), [(1, 1, 1), (5, 0, 2), (0, 5, 2), (5, 1, 1)])
def test_given_pairs_that_cannot_be_judged_are_said(genuine: int, impostor: int, folds: int) -> None:
    images = set_of(TEN * 2, form="lfw")
    given = pairs_of(images, genuine, impostor, folds)
    evaluation = measure(subject_of(images), options("auto", pairs=given))
    assert evaluation.pairs is None
    words = f"Pairs of one person: {genuine}, of two: {impostor}. These are too few"
    assert words in evaluation.not_measured["pairs"]


def test_given_pairs_are_judged_under_every_protocol() -> None:
    images = set_of(TEN * 2, form="lfw")
    subject = subject_of(images, noise=1.0)
    given = pairs_of(images, 10, 30)
    accuracies = set()
    for protocol in PROTOCOLS:
        test = measure(subject, options(protocol, pairs=given)).pairs
        assert test is not None
        accuracies.add(test.folds.accuracy)
    assert len(accuracies) == 1


def test_an_embedding_without_a_direction_leaves_the_other_figures() -> None:
    images = set_of(TEN * 2)
    rows = subject_of(images).embeddings
    rows[3] = 0
    evaluation = measure(Subject(images, rows, "euclidean"), options("auto"))
    assert (evaluation.cosine_same, evaluation.cosine_different) == (None, None)
    assert "no direction" in evaluation.not_measured["spread"]
    assert evaluation.roc is not None


SMALL = {
    "one identity": set_of(["a"] * 4),
    "two pictures": set_of(["a", "a"]),
    "one identity and nobody": set_of(["a", "a", "-1", "-1"], ["1", "2", "1", "2"]),
    "one pair among others": set_of([*TEN, "p0"]),
    "two identities": set_of(["a", "a", "b"]),
    "a camera of nobody": set_of([*TEN, *TEN, "-1"], ["1"] * 5 + ["2"] * 15 + ["3"]),
    "some cameras empty": set_of(TEN * 2, [*TWO_CAMERAS[:-1], ""]),
    "roles": set_of([*TEN[:9], "-1", *TEN], TWO_CAMERAS, BOTH),
    "few characters": set_of(TEN * 2, form="omniglot"),
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_small_has_figures_a_document_and_a_report(encoder: Encoder, name: str) -> None:
    subject = subject_of(SMALL[name], noise=1.0)
    other = replace(subject, embeddings=subject.embeddings[::-1].copy())
    for protocol in PROTOCOLS:
        baseline = measure(other, options(protocol))
        evaluation = measure(subject, options(protocol, rerank=True), baseline=baseline)
        assert figures_of(evaluation)
        assert as_json(encoder, evaluation)
    page = report_html(encoder, evaluation, pictures=False)  # of one protocol, as drawing takes a while
    for reason in evaluation.not_measured.values():
        assert reason in page


@pytest.mark.parametrize(
    ("form", "split", "learned", "seen"),
    [
        ("csv", "val", "val", True),
        ("csv", "val", "train", False),
        ("csv", "all", "train", False),  # a table may call a split so
        ("folders", "all", "train", True),
        ("folders", "val", "all", True),
        ("folders", HELD_OUT, "all", False),
    ],
)
def test_an_encoder_that_has_seen_the_pictures_is_told_by_names(
    form: str, split: str, learned: str, seen: bool
) -> None:
    images = set_of(TEN * 2, form=form)
    images = images.subset(range(len(images)), split=split)
    training = {"dataset": images.name, "config": {"train_split": learned}}
    assert was_trained_on(training, images) == seen
    assert not was_trained_on(training | {"dataset": "another"}, images)
    assert was_trained_on(training | {"config": None}, images) == ((form, split) == ("folders", "all"))
    assert not was_trained_on(None, images)
    found = replace(measure(subject_of(images), options("metric-learning")), trained_on=seen)
    assert ("was trained on these pictures" in " ".join(warnings_of(found))) == seen
