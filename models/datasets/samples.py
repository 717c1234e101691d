"""One picture of a dataset, and the pictures of one of its splits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["NOBODY", "ImageSet", "Role", "Sample"]

Role = Literal["", "query", "gallery"]

NOBODY = "-1"  # Market-1501's name for a detection that shows no one whole; rankings leave it out


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture.

    Attributes:
        path: where it is.
        identity: whom or what it shows; "-1" is nobody.
        camera: which one took it, "" where that is unknown.
        split: the split that it is in.
        role: what it is in a protocol whose queries and gallery are given, else "".
        group: what identities that are easily confused have in common (Omniglot's alphabet, Stanford's
            kind of product), "" where the dataset says nothing of it.
    """

    path: Path
    identity: str
    camera: str
    split: str
    role: Role = ""
    group: str = ""


@dataclass(frozen=True)
class ImageSet:
    """The pictures of one split of a dataset.

    Attributes:
        name: the dataset's, for reports.
        split: the split's.
        samples: at least one, in a fixed order. A picture that is a query and in the gallery is there twice.
        form: which reader it comes from, one of `models.datasets.READERS`; it implies the protocol. "" is
            none of them.
    """

    name: str
    split: str
    samples: tuple[Sample, ...]
    form: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    def __str__(self) -> str:
        images, identities = len(self), len(self.identities)
        parts = [f"{images:,} {_plural('image', images)} of {identities:,} {_plural('identity', identities)}"]
        if self.cameras:
            parts.append(f"{len(self.cameras)} {_plural('camera', len(self.cameras))}")
        if self.has_roles:
            queries = len(self.queries())
            parts.append(f"{queries:,} {_plural('query', queries)}, {len(self.gallery()):,} in the gallery")
        if nobody := int((self.labels() < 0).sum()):
            parts.append(f"{nobody:,} of nobody")
        return f"{self.name}/{self.split}: {', '.join(parts)}"

    @property
    def identities(self) -> tuple[str, ...]:
        """Return the identities, sorted, without nobody."""
        return tuple(sorted({sample.identity for sample in self.samples} - {NOBODY}))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the cameras, sorted; none where any picture's is unknown."""
        cameras = {sample.camera for sample in self.samples}
        return () if "" in cameras else tuple(sorted(cameras))

    @property
    def without_camera(self) -> int:
        """Return how many pictures' camera is unknown where others' are known."""
        unknown = sum(not sample.camera for sample in self.samples)
        return unknown if unknown < len(self) else 0

    @property
    def has_roles(self) -> bool:
        """Return whether the protocol says which pictures are queries and which the gallery."""
        return any(sample.role for sample in self.samples)

    def labels(self) -> npt.NDArray[np.int64]:
        """Return (N,) the number of each picture's identity in `identities`, and -1 for nobody."""
        number = {identity: n for n, identity in enumerate(self.identities)}
        return np.array([number.get(sample.identity, -1) for sample in self.samples], dtype=np.int64)

    def camera_labels(self) -> npt.NDArray[np.int64] | None:
        """Return (N,) the number of each picture's camera in `cameras`; None where cameras are unknown."""
        number = {camera: n for n, camera in enumerate(self.cameras)}
        if not number:
            return None
        return np.array([number[sample.camera] for sample in self.samples], dtype=np.int64)

    def group_labels(self) -> npt.NDArray[np.int64] | None:
        """Return (N,) the number of each picture's group among all, sorted; None where any is unknown."""
        groups = sorted({sample.group for sample in self.samples})
        if "" in groups:
            return None
        number = {group: n for n, group in enumerate(groups)}
        return np.array([number[sample.group] for sample in self.samples], dtype=np.int64)

    def queries(self) -> npt.NDArray[np.int64]:
        """Return (Q,) which samples are queries: all of them where there are no roles."""
        return self._with_role("query")

    def gallery(self) -> npt.NDArray[np.int64]:
        """Return (G,) which samples are the gallery: all of them where there are no roles."""
        return self._with_role("gallery")

    def subset(self, indices: Sequence[int] | npt.NDArray[np.integer], *, split: str) -> "ImageSet":
        """Return some of the samples, in the order given, as a split of another name.

        Args:
            indices: (n,) which ones, n >= 1.
            split: what the samples' split is called from now on.
        """
        samples = tuple(replace(self.samples[index], split=split) for index in indices)
        return replace(self, split=split, samples=samples)

    def _with_role(self, role: Role) -> npt.NDArray[np.int64]:
        """Return which samples have a role, or all where none has any."""
        if not self.has_roles:
            return np.arange(len(self))
        return np.flatnonzero([sample.role == role for sample in self.samples])


def _plural(noun: str, count: int) -> str:
    """Return a noun in the number that a count asks for."""
    if count == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
