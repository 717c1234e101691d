"""As many rows are proposed as the effort finds, two more than wanted at least and mostly four at most."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gallery.index.accelerator import Accelerator
from tests.service.gallery.index.galleries import embeddings, filled, sealed, snapshots_in

ROWS = 2_000


def accelerator(tmp_path: Path, kind: str, **options: Any) -> Accelerator:
    index = filled("cosine", embeddings(ROWS, seed=1))
    fast, _ = sealed(index, snapshots_in(tmp_path, "cosine"), kind, **options)
    assert fast.sealed
    assert fast.sealed.accelerator
    return fast.sealed.accelerator


@pytest.mark.parametrize(
    ("kind", "options", "effort", "proposed"),
    [
        ("hnsw", {}, 3, 12),
        ("hnsw", {}, 13, 13),
        ("hnsw", {}, 48, 14),
        ("hnsw", {"ef_search": 3}, 3, 14),  # which was not tried
        ("hnsw", {"quantization": "sq8"}, 3, 72),
        ("ivf", {}, 2, 14),
    ],
)
def test_as_many_are_proposed_as_are_found(
    tmp_path: Path, kind: str, options: dict[str, Any], effort: int, proposed: int
) -> None:
    fast = accelerator(tmp_path, kind, **options).with_effort({10: effort, 100: 200})
    assert fast.propose(embeddings(1, seed=2), 10, passing=None, share=1.0).shape == (1, proposed)


@pytest.mark.parametrize(("passing", "proposed"), [(1_000, 14), (1_800, 12)])
def test_where_some_do_not_count_it_is_searched_widely_and_more_are_found(
    tmp_path: Path, passing: int, proposed: int
) -> None:
    fast = accelerator(tmp_path, "hnsw").with_effort({10: 12, 100: 102})
    bits = np.packbits(np.arange(ROWS) < passing, bitorder="little")
    positions = fast.propose(embeddings(3, seed=2), 10, passing=bits, share=passing / ROWS)
    assert positions.shape == (3, proposed)
    assert positions.max() < passing


def test_an_effort_is_told_that_is_searched_with(tmp_path: Path) -> None:
    effort = accelerator(tmp_path, "hnsw").effort
    assert all(wide >= k + 2 for k, wide in effort.items())
