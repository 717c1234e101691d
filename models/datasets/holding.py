"""Identities kept back from training, to measure on, where a dataset has no split for that."""

from collections.abc import Sequence

import numpy as np

from models.datasets.samples import NOBODY, ImageSet
from models.errors import DatasetError, OptionError

__all__ = ["HELD_OUT", "hold_out"]

HELD_OUT = "held out"  # what the split is called

_NAMED = 20  # of the groups that there are


def hold_out(images: ImageSet, what: float | Sequence[str], *, seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Part a split by identity: what is learned from, and what is measured on.

    Args:
        images: the split.
        what: the share of its identities to hold out, drawn by the seed, above 0 and below 1; or the names of
            groups to hold out whole (Omniglot's alphabets).
        seed: of the draw.

    Returns:
        The rest, under the split's own name, and what is held out, as the split "held out". Pictures of
        nobody stay in the rest.

    Raises:
        OptionError: a share that is none, or a group that the set does not have.
        DatasetError: fewer than two identities would be on one of the sides.
    """
    chosen = _share(images, what, seed) if isinstance(what, int | float) else _groups(images, what)
    out = np.array([sample.identity in chosen for sample in images.samples])
    rest = len(images.identities) - len(chosen)
    if min(rest, len(chosen)) < 2:
        raise DatasetError(
            f"{len(chosen):,} of {len(images.identities):,} identities would be held out and {rest:,} left. "
            "At least 2 are needed on each side"
            + (": hold out another share." if len(images.identities) >= 4 else ", 4 in all: add others.")
        )
    return (
        images.subset(np.flatnonzero(~out), split=images.split),
        images.subset(np.flatnonzero(out), split=HELD_OUT),
    )


def _share(images: ImageSet, share: float, seed: int) -> set[str]:
    """Draw a share of the identities."""
    if not 0 < share < 1:
        raise OptionError(
            f"hold_out is {share}; a share of the identities is above 0 and below 1.", argument="hold_out"
        )
    identities = images.identities
    drawn = np.random.default_rng([seed, 3]).permutation(len(identities))
    return {identities[number] for number in drawn[: round(share * len(identities))]}


def _groups(images: ImageSet, names: Sequence[str]) -> set[str]:
    """Return the identities of the named groups."""
    known = {sample.group for sample in images.samples} - {""}
    unknown = sorted(set(names) - known)
    if unknown or not names:
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        has = f"it has {', '.join(sorted(known)[:_NAMED])}{more}" if known else "it has no groups"
        raise OptionError(
            f"There is no group {', '.join(unknown) or 'named'} in {images.name}/{images.split}: {has}. Hold "
            "out groups that it has, or a share of the identities, such as 0.2.",
            argument="hold_out",
        )
    return {sample.identity for sample in images.samples if sample.group in names} - {NOBODY}
