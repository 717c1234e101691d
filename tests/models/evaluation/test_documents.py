"""An evaluation in words and in JSON: stable keys, numbers with counts, and warnings that are deserved."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.datasets import Pairs, Role, read_csv
from models.drawing import draw_dataset
from models.errors import DatasetError, OptionError
from models.evaluation import (
    Evaluation,
    EvaluationOptions,
    Subject,
    as_json,
    conventions_of,
    document,
    evaluate,
    figures_of,
    measure,
    untrained,
    warnings_of,
)
from models.evaluation.face_pairs import measure_pairs
from models.runtime import Encoder
from tests.models import encoders
from tests.models.evaluation.small import set_of, subject_of

TWO_CAMERAS = set_of([f"p{number}" for number in range(60)] * 2, ["1"] * 60 + ["2"] * 60)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("drawn"), identities=8, views=2).parent


def good(noise: float = 0.5, *, rerank: bool = False) -> Evaluation:
    return measure(subject_of(TWO_CAMERAS, noise=noise), EvaluationOptions(draws=20, rerank=rerank))


def test_the_document_has_its_keys_and_is_the_same_again(encoder: Encoder) -> None:
    text = as_json(encoder, good(rerank=True))
    assert text == as_json(encoder, good(rerank=True))
    found = json.loads(text)
    assert list(found) == [
        *("format", "encoder", "data", "protocol", "conventions", "draws", "seed", "retrieval"),
        *("metric_learning", "verification", "calibration", "open_set", "pairs", "few_shot", "reranking"),
        *("spread", "baseline", "warnings", "not_measured", "versions"),
    ]
    assert found["format"] == "lookalike-evaluation/1"
    assert found["encoder"]["fingerprint"] == encoder.manifest.fingerprint
    assert found["data"]["cameras"] == 2
    direction = found["retrieval"]["1 -> 2"]
    low, high = direction["rank_1_interval"]
    assert low <= direction["rank_1"] <= high
    assert (direction["queries"], direction["identities"], direction["positives"]) == (60, 60, 60)
    assert set(found["reranking"]["1 -> 2"]) == {"plain", "reranked"}
    assert found["verification"]["tar_at_far"]["0.001"]["measured_far"] <= 0.001
    assert (
        found["open_set"]["dir_at_fpir"]["0.1"]["dir_1"] <= found["open_set"]["dir_at_fpir"]["0.1"]["dir_5"]
    )


def test_the_conventions_are_those_of_the_set() -> None:
    names = [f"p{number}" for number in range(10)]
    alike = conventions_of(measure(subject_of(set_of(names * 2)), EvaluationOptions(draws=5)))
    assert alike["pairs"] == "All pairs of two pictures, each once."
    assert alike["open set"].endswith("the probes are all other pictures.")
    roles: list[Role] = ["query" if number < 8 else "gallery" for number in range(20)]
    asked = set_of(names * 2, ["1"] * 10 + ["2"] * 10, roles)
    found = conventions_of(measure(subject_of(asked), EvaluationOptions(draws=5)))
    assert "of two cameras, each once; identities without a query form none." in found["pairs"]
    assert "the probes are the queries, but for those of the enrolled picture's" in found["open set"]


def test_a_threshold_that_accepts_every_pair_is_null(encoder: Encoder) -> None:
    # Collapsed, and three pairs of one person for each of two: nothing is better than to accept them all.
    images = set_of(["a", "a", "b"])
    same = np.arange(48) % 4 > 0
    pairs = Pairs(images, np.zeros(48, dtype=np.int64), np.where(same, 1, 2), same, np.arange(48) // 16)
    subject = Subject(images, np.ones((3, 2), dtype=np.float32), "euclidean")
    evaluation = replace(good(), pairs=measure_pairs(subject, pairs))
    assert json.loads(as_json(encoder, evaluation))["pairs"]["thresholds"] == [None] * 3


def test_every_figure_is_the_documents(encoder: Encoder) -> None:
    evaluation = good(1.0)
    facts = document(encoder, evaluation)
    found = {(figure.group, figure.name): figure.value for figure in figures_of(evaluation)}
    assert found["retrieval, 1 -> 2", "rank-1"] == f"{facts['retrieval']['1 -> 2']['rank_1']:.3f}"
    assert found["verification", "EER"] == f"{facts['verification']['eer']:.3f}"
    tar = facts["verification"]["tar_at_far"]["0.01"]["tar"]
    assert found["verification", "TAR@FAR 0.01"] == f"{tar:.3f}"
    assert found["spread", "mean cosine, two"] == f"{facts['spread']['cosine_different']:.3f}"


def test_a_share_below_one_is_not_rounded_to_it() -> None:
    images = set_of(["a"] * 40 + ["b"] * 40)
    rows = np.zeros((80, 2), dtype=np.float32)
    rows[:40, 0], rows[40:, 0] = np.linspace(0, 1, 40), np.linspace(1.9, 3, 40)
    evaluation = measure(Subject(images, rows + 1, "euclidean"), EvaluationOptions(draws=5))
    assert evaluation.roc is not None
    assert 0.9995 <= evaluation.roc.auc < 1
    (auc,) = (figure.value for figure in figures_of(evaluation) if figure.name == "AUC")
    assert float(auc) < 1


def test_the_record_keeps_its_retrieval_key_and_says_its_counts() -> None:
    record = good().record()
    assert record["retrieval"]["1 -> 2"]["queries"] == 60
    assert record["verification"]["genuine_pairs"] == 60
    assert record["verification"]["impostor_pairs"] == 60 * 59
    assert set(record["verification"]["tar_at_far"]) == {"0.1", "0.01", "0.001"}
    json.dumps(record, allow_nan=False)


def test_a_baseline_stands_beside_each_figure(encoder: Encoder, drawn: Path) -> None:
    state = torch.random.get_rng_state()
    images = read_csv(drawn, "train")
    evaluation = evaluate(encoder, images, EvaluationOptions(draws=5, baseline=True, seed=7))
    assert torch.equal(torch.random.get_rng_state(), state)
    other = evaluate(untrained(encoder, 7), images, EvaluationOptions(draws=5, seed=7))
    assert evaluation.baseline is not None
    assert evaluation.baseline.record() == other.record()
    assert all(figure.chance for figure in figures_of(evaluation))
    assert document(encoder, evaluation)["baseline"]["retrieval"].keys() == {"1 -> 2", "2 -> 1"}


def test_a_graph_has_no_baseline(tmp_path: Path, drawn: Path) -> None:
    graph = encoders.save(tmp_path / "graph", "onnxruntime")
    with pytest.raises(OptionError, match="is an ONNX graph"):
        evaluate(graph, read_csv(drawn, "train"), EvaluationOptions(baseline=True))


def test_a_picture_that_is_gone_is_named(encoder: Encoder) -> None:
    with pytest.raises(DatasetError, match=r"000\.jpg"):
        evaluate(encoder, TWO_CAMERAS)


@pytest.mark.parametrize(("name", "value"), [("draws", 0), ("threads", 0), ("seed", -1)])
def test_options_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(OptionError, match=name):
        EvaluationOptions(**{name: value})  # type: ignore[arg-type]  # int for each of these


def test_warnings_are_given_where_they_are_deserved() -> None:
    small = subject_of(set_of(["a", "a", "b", "b"]))
    few = " ".join(warnings_of(measure(small, EvaluationOptions(draws=5))))
    assert "4 impostor pairs" in few
    assert "2 identities" in few
    subject = subject_of(TWO_CAMERAS, noise=0.05)
    collapsed = Subject(subject.images, subject.embeddings + 100, "euclidean")
    text = " ".join(warnings_of(measure(collapsed, EvaluationOptions(draws=5))))
    assert "hardly apart" in text
    assert "rank-1 is 1.000" in text
    assert not any("hardly apart" in sentence or "rank-1" in sentence for sentence in warnings_of(good(1.0)))
