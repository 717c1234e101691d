"""Batches of P identities with K pictures each."""

import numpy as np
import numpy.typing as npt

from models.errors import DatasetError, OptionError, ShapeError

__all__ = ["PKSampler"]

Indices = npt.NDArray[np.int64]


class PKSampler:
    """Batches of P identities with K pictures each, as functions of the seed and the step alone.

    A pass goes through the identities in a new random order, P at a time; the fewer than P that remain
    wait for another pass. Of an identity, K pictures are drawn without replacement; one with fewer than K
    gives each of its pictures equally often, up to one, so that some repeat within the batch and differ
    by augmentation only. Pictures of label -1, nobody, are never drawn.

    With cameras, an identity's K pictures are spread over its cameras: in a random order of its cameras, one
    picture of each, then a second of each that has one, and so on. No camera gives two more than another that
    still has a picture left, and with K at least the number of cameras each is in the batch.

    With groups of identities that are easily confused (characters of one alphabet), a pass takes the
    identities of each group, in a new random order, by `together` at a time, and goes through these bunches
    in a random order: a batch has P / together bunches. The fewer than `together` that remain of a group wait
    for another pass.

    Args:
        labels: (N,) the identity of each picture.
        identities: P, at least 2.
        images: K, at least 2.
        seed: of every draw.
        cameras: (N,) the camera of each picture; None draws without regard to cameras.
        groups: (N,) the group of each picture's identity; None draws without regard to groups.
        together: how many identities of a group are side by side, with groups.

    Raises:
        DatasetError: fewer than P identities, or with groups fewer than P that can be taken in bunches.
        OptionError: P or K below 2, or P is no multiple of `together`.
        ShapeError: cameras or groups that do not fit the labels.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        *,
        identities: int,
        images: int,
        seed: int,
        cameras: npt.NDArray[np.int64] | None = None,
        groups: npt.NDArray[np.int64] | None = None,
        together: int = 1,
    ) -> None:
        _check_length("camera", cameras, labels)
        _check_length("group", groups, labels)
        for name, number in (("identities", identities), ("images", images)):
            if number < 2:
                raise OptionError(f"{name} is {number}; triplets need at least 2.", argument=name)
        if together < 1 or identities % together:
            raise OptionError(
                f"A batch of {identities} identities cannot be made of bunches of {together}. "
                "Ask for a multiple.",
                argument="together",
            )
        order = np.argsort(labels, kind="stable")
        order = order[labels[order] >= 0]
        # The pictures of identity i are _order[_starts[i] : _starts[i + 1]]: a list of 100,000 small arrays
        # would cost more memory than the pictures' numbers.
        self._order = order
        changes = np.flatnonzero(np.diff(labels[order])) + 1
        self._starts = np.concatenate(([0], changes, [len(order)])) if len(order) else np.zeros(1, np.int64)
        self._cameras = None if cameras is None else np.unique(cameras, return_inverse=True)[1]
        self._groups = None if groups is None else _runs(groups[order[self._starts[:-1]]])
        self._together = together
        self._identities = identities
        self._images = images
        self._seed = seed
        self._pass = -1, np.empty(0, np.int64)  # the number of the latest pass and its order
        if self._a_pass < identities:
            bunches = "" if groups is None else f" in bunches of {together} of one group"
            raise DatasetError(
                f"A batch of {identities} identities was asked for and the set has {self._a_pass}{bunches}. "
                "Ask for fewer identities a batch."
            )

    @property
    def batches_per_pass(self) -> int:
        """Return how many batches a pass through the identities has."""
        return self._a_pass // self._identities

    def batch(self, step: int) -> Indices:
        """Return (P K,) the pictures of a step, counted from 0, those of an identity side by side."""
        number, place = divmod(step, self.batches_per_pass)
        chosen = self._pass_order(number)[place * self._identities : (place + 1) * self._identities]
        rng = np.random.default_rng([self._seed, 0, number, 1 + place])
        drawn = [rng.permutation(self._members(identity)) for identity in chosen.tolist()]
        if self._cameras is not None:
            drawn = _by_turns(drawn, self._cameras, rng)
        return np.concatenate([_first(pictures, self._images) for pictures in drawn])

    @property
    def _count(self) -> int:
        """Return how many identities there are."""
        return len(self._starts) - 1

    @property
    def _a_pass(self) -> int:
        """Return how many identities a pass has to take from."""
        if self._groups is None:
            return self._count
        return sum(len(group) // self._together * self._together for group in self._groups)

    def _pass_order(self, number: int) -> Indices:
        """Return the order of the identities in a pass, kept for the pass's other batches."""
        if self._pass[0] != number:
            rng = np.random.default_rng([self._seed, 0, number])
            self._pass = number, self._shuffle(rng)
        return self._pass[1]

    def _shuffle(self, rng: np.random.Generator) -> Indices:
        """Draw an order of the identities, those of a group by `together` side by side."""
        if self._groups is None:
            return rng.permutation(self._count)
        size = self._together
        bunches = [
            rng.permutation(group)[: len(group) // size * size].reshape(-1, size) for group in self._groups
        ]
        return rng.permutation(np.concatenate(bunches)).reshape(-1)

    def _members(self, identity: int) -> Indices:
        """Return the pictures of an identity."""
        return self._order[self._starts[identity] : self._starts[identity + 1]]


def _first(pictures: Indices, count: int) -> Indices:
    """Return the first of some pictures, all of them before any repeats."""
    return pictures[:count] if len(pictures) >= count else np.resize(pictures, count)


def _check_length(name: str, given: Indices | None, labels: Indices) -> None:
    """Refuse what is not there once for each label."""
    if given is not None and given.shape != labels.shape:
        raise ShapeError(
            f"There must be one {name} for each label: {labels.shape}, not {given.shape}.",
            argument=f"{name}s",
            expected=labels.shape,
            got=given.shape,
        )


def _runs(groups: Indices) -> list[Indices]:
    """Return the identities of each group, given (identities,) the group of each."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)


def _by_turns(drawn: list[Indices], cameras: Indices, rng: np.random.Generator) -> list[Indices]:
    """Reorder the pictures of each identity: one of each camera, then the next of each, and so on.

    Args:
        drawn: for each identity its pictures, in the order in which those of one camera are taken.
        cameras: (N,) of all pictures, numbered from 0.
        rng: for the order of each identity's cameras.
    """
    pictures = np.concatenate(drawn)
    lengths = [len(part) for part in drawn]
    owner = np.repeat(np.arange(len(drawn)), lengths)
    # A group is the pictures of one identity by one camera.
    seen = cameras[pictures]
    _, group, sizes = np.unique(owner * (int(seen.max()) + 1) + seen, return_inverse=True, return_counts=True)
    by_group = np.argsort(group, kind="stable")
    turn = np.empty(len(pictures), np.int64)  # how many pictures of its group come before each
    turn[by_group] = np.arange(len(pictures)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order = np.lexsort((rng.random(len(sizes))[group], turn, owner))
    return np.split(pictures[order], np.cumsum(lengths)[:-1])
