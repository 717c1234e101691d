"""Distances over HTTP, against scikit-learn and NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances
from starlette.testclient import TestClient

from tests.service.api.wires import SAFETENSORS, assert_problem, data_uri, pack, unpack

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 7)).astype(np.float32), RNG.normal(size=(4, 7)).astype(np.float32)


@pytest.mark.parametrize(
    ("metric", "oracle", "options"),
    [
        ("euclidean", "euclidean", {}),
        ("squared_euclidean", "sqeuclidean", {}),
        ("cosine", "cosine", {}),
        ("manhattan", "manhattan", {}),
        ("chebyshev", "chebyshev", {}),
        ("minkowski", "minkowski", {"p": 3}),
    ],
)
def test_metrics_equal_scikit_learn_over_json_and_safetensors(
    stateless: TestClient, metric: str, oracle: str, options: dict[str, float]
) -> None:
    expected = pairwise_distances(X.astype(float), Y.astype(float), metric=oracle, **options)
    request = {"metric": metric, **options}
    answer = stateless.post("/v1/distances", json={"x": X.tolist(), "y": Y.tolist(), **request}).json()
    assert answer["metric"] == metric
    assert answer["shape"] == [5, 4]
    np.testing.assert_allclose(answer["distances"], expected, rtol=1e-5)
    body, tensors = unpack(stateless.post("/v1/distances", **pack(request, x=X, y=Y)))
    assert body == {"metric": metric, "shape": [5, 4]}
    np.testing.assert_allclose(tensors["distances"], expected, rtol=1e-5)


def test_without_y_x_is_compared_with_itself_and_the_diagonal_is_zero(stateless: TestClient) -> None:
    distances = np.array(stateless.post("/v1/distances", json={"x": X.tolist()}).json()["distances"])
    np.testing.assert_array_equal(np.diag(distances), 0)
    np.testing.assert_allclose(distances, pairwise_distances(X.astype(float)), rtol=1e-5, atol=1e-6)


def test_paired_reduced_and_matrix_answers_have_their_shapes(stateless: TestClient) -> None:
    def ask(**options: Any) -> dict[str, Any]:
        body: dict[str, Any] = stateless.post(
            "/v1/distances", json={"x": X[:4].tolist(), "y": Y.tolist(), **options}
        ).json()
        return body

    rows = np.linalg.norm(X[:4].astype(float) - Y, axis=1)
    np.testing.assert_allclose(ask(paired=True)["distances"], rows, rtol=1e-5)
    assert ask(paired=True)["shape"] == [4]
    assert ask(reduction="mean")["distances"] == pytest.approx(
        pairwise_distances(X[:4].astype(float), Y.astype(float)).mean(), rel=1e-5
    )
    difference = X[:4].astype(float) - Y
    assert ask(metric="frobenius")["distances"] == pytest.approx(np.linalg.norm(difference), rel=1e-5)
    assert ask(metric="nuclear")["distances"] == pytest.approx(np.linalg.norm(difference, "nuc"), rel=1e-5)
    assert ask(metric="nuclear")["shape"] == []


def test_p_alone_means_the_p_norm(stateless: TestClient) -> None:
    answer = stateless.post("/v1/distances", json={"x": [[0, 0]], "y": [[3, 4]], "p": 1})
    assert answer.json()["distances"] == [[7.0]]
    assert answer.json()["metric"] == "minkowski"


def test_float64_tensors_stay_float64(stateless: TestClient) -> None:
    x = RNG.normal(size=(3, 4))
    _, tensors = unpack(stateless.post("/v1/distances", **pack({}, x=x)))
    assert tensors["distances"].dtype == np.float64
    np.testing.assert_allclose(tensors["distances"], pairwise_distances(x), atol=1e-14)


def test_pictures_and_vectors_mix(stateless: TestClient, picture: Callable[..., bytes]) -> None:
    image = data_uri(picture(0))
    embedding = stateless.post("/v1/embeddings", json={"input": image}).json()["data"][0]["embedding"]
    answer = stateless.post("/v1/distances", json={"x": [image, embedding], "y": [embedding]}).json()
    np.testing.assert_allclose(answer["distances"], [[0], [0]], atol=1e-6)
    files = {"x": picture(0), "y": picture(0)}
    assert stateless.post("/v1/distances", files=files).json()["distances"] == [[0.0]]


def test_a_million_distances_come_back_as_a_tensor(stateless: TestClient) -> None:
    x = RNG.normal(size=(1000, 8)).astype(np.float32)
    _, tensors = unpack(stateless.post("/v1/distances", **pack({}, x=x)))
    assert tensors["distances"].shape == (1000, 1000)
    np.testing.assert_allclose(tensors["distances"][3], np.linalg.norm(x - x[3], axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("request_body", "slug", "pointer", "word"),
    [
        ({"x": [[1, 2], [1]]}, "dimension-mismatch", "/x/1", "same dimension"),
        ({"x": [[1, 2]], "y": [[1, 2, 3]]}, "dimension-mismatch", "/y", "3"),
        ({"x": []}, "dimension-mismatch", "/x", "at least one"),
        ({"x": [[]]}, "invalid-fields", "/x/0", "neither a vector"),
        ({"x": [[1, None]]}, "invalid-fields", "/x/0", "neither a vector"),
        ({"x": [[True, False]]}, "invalid-fields", "/x/0", "neither a vector"),
        ({"x": [[1e300, 0]]}, "not-finite", "/x/0", "float64"),
        ({"x": [[1, 2]], "metric": "euclid"}, "invalid-fields", "/metric", "'euclidean'"),
        ({"x": [[1, 2]], "p": 3, "metric": "cosine"}, "invalid-option", "/p", "minkowski"),
        ({"x": [[0, 0]], "metric": "cosine"}, "outside-domain", "/x/0", "zero"),
        ({"x": [[0.5, 0.6]], "metric": "kl_divergence"}, "outside-domain", "/x/0", "1"),
        ({"x": [[1, 2]], "paired": True}, "invalid-option", "/y", "Give y"),
        ({"x": ["aGVsbG8gd29ybGQ="]}, "unsupported-image", "/x/0", "text"),
    ],
)
def test_bad_inputs_point_at_the_fault(
    stateless: TestClient, request_body: dict[str, Any], slug: str, pointer: str, word: str
) -> None:
    problem = assert_problem(stateless.post("/v1/distances", json=request_body), 422, slug, word)
    assert problem["errors"][0]["pointer"] == pointer


def test_nan_in_json_is_refused_by_its_row(stateless: TestClient) -> None:
    headers = {"content-type": "application/json"}
    answer = stateless.post("/v1/distances", content=b'{"x": [[1, 2], [NaN, 1]]}', headers=headers)
    problem = assert_problem(answer, 422, "not-finite", "NaN")
    assert problem["errors"][0]["pointer"] == "/x/1"


def test_work_beyond_the_limit_is_refused_before_it_starts(stateless: TestClient) -> None:
    x = np.zeros((20_000, 1), dtype=np.float32)
    answer = stateless.post("/v1/distances", **pack({}, x=x))
    assert_problem(answer, 413, "too-large", "MiB", "rows of x fit")
    assert answer.headers["content-type"] != SAFETENSORS
