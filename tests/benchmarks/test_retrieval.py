"""The benchmark of CMC and mAP: the forms that it compares, and what it writes."""

from typing import Any

import pytest

from benchmarks.reranking import Sizes
from benchmarks.retrieval import FORMS, OURS, SCRIPT, differs, measure, people, render

SIZES = Sizes(30, 90, 8, 1)


def measured(ours_bytes: int, rank_1: float) -> dict[str, dict[str, Any]]:
    """Return results in which the script finds 0.5 at rank 1."""
    return {
        OURS: {"seconds": 2.0, "bytes": ours_bytes, "figures": {"mAP": 0.25, "rank-1": rank_1}},
        SCRIPT: {"seconds": 8.0, "bytes": 6_000_000_000, "figures": {"mAP": 0.25, "rank-1": 0.5}},
    }


def test_the_forms_find_the_same() -> None:
    given = people(SIZES)
    ours, script = (form(given) for form in FORMS.values())
    assert ours == pytest.approx(script, abs=1e-9)
    assert 0 < ours["mAP"] < 1


def test_every_form_is_timed_and_weighed_in_a_process_of_its_own() -> None:
    found = measure(SIZES, 1)
    assert set(found) == set(FORMS)
    assert all(one["seconds"] > 0 and one["bytes"] > 10_000_000 for one in found.values())
    assert differs(found) < 1e-9


@pytest.mark.parametrize(
    ("of_bytes", "rank_1", "verdict"),
    [(500_000_000, 0.5, "met"), (2_500_000_000, 0.5, "**missed**"), (500_000_000, 0.51, "**missed**")],
)
def test_memory_and_figures_decide(of_bytes: int, rank_1: float, verdict: str) -> None:
    text = render(SIZES, measured(of_bytes, rank_1), 2)
    assert f", {verdict}." in text
    assert "| 4 x |" in text.replace("4.0 x", "4 x")
