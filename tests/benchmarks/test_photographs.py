"""The benchmark of faces in photographs: its rank-1, what it writes, and what real photographs give."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.photographs import (
    CROPS,
    PHOTOGRAPHS,
    STRETCHED,
    Measured,
    bundle,
    measure,
    pairs,
    rank_1,
    render,
)
from tests.data import real_data


def test_rank_1_is_that_of_a_loop() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(30, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[5] = 0
    people = [str(row // 3) for row in range(30)]
    hits = 0
    for query in range(30):
        others = sorted(
            (other for other in range(30) if other != query), key=lambda o: -float(rows[query] @ rows[o])
        )
        hits += query != 5 and people[others[0]] == people[query]
    assert rank_1(rows, people) == pytest.approx(hits / 30)


@pytest.mark.parametrize(("share", "verdict"), [(0.981, "met"), (0.979, "**missed**")])
def test_the_verdict_is_that_of_the_figures(share: float, verdict: str) -> None:
    measured = Measured(
        {CROPS: 0.99, PHOTOGRAPHS: share, STRETCHED: 0.1}, 200, 40, 3, 0.9, [0.01, 0.02, 0.03]
    )
    text = render(measured)
    assert f"points, {verdict}." in text
    assert "198 of 200" in text
    assert "20 ms (median)" in text


@pytest.mark.data
def test_real_photographs_come_close_to_their_aligned_crops(tmp_path: Path) -> None:
    data = real_data()
    measured = measure(bundle(data, tmp_path), pairs(data, quick=True))
    assert measured.pictures > 30
    assert measured.without_face == 0
    assert measured.lost * measured.pictures < 1.5  # one picture more, of about fifty
    assert measured.rank_1[PHOTOGRAPHS] > measured.rank_1[STRETCHED] + 0.1
    assert measured.cosine > 0.9
