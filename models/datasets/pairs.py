"""The pairs of LFW's verification protocol: pairs.txt in ten folds, pairsDevTrain.txt, pairsDevTest.txt."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.datasets.lfw import Faces
from models.datasets.listing import dataset_name, read_lines, some
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError

__all__ = ["Pairs", "read_pairs"]

_PAIRS = "pairs.txt"

Face = tuple[str, int]  # a person and the number of the picture


@dataclass(frozen=True, eq=False)  # arrays have no truth to compare by
class Pairs:
    """Pairs of pictures, each of one person or of two, in the order of the file.

    Attributes:
        images: each picture that a pair names, once; the split is the file's name without its suffix.
        left, right: (P,) int64, samples of `images`.
        same: (P,) bool, whether they show one person.
        folds: (P,) int64, from 0; all 0 where the file has one block.
    """

    images: ImageSet
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    folds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.same)

    def __str__(self) -> str:
        folds = len(np.unique(self.folds))
        return (
            f"{self.images.name}/{self.images.split}: {len(self):,} pairs ({int(self.same.sum()):,} of one "
            f"person) of {len(self.images):,} images in {folds} {'fold' if folds == 1 else 'folds'}"
        )


def read_pairs(source: Path) -> Pairs:
    """Read pairs: a first line "10 300" for ten blocks, or "1100" for one, then block by block.

    A block is that many pairs of one person, "name number number", and then as many of two, "name number
    name number". Blanks may be tabs or spaces.

    Args:
        source: a file beside LFW's folder of people, or the dataset's folder, whose pairs.txt is read.

    Raises:
        DatasetError: no such file, another form, another number of pairs than its first line says, or
            pictures that are not there.
    """
    path = source / _PAIRS if source.is_dir() else source
    if source.is_dir() and not path.is_file():
        others = some(sorted(file.name for file in source.glob("pairs*.txt"))) or "no file of pairs"
        raise DatasetError(f"There is no {_PAIRS} in {source}; it has {others}. Give the path of one.")
    pairs, folds = _parse(path)
    faces = sorted({face for pair in pairs for face in pair})
    images = _images(path, faces)
    number = {face: row for row, face in enumerate(faces)}
    left, right = (np.array([number[pair[side]] for pair in pairs], dtype=np.int64) for side in (0, 1))
    same = np.array([first[0] == second[0] for first, second in pairs])
    return Pairs(images, left, right, same, np.array(folds, dtype=np.int64))


def _parse(path: Path) -> tuple[list[tuple[Face, Face]], list[int]]:
    """Return the pairs and their folds."""
    first, *lines = read_lines(path, "LFW's protocol")
    match first.split():
        case [folds_text, size_text] if folds_text.isdecimal() and size_text.isdecimal():
            folds, size = int(folds_text), int(size_text)
        case [size_text] if size_text.isdecimal():
            folds, size = 1, int(size_text)
        case _:
            raise DatasetError(
                f"{path} starts with {first!r}; it must start with the number of folds and of pairs, "
                'as "10 300", or with that of pairs, as "1100".'
            )
    if not folds or not size or len(lines) != 2 * folds * size:
        raise DatasetError(
            f"{path} says {folds:,} x 2 x {size:,} = {2 * folds * size:,} pairs and lists {len(lines):,}. "
            "It may be cut off: fetch it again."
        )
    pairs: list[tuple[Face, Face]] = []
    for place, line in enumerate(lines):
        pair = _pair(line, same=place % (2 * size) < size)
        if pair is None:
            kind = "name number number" if place % (2 * size) < size else "name number name number"
            raise DatasetError(
                f'{path}, line {place + 2} is {line!r}; here it must be "{kind}", of two different '
                f"{'pictures' if place % (2 * size) < size else 'people'}."
            )
        pairs.append(pair)
    return pairs, [place // (2 * size) for place in range(len(lines))]


def _pair(line: str, *, same: bool) -> tuple[Face, Face] | None:
    """Return the two faces of a line, None where it is not of the kind that its place asks for."""
    match line.split():
        case [name, one, two] if same and one.isdecimal() and two.isdecimal() and int(one) != int(two):
            return (name, int(one)), (name, int(two))
        case [name, one, other, two] if not same and one.isdecimal() and two.isdecimal() and name != other:
            return (name, int(one)), (other, int(two))
        case _:
            return None


def _images(path: Path, faces: list[Face]) -> ImageSet:
    """Return the set of the pictures that pairs name."""
    folder = Faces(path.parent)
    found = [folder.numbered(person, number) for person, number in faces]
    absent = [
        f"{person}/{person}_{number:04d}.jpg"
        for (person, number), file in zip(faces, found, strict=True)
        if file is None
    ]
    if absent:
        raise DatasetError(
            f"{len(absent):,} of {len(faces):,} pictures of {path.name} are not there, "
            f"first {some(absent)}. They are looked for in {folder.root}."
        )
    samples = tuple(
        Sample(file, person, "", path.stem)
        for (person, _), file in zip(faces, found, strict=True)
        if file is not None
    )
    return ImageSet(dataset_name(path.parent), path.stem, samples, "lfw")
