"""Labelled pictures on disk, checked when they are read, and the batches that metric learning needs."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from models.bundle import InputSpec
from models.errors import DatasetError, ImageError
from models.images import Pixels, decode

__all__ = ["ImageSet", "PKSampler", "Sample", "load_pixels", "read_csv", "read_dataset", "read_folders"]

TABLE = "images.csv"
COLUMNS = ("path", "identity", "camera", "split")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture: where it is, whom it shows, and which camera took it ("" where that is unknown)."""

    path: Path
    identity: str
    camera: str
    split: str


@dataclass(frozen=True)
class ImageSet:
    """The pictures of one split of a dataset.

    Attributes:
        name: the dataset's, for reports.
        split: the split's.
        samples: at least one, in a fixed order.
    """

    name: str
    split: str
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __str__(self) -> str:
        cameras = f", {len(self.cameras)} cameras" if self.cameras else ""
        return (
            f"{self.name}/{self.split}: {len(self):,} images of {len(self.identities):,} identities{cameras}"
        )

    @property
    def identities(self) -> tuple[str, ...]:
        """Return the identities, sorted."""
        return tuple(sorted({sample.identity for sample in self.samples}))

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the cameras, sorted; none where any picture's is unknown."""
        cameras = {sample.camera for sample in self.samples}
        return () if "" in cameras else tuple(sorted(cameras))

    def labels(self) -> npt.NDArray[np.int64]:
        """Return (N,) the number of each picture's identity in `identities`."""
        number = {identity: n for n, identity in enumerate(self.identities)}
        return np.array([number[sample.identity] for sample in self.samples], dtype=np.int64)


def read_dataset(folder: Path, split: str) -> ImageSet:
    """Read a folder that holds an images.csv, or else folders of folders.

    Raises:
        DatasetError: see `read_csv` and `read_folders`.
    """
    return read_csv(folder, split) if (folder / TABLE).is_file() else read_folders(folder, split)


