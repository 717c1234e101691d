"""Each protocol takes the right queries and gallery, and its figures are those of the metrics by hand."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from models.datasets import ImageSet, Role, Sample
from models.errors import DatasetError, OptionError
from models.evaluation import EvaluationOptions, Subject, choose_protocol, measure, read_subject
from models.evaluation.closed_set import closed_sets, reranked
from models.evaluation.open_world import enrol
from models.metrics import metric_learning, retrieval
from models.reranking import rerank
from tests.models.datasets.fakes import folders, market, vehicleid
from tests.models.evaluation.small import set_of, subject_of

FAST = EvaluationOptions(draws=20)
TEN = [f"p{number}" for number in range(10)]


def distances_of(subject: Subject) -> np.ndarray:
    rows = subject.embeddings.astype(np.float64)
    answer: np.ndarray = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    return answer


@pytest.mark.parametrize(
    ("form", "cameras", "expected"),
    [
        ("vehicleid", None, "vehicleid"),
        ("lfw", None, "lfw"),
        ("omniglot", None, "omniglot"),
        ("sop", None, "metric-learning"),
        ("folders", None, "metric-learning"),
        ("csv", ["1", "2"], "re-identification"),
    ],
)
def test_a_set_has_a_protocol_of_its_own(form: str, cameras: list[str] | None, expected: str) -> None:
    images = set_of(["a", "a"], cameras, form=form)
    assert choose_protocol(images) == expected
    assert choose_protocol(images, "lfw") == "lfw"
    with pytest.raises(OptionError, match="must be auto or one of re-identification, vehicleid"):
        choose_protocol(images, "cmc")


def test_queries_and_gallery_are_those_that_the_set_names() -> None:
    roles: list[Role] = ["query" if number < 5 else "gallery" for number in range(20)]
    images = set_of(TEN[:5] + TEN[:5] * 3, ["1"] * 5 + ["1"] * 5 + ["2"] * 5 + ["3"] * 5, roles)
    subject = subject_of(images, noise=1.5)
    (closed,) = closed_sets(subject, "re-identification", draws=20)
    labels, cameras, all_distances = subject.labels, subject.shots, distances_of(subject)
    expected = retrieval(all_distances[:5, 5:], (labels[:5], labels[5:]), (cameras[:5], cameras[5:]))
    assert closed.name == "query -> gallery"
    assert closed.mean.rank == expected.rank
    assert closed.mean.mean_average_precision == pytest.approx(expected.mean_average_precision)
    assert closed.rank_1.low <= closed.mean.rank[1] <= closed.rank_1.high
    assert (closed.mean.gallery, closed.mean.positives) == (15, 10)  # one of three is of the query's camera


def test_distractors_are_in_the_gallery_and_in_no_pair(tmp_path: Path) -> None:
    images, _ = read_subject(market(tmp_path), "test")
    subject = subject_of(images, noise=0.01)
    evaluation = measure(subject, FAST)
    assert evaluation.directions["query -> gallery"].gallery == 4
    assert evaluation.roc is not None
    assert (evaluation.roc.genuine_pairs, evaluation.roc.impostor_pairs) == (2, 3)  # 0001 and 0003 alone
    assert "needs at least 10 impostor pairs" in evaluation.not_measured["thresholds"]


def test_vehicleid_is_the_mean_of_ten_galleries_of_one_picture(tmp_path: Path) -> None:
    images, _ = read_subject(vehicleid(tmp_path), "test_1600")
    subject = subject_of(images, noise=1.5)
    (closed,) = closed_sets(subject, "vehicleid", draws=20)
    assert len(closed.results) == len(closed.searches) == 10
    for search in closed.searches:
        assert sorted(subject.labels[search.gallery].tolist()) == [0, 1]
        assert sorted([*search.queries.tolist(), *search.gallery.tolist()]) == list(range(4))
    assert closed.mean.rank[1] == pytest.approx(np.mean([result.rank[1] for result in closed.results]))
    assert len({tuple(search.gallery.tolist()) for search in closed.searches}) > 1
    again = closed_sets(subject, "vehicleid", draws=20)[0]
    assert [s.gallery.tolist() for s in again.searches] == [s.gallery.tolist() for s in closed.searches]


def test_without_cameras_metric_learning_is_measured_too() -> None:
    subject = subject_of(set_of([*TEN, *TEN, "alone"], form="sop"), noise=1.0)
    evaluation = measure(subject, FAST)
    assert evaluation.protocol == "metric-learning"
    expected = metric_learning(subject.embeddings, subject.labels)
    assert evaluation.metric_learning == expected
    assert evaluation.directions["all"].rank[1] == pytest.approx(expected.recall[1])
    assert expected.skipped == 1


def test_verification_pairs_are_those_of_two_cameras() -> None:
    images = set_of(TEN * 3, ["1"] * 10 + ["2"] * 10 + ["3"] * 10)
    subject = subject_of(images, noise=1.0)
    evaluation = measure(subject, FAST)
    distances, labels, cameras = distances_of(subject), subject.labels, subject.shots
    genuine: list[float] = []
    impostor: list[float] = []
    for i, j in combinations(range(30), 2):
        if cameras[i] != cameras[j]:
            (genuine if labels[i] == labels[j] else impostor).append(float(distances[i, j]))
    assert evaluation.roc is not None
    assert evaluation.calibration is not None
    assert (evaluation.roc.genuine_pairs, evaluation.roc.impostor_pairs) == (len(genuine), len(impostor))
    wins = np.mean([g < np.array(impostor) for g in genuine])
    assert evaluation.roc.auc == pytest.approx(wins, abs=1e-6)
    point = evaluation.calibration.at(0.1)
    threshold = sorted(impostor)[int(0.1 * len(impostor))]
    assert point.threshold == pytest.approx(threshold, rel=1e-5)
    assert point.tar == pytest.approx(np.mean(np.array(genuine) < threshold))


@pytest.mark.parametrize("cameras", [None, ["1"] * 10 + ["2"] * 10 + ["1"] * 10])
def test_half_are_enrolled_by_one_picture_that_is_no_probe(cameras: list[str] | None) -> None:
    subject = subject_of(set_of(TEN * 3, cameras))
    search = enrol(subject)
    enrolled = subject.labels[search.gallery]
    assert len(enrolled) == len(set(enrolled.tolist())) == 5
    camera_of = dict(zip(enrolled.tolist(), subject.shots[search.gallery].tolist(), strict=True))
    assert not set(search.queries.tolist()) & set(search.gallery.tolist())
    for query in search.queries.tolist():
        assert camera_of.get(int(subject.labels[query])) != subject.shots[query]
    non_mated = [query for query in search.queries if subject.labels[query] not in enrolled]
    assert len(non_mated) == 15
    assert enrol(subject).gallery.tolist() == search.gallery.tolist()
    assert any(enrol(subject, seed).gallery.tolist() != search.gallery.tolist() for seed in (1, 2, 3))


def test_what_a_set_does_not_allow_is_said() -> None:
    subject = subject_of(set_of(["only"] * 3))
    evaluation = measure(subject, FAST)
    assert (evaluation.roc, evaluation.calibration, evaluation.open_set) == (None, None, None)
    assert "pictures of two identities" in evaluation.not_measured["verification"]
    assert "non-mated" in evaluation.not_measured["open_set"]


def test_pictures_of_nobody_count_nowhere() -> None:
    with_nobody = subject_of(set_of([*TEN, *TEN, "-1", "-1"]))
    without = Subject(set_of([*TEN, *TEN]), with_nobody.embeddings[:20], "euclidean")
    one, two = measure(with_nobody, FAST), measure(without, FAST)
    assert one.directions["all"].rank == two.directions["all"].rank
    assert one.cosine_same == pytest.approx(two.cosine_same)
    assert one.cosine_different == pytest.approx(two.cosine_different)
    assert one.roc is not None
    assert two.roc is not None
    assert one.roc.auc == two.roc.auc
    assert one.directions["all"].skipped == 2


def test_re_ranking_stands_beside_the_same_search_without_it() -> None:
    subject = subject_of(set_of(TEN * 4, ["1"] * 20 + ["2"] * 20), noise=1.2)
    closed = closed_sets(subject, "re-identification", draws=5)
    found = reranked(subject, closed)
    assert list(found) == ["1 -> 2", "2 -> 1"]
    assert found["1 -> 2"].plain.rank == closed[0].mean.rank
    labels, shots, rows = subject.labels, subject.shots, subject.tensor
    again = rerank(rows[:20], rows[20:]).numpy()
    expected = retrieval(again, (labels[:20], labels[20:]), (shots[:20], shots[20:]))
    assert found["1 -> 2"].reranked.mean_average_precision == expected.mean_average_precision


def test_where_all_query_all_queries_are_drawn_for_re_ranking() -> None:
    subject = subject_of(set_of(TEN * 4, ["1", "2", "3", "4"] * 10), noise=1.2)
    closed = closed_sets(subject, "re-identification", draws=5)
    (found,) = reranked(subject, closed).values()
    kinds = len(set(zip(subject.labels.tolist(), subject.shots.tolist(), strict=True)))
    assert found.plain.queries + found.plain.skipped == kinds
    assert found.plain.gallery == 40 - kinds


def faces(root: Path, blocks: str = "4 5") -> Path:
    """Four folds of five pairs of one person and five of two."""
    people = [f"Person_{letter}" for letter in "ABCDEFGHIJ"]
    folders(root, *(f"lfw/{name}/{name}_{k:04d}.jpg" for name in people for k in range(1, 5)))
    folds = []
    for fold in range(4):
        chosen = people[fold : fold + 5]
        folds += [f"{name}\t1\t{2 + fold % 3}" for name in chosen]
        folds += [f"{name}\t1\t{people[people.index(name) + 1]}\t{1 + fold}" for name in chosen]
    (root / "pairs.txt").write_text("\n".join([blocks, *folds]) + "\n")
    return root


def test_lfw_is_judged_fold_by_fold(tmp_path: Path) -> None:
    images, pairs = read_subject(faces(tmp_path), "all")
    assert pairs is not None
    subject = subject_of(images, noise=1.2)
    test = measure(subject, EvaluationOptions(draws=5, pairs=pairs)).pairs
    assert test is not None
    rows = subject.embeddings.astype(np.float64)
    d = np.linalg.norm(rows[pairs.left] - rows[pairs.right], axis=1)
    accuracies = []
    for fold in range(4):
        rest = pairs.folds != fold
        best = max(
            [*sorted(set(d[rest])), np.inf],
            key=lambda t: ((d[rest] < t) == pairs.same[rest]).mean(),
        )
        accuracies.append(((d < best) == pairs.same)[pairs.folds == fold].mean())
    assert test.folds.accuracies == pytest.approx(accuracies)
    assert not test.folds_drawn
    best_of_all = max(((d < t) == pairs.same).mean() for t in [*d, np.inf])
    assert test.best_accuracy == pytest.approx(best_of_all)
    assert (test.curve.genuine_pairs, test.curve.impostor_pairs) == (20, 20)


def test_a_file_of_one_block_is_judged_in_drawn_folds(tmp_path: Path) -> None:
    root = faces(tmp_path)
    lines = (root / "pairs.txt").read_text().splitlines()[1:]
    same = [line for line in lines if len(line.split()) == 3]
    two = [line for line in lines if len(line.split()) == 4]
    (root / "pairsDevTrain.txt").write_text("\n".join(["20", *same, *two]))
    images, pairs = read_subject(root, "train", form="lfw")
    assert pairs is not None
    test = measure(subject_of(images, noise=1.2), EvaluationOptions(draws=5, pairs=pairs)).pairs
    assert test is not None
    assert test.folds_drawn
    assert len(test.folds.accuracies) == 10
    assert test.best_accuracy >= test.folds.accuracy
    assert read_subject(root / "pairsDevTrain.txt", "")[1] is not None


def test_lfw_without_pairs_is_its_people(tmp_path: Path) -> None:
    root = faces(tmp_path)
    (root / "peopleDevTest.txt").write_text("1\nPerson_A\t4\n")
    images, pairs = read_subject(root, "test")
    assert (len(images), pairs) == (4, None)
    with pytest.raises(DatasetError, match=r"There is no .*nowhere"):
        read_subject(root / "nowhere", "test")


def test_omniglot_has_trials_within_alphabets_and_episodes() -> None:
    samples = tuple(
        Sample(
            Path(f"{alphabet}{number:02d}_{drawer:02d}.png"),
            f"{alphabet}/c{number:02d}",
            "",
            "test",
            group=alphabet,
        )
        for alphabet in ("Greek", "Latin")
        for number in range(21)
        for drawer in range(1, 4)
    )
    subject = subject_of(ImageSet("omniglot", "test", samples, "omniglot"), noise=0.01)
    found = measure(subject, FAST).few_shot
    assert list(found) == ["within_alphabet_20_way", "episodes_5_way", "episodes_20_way"]
    assert all(result.accuracy == 1 for result in found.values())
    within = found["within_alphabet_20_way"]
    assert (within.ways, within.shots, within.trials, within.queries) == (20, 1, 40, 800)
    assert found["episodes_5_way"].queries == 5000
    few = Subject(subject.images.subset(range(12), split="few"), subject.embeddings[:12], "euclidean")
    evaluation = measure(few, FAST)
    assert evaluation.few_shot == {}
    assert {*found} <= {*evaluation.not_measured}


def test_without_alphabets_there_are_no_trials_within_them() -> None:
    samples = tuple(
        Sample(Path(f"{number:02d}_{drawer:02d}.png"), f"c{number:02d}", "", "test")
        for number in range(21)
        for drawer in range(1, 4)
    )
    subject = subject_of(ImageSet("characters", "test", samples, "omniglot"))
    evaluation = measure(subject, FAST)
    assert list(evaluation.few_shot) == ["episodes_5_way", "episodes_20_way"]
    assert "only the form omniglot says" in evaluation.not_measured["within_alphabet_20_way"]
