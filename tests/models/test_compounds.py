"""A small mark makes of a character another one, the same for all its drawings."""

import numpy as np
import torch
from torch import Tensor

from models.augmentation.compounds import compound


def drawings(classes: int, each: int, channels: int = 1) -> Tensor:
    """Bars, of each class at another height, on white paper."""
    images = torch.full((classes * each, channels, 64, 64), 255, dtype=torch.uint8)
    for row in range(len(images)):
        top = 4 + 3 * (row // each % 18)
        images[row, :, top : top + 4, 10 : 40 + row % each] = 0
    return images


def places(images: Tensor, changed: Tensor) -> Tensor:
    """Return (N, 2) where what was added lies in the mean, from -1 to 1; NaN where nothing was."""
    added = (images.float() - changed).clamp(min=0).mean(dim=1)
    line = (torch.arange(64) * 2 + 1) / 64 - 1
    total = added.sum(dim=(1, 2))
    return torch.stack([(added.sum(dim=1) @ line) / total, (added.sum(dim=2) @ line) / total], dim=1)


def test_ink_is_only_added_and_the_input_is_left_alone() -> None:
    images = drawings(6, 3)
    before = images.clone()

    changed = compound(images, np.random.default_rng(0), each=3, share=0.9)

    assert torch.equal(images, before)
    assert (changed.shape, changed.dtype) == (images.shape, torch.float32)
    assert bool((changed <= images).all())
    assert float(changed.min()) >= 0


def test_a_share_of_the_classes_changes_each_with_all_its_drawings() -> None:
    images = drawings(400, 2)

    changed = compound(images, np.random.default_rng(1), each=2, share=0.7)

    darker = (images.float() - changed).sum(dim=(1, 2, 3)).reshape(400, 2) > 0
    # A mark may lie on the bar or beyond the picture, and of both drawings alike but for a little.
    assert 0.5 < float(darker.float().mean()) < 0.75
    assert float((darker[:, 0] == darker[:, 1]).float().mean()) > 0.95
    assert torch.equal(compound(images, np.random.default_rng(1), each=2, share=0.0), images.float())


def test_the_mark_is_in_one_place_for_a_class_and_in_another_for_the_next() -> None:
    images = drawings(12, 8)

    found = places(images, compound(images, np.random.default_rng(2), each=8, share=0.99)).reshape(12, 8, 2)

    whole = found[~found.isnan().any(dim=2).any(dim=1)]
    assert len(whole) >= 8
    within, between = whole.std(dim=1).mean(), whole.mean(dim=1).std(dim=0).mean()
    assert 0 < float(within) < 0.12 < float(between)


def test_it_is_another_class_that_gives_the_mark() -> None:
    one = torch.full((2, 1, 64, 64), 255, dtype=torch.uint8)
    one[1, :, 20:44, 20:44] = 0  # a blank and a square

    squares = blanks = 0
    for seed in range(40):
        blank, square = compound(one, np.random.default_rng(seed), each=1, share=0.99)
        squares += int((blank < 255).any())
        blanks += int(torch.equal(square, one[1].float()))

    assert squares > 5  # the square's copy, beside nothing
    assert blanks > 5


def test_the_generator_decides() -> None:
    images = drawings(5, 4, channels=3)

    one, same, other = (compound(images, np.random.default_rng(n), each=4, share=0.5) for n in (3, 3, 4))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
