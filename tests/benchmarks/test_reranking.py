"""The benchmark of re-ranking: the forms that it compares, and what it writes."""

import numpy as np
import pytest

from benchmarks.reranking import (
    DENSE,
    EXACT,
    FORMS,
    OURS,
    Measured,
    Sizes,
    differing_ranks,
    embeddings,
    measure,
    render,
)

SIZES = Sizes(12, 48, 8, 3)


def measured(ours_s: float, dense_s: float, differing: int = 0) -> Measured:
    """Return three rounds whose medians are these."""
    middles = {OURS: ours_s, DENSE: dense_s, EXACT: 2 * dense_s}
    return Measured(
        {name: [0.5 * middle, 3 * middle, middle] for name, middle in middles.items()},
        dict.fromkeys(FORMS, 5_000_000),
        {OURS: differing, DENSE: 7, EXACT: 0},
    )


def test_the_forms_answer_alike() -> None:
    inputs = embeddings(SIZES)
    answers = {name: form(*inputs) for name, form in FORMS.items()}
    for answer in answers.values():
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, answers[EXACT], rtol=0, atol=1e-5)
    assert differing_ranks(answers[OURS], answers[EXACT]) == 0


def test_every_form_is_timed_and_weighed() -> None:
    found = measure(Sizes(4, 16, 4, 2), 1)
    assert {name: len(seconds) for name, seconds in found.seconds.items()} == dict.fromkeys(FORMS, 2)
    assert all(0 <= count < 1_000_000_000 for count in found.bytes.values())
    assert (found.differing[OURS], found.differing[EXACT]) == (0, 0)


def test_embeddings_are_the_same_on_every_run() -> None:
    queries, gallery = embeddings(SIZES)
    assert (queries.shape, gallery.shape) == ((12, 8), (48, 8))
    again = embeddings(SIZES)
    assert queries.equal(again[0])
    assert gallery.equal(again[1])


def test_ranks_are_compared_place_by_place() -> None:
    expected = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.4]])
    assert differing_ranks(expected * 2, expected) == 0
    assert differing_ranks(np.array([[0.1, 0.3, 0.2], [0.5, 0.5, 0.4]]), expected) == 2


@pytest.mark.parametrize(
    ("ours_s", "differing", "said"),
    [
        (1.0, 0, "3.0 times, 0 other ranks, met."),
        (1.1, 0, "2.7 times, 0 other ranks, **missed**."),
        (1.0, 1, "3.0 times, 1 other ranks, **missed**."),
    ],
)
def test_the_verdict_needs_the_speed_and_the_ranks(ours_s: float, differing: int, said: str) -> None:
    assert said in render(SIZES, measured(ours_s, 3.0, differing), 2)


def test_the_section_shows_medians() -> None:
    text = render(SIZES, measured(1.0, 3.0), 2)
    assert "12 queries and 48 of a gallery, D = 8" in text
    assert "medians of 3 rounds" in text
    assert f"| {DENSE} | 3 s (1.5 s) | 3 x | 5 MB | 7 of 576 |" in text