def read_csv(folder: Path, split: str) -> ImageSet:
    """Read a split of a folder with an images.csv of the columns path, identity, camera, split.

    Paths are relative to the folder. An empty camera means that it is unknown.

    Raises:
        DatasetError: no table, one that cannot be read, a missing column, an empty identity or path, a path
            that leaves the folder, a picture that is listed twice or is not there, an identity in two
            splits, or no such split.
    """
    table = folder / TABLE
    if not table.is_file():
        raise DatasetError(f"There is no {TABLE} in {folder}.")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise DatasetError(
                    f"{table} has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}."
                )
            rows = [_sample(folder, row, f"{table}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{table} cannot be read ({error}). It must be a table in UTF-8.") from error
    _refuse_repeats(table, rows)
    _refuse_shared_identities(table, rows)
    samples = tuple(row for row in rows if row.split == split)
    if not samples:
        splits = Counter(row.split for row in rows)
        found = ", ".join(f"{name} ({count})" for name, count in sorted(splits.items())) or "none"
        raise DatasetError(f"{table} has no split {split!r}; it has {found}.")
    absent = [sample.path for sample in samples if not sample.path.is_file()]
    if absent:
        raise DatasetError(
            f"{len(absent):,} of {len(samples):,} pictures of the split {split!r} are not there, "
            f"first {_some(absent)}."
        )
    return ImageSet(_name(folder), split, samples)


def read_folders(folder: Path, split: str) -> ImageSet:
    """Read folder/split/identity/*.jpg, .jpeg, .png or .webp; cameras are unknown.

    Raises:
        DatasetError: no such split, or folders of it that hold no picture.
    """
    root = folder / split
    if not root.is_dir():
        found = ", ".join(sorted(path.name for path in folder.glob("*/"))) or "no folder at all"
        raise DatasetError(f"There is neither {TABLE} nor a folder {split!r} in {folder}; it has {found}.")
    samples: list[Sample] = []
    empty: list[Path] = []
    for identity in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = sorted(path for path in identity.iterdir() if path.suffix.lower() in SUFFIXES)
        samples += [Sample(path, identity.name, "", split) for path in paths]
        if not paths:
            empty.append(identity)
    if empty or not samples:
        which = (
            f"{len(empty)} folder(s) of identities hold no picture, first {_some(empty)}"
            if empty
            else (f"{root} holds no folder of an identity")
        )
        raise DatasetError(f"{which}. Pictures are looked for as {split}/<identity>/*.jpg, .png or .webp.")
    return ImageSet(_name(folder), split, tuple(samples))


def load_pixels(images: ImageSet, spec: InputSpec) -> Pixels:
    """Decode every picture of a set by the function that serves requests, so that both see the same pixels.

    Args:
        images: the set.
        spec: the size and interpolation of an encoder's input.

    Returns:
        (N, H, W, C) uint8 in the order of the samples: RGB, or grey where the encoder takes grey.

    Raises:
        DatasetError: pictures that cannot be read or decoded; how many, and what is wrong with the first.
    """
    pixels = np.empty((len(images), spec.height, spec.width, spec.depth), dtype=np.uint8)
    refused: list[str] = []
    for row, sample in zip(pixels, images.samples, strict=True):
        try:
            data = sample.path.read_bytes()
            row[:] = decode(data, (spec.height, spec.width), grey=spec.channels == "grey", resize=spec.resize)
        except ImageError as error:
            refused.append(f"{sample.path}: {error}")
        except OSError as error:
            refused.append(f"{sample.path}: {error.strerror}.")
    if refused:
        raise DatasetError(f"{len(refused):,} of {len(images):,} pictures cannot be used. First {refused[0]}")
    return pixels


class PKSampler:
    """Batches of P identities with K pictures each, as functions of the seed and the step alone.

    A pass goes through the identities in a new random order, P at a time; the fewer than P that remain
    wait for another pass. Of an identity, K pictures are drawn without replacement; one with fewer than K
    gives each of its pictures equally often, up to one, so that some repeat within the batch and differ
    by augmentation only.

    Args:
        labels: (N,) the identity of each picture.
        identities: P, at least 2.
        images: K, at least 2.
        seed: of every draw.

    Raises:
        DatasetError: fewer than P identities.
    """

    def __init__(self, labels: npt.NDArray[np.int64], *, identities: int, images: int, seed: int) -> None:
        order = np.argsort(labels, kind="stable")
        starts = np.flatnonzero(np.diff(labels[order])) + 1
        self._members = np.split(order, starts)
        self._identities = identities
        self._images = images
        self._seed = seed
        if len(self._members) < identities:
            raise DatasetError(
                f"A batch of {identities} identities was asked for and the set has {len(self._members)}. "
                "Ask for fewer identities a batch."
            )

    @property
    def batches_per_pass(self) -> int:
        """Return how many batches a pass through the identities has."""
        return len(self._members) // self._identities

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Return (P * K,) the indices of the pictures of a step, those of an identity side by side."""
        number, place = divmod(step, self.batches_per_pass)
        order = np.random.default_rng([self._seed, 0, number]).permutation(len(self._members))
        chosen = order[place * self._identities : (place + 1) * self._identities]
        rng = np.random.default_rng([self._seed, 0, number, 1 + place])
        return np.concatenate([self._draw(self._members[identity], rng) for identity in chosen])

    def _draw(self, members: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw K of an identity's pictures, all of them before any repeats."""
        return np.resize(rng.permutation(members), self._images)


def _sample(folder: Path, row: dict[str, str], where: str) -> Sample:
    """Make a sample of a row of the table."""
    path, identity = row["path"], row["identity"]
    if not path or not identity:
        raise DatasetError(f"{where} has no {'path' if not path else 'identity'}.")
    inside = PurePosixPath(path)
    if inside.is_absolute() or ".." in inside.parts:
        raise DatasetError(f"{where} names {path!r}, which is not inside the folder.")
    return Sample(folder / inside, identity, row["camera"] or "", row["split"] or "")


def _refuse_repeats(table: Path, rows: list[Sample]) -> None:
    """A picture that is listed twice would be its own positive."""
    repeated = [path for path, count in Counter(row.path for row in rows).items() if count > 1]
    if repeated:
        raise DatasetError(
            f"{table} lists {len(repeated):,} picture(s) more than once, first {_some(repeated)}."
        )


def _refuse_shared_identities(table: Path, rows: list[Sample]) -> None:
    """An identity that is trained on and tested on makes figures that mean nothing."""
    split_of: dict[str, str] = {}
    shared = sorted(
        {row.identity for row in rows if split_of.setdefault(row.identity, row.split) != row.split}
    )
    if shared:
        raise DatasetError(
            f"{table} has {len(shared):,} identities in more than one split, first {', '.join(shared[:3])}."
        )


def _some(paths: list[Path]) -> str:
    """Return the first three paths for a message."""
    return ", ".join(str(path) for path in paths[:3])


def _name(folder: Path) -> str:
    """Return the name that a folder's dataset goes by, never its path."""
    return folder.resolve().name
