from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from models.augmentation import AUGMENTATIONS

Augmentation = Callable[[Tensor, np.random.Generator], Tensor]
CHANGING = sorted(set(AUGMENTATIONS) - {"none"})


def pictures(channels: int = 3) -> Tensor:
    drawn = np.random.default_rng(0).integers(0, 256, (8, channels, 20, 30), dtype=np.uint8)
    return torch.from_numpy(drawn)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_a_changed_copy_stays_in_range_and_leaves_its_input_alone(name: str, channels: int) -> None:
    images = pictures(channels)
    before = images.clone()

    changed = AUGMENTATIONS[name](images, np.random.default_rng(1))

    assert torch.equal(images, before)
    assert (changed.shape, changed.dtype) == (images.shape, torch.float32)
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 255


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_float_pictures_are_left_alone_too(name: str) -> None:
    images = pictures().float()

    changed = AUGMENTATIONS[name](images, np.random.default_rng(1))

    assert torch.equal(images, pictures().float())
    assert torch.equal(changed, AUGMENTATIONS[name](pictures(), np.random.default_rng(1)))


@pytest.mark.parametrize("name", CHANGING)
def test_the_seed_decides(name: str) -> None:
    one, same, other = (AUGMENTATIONS[name](pictures(), np.random.default_rng(seed)) for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, pictures().float())


def test_none_changes_nothing() -> None:
    assert torch.equal(AUGMENTATIONS["none"](pictures(), np.random.default_rng(1)), pictures().float())


def test_strokes_leave_paper_white_where_nothing_is_drawn() -> None:
    paper = torch.full((4, 1, 32, 32), 255.0)

    assert torch.equal(AUGMENTATIONS["strokes"](paper, np.random.default_rng(1)), paper)


def test_redrawn_strokes_keep_about_their_ink() -> None:
    images = torch.full((200, 1, 48, 48), 255.0)
    images[:, :, 18:30, 23:25] = 0
    ink = (255 - images).sum(dim=(1, 2, 3))

    redrawn = (255 - AUGMENTATIONS["strokes"](images, np.random.default_rng(1))).sum(dim=(1, 2, 3))

    assert 0.8 < float((redrawn / ink).median()) < 1.25


def test_the_baseline_mirrors_half_and_moves_by_at_most_its_padding() -> None:
    images = torch.zeros(400, 1, 64, 32)
    images[:, :, 30, 4] = 255.0

    changed = AUGMENTATIONS["baseline"](images, np.random.default_rng(1))

    columns = changed.amax(dim=(1, 2)).argmax(dim=1)
    rows = changed.amax(dim=(1, 3)).argmax(dim=1)
    kept = changed[:, 0, 30 - 2 : 30 + 3].amax(dim=(1, 2)) > 150  # not covered by the erased rectangle
    left = (columns[kept] <= 4 + 2) & (columns[kept] >= 4 - 2)
    right = (columns[kept] <= 27 + 2) & (columns[kept] >= 27 - 2)
    assert int(kept.sum()) > 250
    assert 0.35 < float(left.float().mean()) < 0.65
    assert float((left | right).float().mean()) > 0.9
    assert float(((rows[kept] - 30).abs() <= 2).float().mean()) > 0.9
