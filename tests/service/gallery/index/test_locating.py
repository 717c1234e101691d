"""Where labels stand among others: a search for each, and marking them, agree with a list."""

import numpy as np
import pytest

from service.gallery.index.locating import located, which_live


@pytest.mark.parametrize("gap", [1, 3, 1_000])
@pytest.mark.parametrize("count", [0, 1, 40, 300])
@pytest.mark.parametrize("ascending", [True, False])
def test_places_are_those_in_a_list(gap: int, count: int, ascending: bool) -> None:
    random = np.random.default_rng(count)
    held = 5 + np.sort(random.choice(300 * gap, 300, replace=False))
    labels = random.choice(held, count, replace=False)
    labels = np.sort(labels) if ascending else labels
    places = located(labels, held)
    assert places is not None
    assert places.tolist() == [held.tolist().index(label) for label in labels]


@pytest.mark.parametrize("gap", [1, 3, 1_000])
@pytest.mark.parametrize("stranger", ["before", "between", "behind"])
@pytest.mark.parametrize("count", [0, 200])
def test_a_label_that_is_not_there_is_found_out(gap: int, stranger: str, count: int) -> None:
    held = 10 + gap * np.arange(300)
    if stranger == "between":
        held = np.delete(held, 150)
    other = {"before": 9, "between": 10 + gap * 150, "behind": int(held[-1]) + 1}[stranger]
    assert located(np.sort(np.append(held[:count], other)), held) is None
    assert located(np.array([other]), held[:0]) is None


@pytest.mark.parametrize("gap", [1, 3, 1_000])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
@pytest.mark.parametrize("rows", [0, 300])
def test_which_labels_live_is_as_a_set_has_it(gap: int, share: float, rows: int) -> None:
    random = np.random.default_rng(rows)
    held = 5 + gap * np.arange(rows)
    alive = random.random(rows) < 0.7
    labels = random.permutation(np.concatenate([held[random.random(rows) < share], [4, 5 + gap * rows]]))
    living = {int(label) for label in held[alive]}
    assert which_live(labels, held, alive).tolist() == [label in living for label in labels.tolist()]
    assert which_live(labels[:0], held, alive).tolist() == []
