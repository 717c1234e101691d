"""`--json` prints what REST answers to the same input, field by field and number by number."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.service.cli.commands import answer, refusal

RNG = np.random.default_rng(0)
ROWS = {name: RNG.normal(size=(12, 5)).astype(np.float32) for name in ("anchor", "positive", "negative")}
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 1, 0]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go where the rows and labels are in files."""
    monkeypatch.chdir(tmp_path)
    for name, rows in ROWS.items():
        np.save(f"{name}.npy", rows)
    np.save("labels.npy", LABELS)


def options_of(fields: dict[str, Any]) -> list[str]:
    """Return the fields of a request as the options of a command."""
    options: list[str] = []
    for name, value in fields.items():
        options.append(f"--{name.replace('_', '-')}")
        options += [] if value is True else [str(value)]
    return options


ALONE: list[dict[str, Any]] = [
    {},
    {"metric": "cosine"},
    {"metric": "minkowski", "p": 3.0},
    {"p": 1.0, "normalize": True},
    {"reduction": "mean"},
]
TOGETHER: list[dict[str, Any]] = [
    *ALONE,
    {"paired": True, "reduction": "sum"},
    {"metric": "frobenius"},
    {"metric": "nuclear"},
]


@pytest.mark.parametrize(
    ("fields", "with_y"), [*((fields, False) for fields in ALONE), *((fields, True) for fields in TOGETHER)]
)
def test_distances(stateless: TestClient, fields: dict[str, Any], with_y: bool) -> None:
    given = {"x": ROWS["anchor"].tolist(), **({"y": ROWS["positive"].tolist()} if with_y else {})}
    over_rest = stateless.post("/v1/distances", json={**given, **fields})
    files = ["anchor.npy", "positive.npy"][: 1 + with_y]
    assert answer("distances", *files, *options_of(fields)) == over_rest.json()


@pytest.mark.parametrize(
    "fields",
    [
        {"mining": "all"},
        {"mining": "all", "margin": "soft", "return_triplets": 4},
        {"mining": "hard", "reduction": "none", "return_triplets": -1},
        {"mining": "semi_hard", "normalize": True, "distance": "cosine"},
    ],
)
def test_batches(stateless: TestClient, fields: dict[str, Any]) -> None:
    given = {"embeddings": ROWS["anchor"].tolist(), "labels": LABELS}
    over_rest = stateless.post("/v1/losses/batch", json={**given, **fields})
    assert answer("losses", "batch", "anchor.npy", "--labels", "labels.npy", *options_of(fields)) == (
        over_rest.json()
    )


@pytest.mark.parametrize("fields", [{}, {"swap": True, "alpha": 0.1, "margin": 0.3}, {"reduction": "none"}])
def test_given_triplets(stateless: TestClient, fields: dict[str, Any]) -> None:
    given = {name: rows.tolist() for name, rows in ROWS.items()}
    over_rest = stateless.post("/v1/losses/triplet", json={**given, **fields})
    files = [f"{name}.npy" for name in ROWS]
    assert answer("losses", "triplet", *files, *options_of(fields)) == over_rest.json()


def test_refusals_are_the_same_sentences(stateless: TestClient) -> None:
    x = ROWS["anchor"].tolist()
    for fields in (
        {"metric": "kl_divergence", "normalize": True},
        {"metric": "frobenius", "reduction": "mean"},
        {"metric": "cosine", "p": 3.0},
        {"metric": "nuclear", "paired": True},
    ):
        over_rest = stateless.post("/v1/distances", json={"x": x, "y": x, **fields})
        assert over_rest.status_code == 422
        assert (
            refusal("distances", "anchor.npy", "anchor.npy", *options_of(fields))
            == (over_rest.json()["detail"])
        )
    np.save("same.npy", [7] * 12)
    over_rest = stateless.post(
        "/v1/losses/batch", json={"embeddings": x, "labels": [7] * 12, "mining": "all"}
    )
    assert refusal("losses", "batch", "anchor.npy", "--labels", "same.npy") == over_rest.json()["detail"]
