"""Work that does not fit is refused before it starts, with what would fit; and that much does."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.api.wires import assert_problem, pack

LIMIT = 200 * 2**20
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tight(bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server whose requests may take 200 MiB."""
    data_dir = tmp_path_factory.mktemp("tight") / "data"
    settings = Settings(data_dir=data_dir, encoder=str(bundle), threads=1, max_work_bytes=LIMIT)
    with TestClient(create_app(settings)) as client:
        yield client


def rows(count: int, dimension: int = 32) -> np.ndarray[Any, Any]:
    return RNG.normal(size=(count, dimension)).astype(np.float32)


def most(detail: str, words: str) -> int:
    """Return the number that the sentence gives."""
    found = re.search(rf"[Uu]p to ([\d,]+) {words}", detail)
    assert found, detail
    return int(found[1].replace(",", ""))


def test_as_many_rows_of_y_fit_as_the_refusal_says_and_not_one_more(tight: TestClient) -> None:
    x, y = rows(300), rows(40_000)

    def ask(count: int) -> Any:
        return tight.post("/v1/distances", **pack({}, x=x, y=y[:count]))

    problem = assert_problem(ask(len(y)), 413, "too-large", "may take 200", "LOOKALIKE_MAX_WORK_BYTES")
    count = most(problem["detail"], "rows of y fit with these 300 of x")
    assert 1000 < count < len(y)
    assert ask(count).status_code == 200
    assert_problem(ask(count + 1), 413, "too-large")


def test_the_longer_side_is_the_one_to_shorten(tight: TestClient) -> None:
    refused = tight.post("/v1/distances", **pack({}, x=rows(40_000), y=rows(300)))
    assert_problem(refused, 413, "too-large", "rows of x fit with these 300 of y")


def test_safetensors_are_advised_where_more_of_them_fit(tight: TestClient) -> None:
    body = pack({}, x=rows(3900))
    in_json = tight.post("/v1/distances", content=body["content"], headers=_answered_in_json(body))
    problem = assert_problem(in_json, 413, "too-large", "Accept: application/x-safetensors", "all do")
    assert 1000 < most(problem["detail"], "rows of x fit") < 3900
    assert tight.post("/v1/distances", **body).status_code == 200


def _answered_in_json(body: dict[str, Any]) -> dict[str, str]:
    return {**body["headers"], "accept": "application/json"}


def test_a_mean_needs_no_text_for_its_distances(tight: TestClient) -> None:
    body = pack({"reduction": "mean"}, x=rows(3200))
    answer = tight.post("/v1/distances", content=body["content"], headers=_answered_in_json(body))
    assert answer.status_code == 200


def test_paired_rows_and_given_triplets_are_counted_together(tight: TestClient) -> None:
    wide = rows(6000, 1000)
    paired = tight.post("/v1/distances", **pack({"paired": True}, x=wide, y=wide))
    assert_problem(paired, 413, "too-large", "rows of x and of y fit")
    triplets = dict.fromkeys(("anchor", "positive", "negative"), wide[:4000])
    refused = tight.post("/v1/losses/triplet", **pack({"gradients": True}, **triplets))
    problem = assert_problem(refused, 413, "too-large", "triplets fit")
    count = most(problem["detail"], "triplets fit")
    fewer = {name: side[:count] for name, side in triplets.items()}
    assert tight.post("/v1/losses/triplet", **pack({"gradients": True}, **fewer)).status_code == 200


def test_positive_pairs_decide_about_semi_hard(tight: TestClient) -> None:
    embeddings = rows(2000, 2)
    few = pack({"mining": "semi_hard"}, embeddings=embeddings, labels=np.arange(2000) // 4)
    assert tight.post("/v1/losses/batch", **few).status_code == 200
    many = pack({"mining": "semi_hard"}, embeddings=embeddings, labels=np.arange(2000) // 1000)
    refused = assert_problem(tight.post("/v1/losses/batch", **many), 413, "too-large", "embeddings fit")
    count = most(refused["detail"], "embeddings fit, labelled in the same shares")
    labels = np.arange(count) * 2 // count
    fewer = pack({"mining": "semi_hard"}, embeddings=embeddings[:count], labels=labels)
    assert tight.post("/v1/losses/batch", **fewer).status_code == 200


def test_labels_as_a_list_are_counted_as_those_of_a_tensor(tight: TestClient) -> None:
    embeddings = rows(2000, 2)
    request = {"mining": "semi_hard", "labels": [["a", "b"][row // 1000] for row in range(2000)]}
    assert_problem(tight.post("/v1/losses/batch", **pack(request, embeddings=embeddings)), 413, "too-large")


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
def test_labels_of_another_number_are_that_and_not_too_much(tight: TestClient, mining: str) -> None:
    labels = np.zeros(20_000, dtype=np.int64)
    refused = tight.post("/v1/losses/batch", **pack({"mining": mining}, embeddings=rows(4, 2), labels=labels))
    assert_problem(refused, 422, "dimension-mismatch", "4 rows, 20000 labels")


def test_sides_of_different_lengths_are_that_and_not_too_much(tight: TestClient) -> None:
    sides = {"anchor": rows(15_000, 1000), "positive": rows(1, 1000), "negative": rows(1, 1000)}
    refused = tight.post("/v1/losses/triplet", **pack({}, **sides))
    assert_problem(refused, 422, "dimension-mismatch", "positive has 1 rows where anchor has 15000")


def test_one_side_in_float64_is_counted_for_all(tight: TestClient) -> None:
    anchor = rows(2500, 1000)
    fitting = dict.fromkeys(("anchor", "positive", "negative"), anchor)
    assert tight.post("/v1/losses/triplet", **pack({}, **fitting)).status_code == 200
    refused = tight.post(
        "/v1/losses/triplet", **pack({}, **{**fitting, "positive": anchor.astype(np.float64)})
    )
    assert_problem(refused, 413, "too-large", "triplets fit")
