"""Labeled Faces in the Wild: people, and how many pictures there are of each."""

from pathlib import Path

from models.datasets.listing import (
    dataset_name,
    folders_in,
    inside,
    pictures_in,
    read_lines,
    refuse_repeats,
    refuse_shared,
    refuse_split,
    some,
)
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError

__all__ = ["PEOPLE", "Faces", "read_lfw"]

# By split; "all" needs no list.
PEOPLE = {"train": "peopleDevTrain.txt", "test": "peopleDevTest.txt"}

_ROOTS = ("lfw", "images", "lfw-deepfunneled", "lfw_funneled")


class Faces:
    """The pictures Person_Name/Person_Name_0001.jpg of a folder, by person and number.

    Args:
        folder: the dataset's; people are looked for in its lfw, images, lfw-deepfunneled or lfw_funneled,
            and, where it has none of these, in itself.
    """

    def __init__(self, folder: Path) -> None:
        self.root = next((folder / name for name in _ROOTS if (folder / name).is_dir()), folder)
        self._files: dict[str, dict[str, Path]] = {}

    def people(self) -> list[str]:
        """Return the names of the people, sorted."""
        return [path.name for path in folders_in(self.root)]

    def numbered(self, person: str, number: int) -> Path | None:
        """Return a person's picture of a number, None where it is not there."""
        return self._of(person).get(f"{person}_{number:04d}")

    def every(self, person: str) -> list[Path]:
        """Return all pictures of a person, sorted.

        Raises:
            DatasetError: there is none, or one is not named as Person_Name_0001.
        """
        files = self._of(person)
        wrong = [path for stem, path in files.items() if not _is_of(person, stem)]
        if wrong or not files:
            what = f"holds {some(wrong)}" if wrong else "holds no picture"
            raise DatasetError(
                f"{self.root / person} {what}; pictures are looked for as {person}/{person}_0001.jpg."
            )
        return list(files.values())

    def _of(self, person: str) -> dict[str, Path]:
        """Return the pictures in a person's folder by file name without suffix."""
        if person not in self._files:
            folder = inside(self.root, person, "A list of LFW")
            paths = pictures_in(folder) if folder.is_dir() else []
            self._files[person] = {path.stem: path for path in paths}
            if len(self._files[person]) != len(paths):
                raise DatasetError(
                    f"{folder} has pictures that differ in their suffix alone, of {len(paths)} in all. "
                    "Leave one of each."
                )
        return self._files[person]


def read_lfw(folder: Path, split: str) -> ImageSet:
    """Read the people of peopleDevTrain.txt as "train", of peopleDevTest.txt as "test", or "all" there are.

    Cameras are unknown. `models.datasets.pairs.read_pairs` reads the pairs of the verification protocol.

    Raises:
        DatasetError: no such split, a list of another form or length, pictures that are not there, a person
            in both lists, or a file that is not named as its folder.

    Source:
        Huang et al., Labeled Faces in the Wild, University of Massachusetts 07-49, 2007.
    """
    refuse_split(folder, split, (*PEOPLE, "all"))
    faces = Faces(folder)
    if split == "all":
        samples = [
            Sample(path, person, "", split) for person in faces.people() for path in faces.every(person)
        ]
    else:
        lists = {name: _people(folder / file) for name, file in PEOPLE.items() if (folder / file).is_file()}
        if split not in lists:
            raise DatasetError(
                f"There is no {PEOPLE[split]} in {folder}; the split {split!r} of LFW needs it. "
                'The split "all" takes every picture without a list.'
            )
        refuse_shared(folder, ((person, name) for name, people in lists.items() for person, _ in people))
        samples = _listed(faces, lists[split], split)
    if not samples:
        raise DatasetError(f"{faces.root} holds no folder of a person.")
    return ImageSet(dataset_name(folder), split, tuple(samples), "lfw")


def _people(path: Path) -> list[tuple[str, int]]:
    """Return the people of a list and how many pictures each has."""
    first, *lines = read_lines(path, "LFW")
    people: list[tuple[str, int]] = []
    for number, line in enumerate(lines, start=2):
        match line.split():
            case [person, count] if count.isdecimal() and int(count) > 0:
                people.append((person, int(count)))
            case _:
                raise DatasetError(f'{path}, line {number} is {line!r}; it must be "Person_Name count".')
    if first.strip() != str(len(people)):
        raise DatasetError(
            f"{path} says {first.strip()!r} people and lists {len(people):,}. "
            "It may be cut off: fetch it again."
        )
    refuse_repeats(path, (person for person, _ in people), "people")
    return people


def _listed(faces: Faces, people: list[tuple[str, int]], split: str) -> list[Sample]:
    """Return the pictures of a list of people, in its order."""
    samples: list[Sample] = []
    absent: list[str] = []
    for person, count in people:
        for number in range(1, count + 1):
            path = faces.numbered(person, number)
            if path is None:
                absent.append(f"{person}/{person}_{number:04d}.jpg")
            else:
                samples.append(Sample(path, person, "", split))
    if absent:
        raise DatasetError(
            f"{len(absent):,} of {len(absent) + len(samples):,} pictures of {PEOPLE[split]} are not there, "
            f"first {some(absent)}. They are looked for in {faces.root}."
        )
    return samples


def _is_of(person: str, stem: str) -> bool:
    """Return whether a file name is the person's with a number of four digits."""
    name, _, number = stem.rpartition("_")
    return name == person and len(number) == 4 and number.isdecimal()
