"""Fixtures of the tests of `models`."""

from collections.abc import Iterator

import pytest
import torch

from models import batch_all, euclid, small_batches, triplets


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch in one thread: tiny networks gain nothing from more, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["small", "differences", "products", "sorting"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute as small float32 batches do, other small ones, large ones, or those with many positives."""
    if request.param == "small":
        return
    monkeypatch.setattr(small_batches, "_MOST_ROWS", 0)
    if request.param != "differences":
        monkeypatch.setattr(euclid, "_SMALL", 0)
    if request.param == "sorting":
        monkeypatch.setattr(batch_all, "_SORTING_PAYS", 0)
        monkeypatch.setattr(triplets, "_SORTING_PAYS", 0)
