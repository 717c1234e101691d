"""Triplet losses over HTTP, against torch and a plain triple loop."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from torch.nn import functional as F

from tests.service.api.wires import assert_problem, data_uri, pack, unpack

RNG = np.random.default_rng(1)
TRIPLETS = {name: RNG.normal(size=(6, 5)).astype(np.float32) for name in ("anchor", "positive", "negative")}
EMBEDDINGS = RNG.normal(size=(11, 5)).astype(np.float32)
LABELS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 0]  # unbalanced, one of them alone


def as_json(**arrays: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("margin", "p", "swap", "reduction"),
    list(itertools.product([0.1, 1.0, 3.0], [1.0, 2.0, 3.0], [False, True], ["none", "mean", "sum"])),
)
def test_triplet_loss_and_gradients_equal_torch(
    stateless: TestClient, margin: float, p: float, swap: bool, reduction: str
) -> None:
    options: dict[str, Any] = {"margin": margin, "p": p, "swap": swap, "reduction": reduction}
    anchor, positive, negative = leaves = [
        torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in TRIPLETS.values()
    ]
    expected = F.triplet_margin_loss(anchor, positive, negative, **options)
    expected.sum().backward()  # type: ignore[no-untyped-call]
    answer = stateless.post("/v1/losses/triplet", json={**as_json(**TRIPLETS), **options, "gradients": True})
    body = answer.json()
    np.testing.assert_allclose(body["loss"], expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    for name, leaf in zip(TRIPLETS, leaves, strict=True):
        assert leaf.grad is not None
        np.testing.assert_allclose(body["gradients"][name], leaf.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_other_distances_equal_torch_with_a_distance_function(stateless: TestClient) -> None:
    tensors = [torch.tensor(array, dtype=torch.float64) for array in TRIPLETS.values()]
    expected = F.triplet_margin_with_distance_loss(
        *tensors, distance_function=lambda x, y: 1 - F.cosine_similarity(x, y), margin=0.3
    )
    options = {"margin": 0.3, "distance": "cosine", "reduction": "mean"}
    body = stateless.post("/v1/losses/triplet", json={**as_json(**TRIPLETS), **options}).json()
    assert body["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert body["valid_triplets"] == 6
    assert body["fraction_active"] == body["active_triplets"] / 6


def test_safetensors_gradients_bear_their_samples_names(stateless: TestClient) -> None:
    body, tensors = unpack(stateless.post("/v1/losses/triplet", **pack({"gradients": True}, **TRIPLETS)))
    plain = stateless.post("/v1/losses/triplet", json={**as_json(**TRIPLETS), "gradients": True}).json()
    assert body["loss"] == plain["loss"]
    for name in TRIPLETS:
        np.testing.assert_allclose(tensors[name], plain["gradients"][name], rtol=1e-6)


def loop(mining: str, margin: float) -> list[float]:
    """Return the losses of the triplets that a miner forms, by definition."""
    x = EMBEDDINGS.astype(np.float64)
    d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    losses = []
    for a, label in enumerate(LABELS):
        positives = [i for i, other in enumerate(LABELS) if other == label and i != a]
        negatives = [i for i, other in enumerate(LABELS) if other != label]
        if not positives or not negatives:
            continue
        if mining == "hard":
            pairs = [(max(d[a, p] for p in positives), min(d[a, n] for n in negatives))]
        elif mining == "semi_hard":
            pairs = []
            for p in positives:
                farther = [d[a, n] for n in negatives if d[a, n] > d[a, p]]
                pairs.append((d[a, p], min(farther) if farther else max(d[a, n] for n in negatives)))
        else:
            pairs = [(d[a, p], d[a, n]) for p in positives for n in negatives]
        losses += [max(0.0, d_ap - d_an + margin) for d_ap, d_an in pairs]
    return losses


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_batch_losses_equal_a_plain_loop(stateless: TestClient, mining: str, margin: float) -> None:
    losses = loop(mining, margin)
    request = {"labels": LABELS, "mining": mining, "margin": margin}
    body = stateless.post("/v1/losses/batch", json={"embeddings": EMBEDDINGS.tolist(), **request}).json()
    active = sum(loss > 0 for loss in losses)
    expected = sum(losses) / (active if mining == "all" else len(losses))
    assert body["loss"] == pytest.approx(expected, rel=1e-5)
    assert body["valid_triplets"] == len(losses) == body["easy"] + body["semi_hard"] + body["hard"]
    assert body["active_triplets"] == active == body["semi_hard"] + body["hard"]
    assert body["skipped_anchors"] == 1
    assert body["collapsed"] is False
    assert body["reduction"] == ("mean_active" if mining == "all" else "mean")


def test_gradients_lead_downhill(stateless: TestClient) -> None:
    request = {"labels": [str(label) for label in LABELS], "mining": "all", "reduction": "sum"}
    body, tensors = unpack(
        stateless.post("/v1/losses/batch", **pack({**request, "gradients": True}, embeddings=EMBEDDINGS))
    )
    moved = EMBEDDINGS - np.float32(1e-3) * tensors["gradients"]
    after = stateless.post("/v1/losses/batch", json={"embeddings": moved.tolist(), **request}).json()
    squared_norm = float((tensors["gradients"] ** 2).sum())
    assert body["loss"] - after["loss"] == pytest.approx(1e-3 * squared_norm, rel=0.1)


def test_worst_triplets_are_given_largest_loss_first(stateless: TestClient) -> None:
    request = {"embeddings": EMBEDDINGS.tolist(), "labels": LABELS, "mining": "all", "return_triplets": 3}
    triplets = stateless.post("/v1/losses/batch", json=request).json()["triplets"]
    assert [round(t["loss"], 5) for t in triplets] == [
        round(x, 5) for x in sorted(loop("all", 0.2))[-1:-4:-1]
    ]
    for triplet in triplets:
        assert LABELS[triplet["anchor"]] == LABELS[triplet["positive"]] != LABELS[triplet["negative"]]


def test_all_formed_triplets_come_in_anchor_order(stateless: TestClient) -> None:
    request = {"embeddings": EMBEDDINGS.tolist(), "labels": LABELS, "mining": "hard", "return_triplets": -1}
    triplets = stateless.post("/v1/losses/batch", json=request).json()["triplets"]
    assert [t["anchor"] for t in triplets] == [row for row in range(11) if row != 9]


def test_labels_may_be_a_tensor_and_pictures_a_batch(
    stateless: TestClient, picture: Callable[..., bytes]
) -> None:
    tensors = {"embeddings": EMBEDDINGS, "labels": np.array(LABELS)}
    body, _ = unpack(stateless.post("/v1/losses/batch", **pack({"mining": "hard"}, **tensors)))
    assert body["valid_triplets"] == 10
    images = [data_uri(picture(identity, view)) for identity in range(2) for view in range(2)]
    request = {"embeddings": images, "labels": ["a", "a", "b", "b"], "mining": "hard", "margin": "soft"}
    body = stateless.post("/v1/losses/batch", json=request).json()
    assert body["valid_triplets"] == body["active_triplets"] == 4


def test_a_collapsed_batch_says_so(stateless: TestClient) -> None:
    request = {"embeddings": [[1, 2]] * 4, "labels": [0, 0, 1, 1], "mining": "all", "margin": 0.5}
    body = stateless.post("/v1/losses/batch", json=request).json()
    assert body["collapsed"] is True
    assert body["loss"] == 0.5


@pytest.mark.parametrize(
    ("changes", "slug", "word"),
    [
        ({"labels": [0, 1]}, "dimension-mismatch", "11"),
        ({"labels": [0] * 11}, "no-triplet", "another label"),
        ({"labels": list(range(11))}, "no-triplet", "two or more"),
        ({"labels": [0.5] * 11}, "invalid-fields", "integers or strings"),
        ({"mining": "hardest"}, "invalid-fields", "'semi_hard'"),
        ({"margin": 0}, "invalid-fields", "greater than 0"),
        ({"margin": "hard"}, "invalid-fields", "soft"),
        ({"mining": "all", "reduction": "none"}, "invalid-option", "return_triplets"),
        ({"mining": "all", "return_triplets": -1}, "invalid-option", "triplets"),
        ({"distance": "frobenius"}, "invalid-fields", "euclidean"),
    ],
)
def test_bad_batches_say_what_to_do(
    stateless: TestClient, changes: dict[str, Any], slug: str, word: str
) -> None:
    request = {"embeddings": EMBEDDINGS.tolist(), "labels": LABELS, "mining": "hard", **changes}
    assert_problem(stateless.post("/v1/losses/batch", json=request), 422, slug, word)


def test_eps_with_another_distance_is_refused(stateless: TestClient) -> None:
    request = {**as_json(**TRIPLETS), "distance": "cosine", "eps": 1e-6}
    assert_problem(stateless.post("/v1/losses/triplet", json=request), 422, "invalid-option", "eps")
