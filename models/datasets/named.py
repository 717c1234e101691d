"""Re-identification sets that say identity and camera in the file name, a folder for each part."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.datasets.listing import (
    dataset_name,
    inside,
    pictures_in,
    read_lines,
    refuse_absent,
    refuse_repeats,
    refuse_shared,
    refuse_split,
    some,
)
from models.datasets.samples import ImageSet, Role, Sample
from models.errors import DatasetError

__all__ = ["Layout", "read_named"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """Where such a set keeps what.

    Attributes:
        form: the reader's name.
        title: the dataset's own name.
        parts: for each split its folders, with the role of their pictures.
        names: what the whole file name must be; the groups are "identity" and "camera".
        example: a file name.
        lists: for a folder the text that lists its pictures; used where it is there.
    """

    form: str
    title: str
    parts: Mapping[str, tuple[tuple[str, Role], ...]]
    names: re.Pattern[str]
    example: str
    lists: Mapping[str, str]


def read_named(folder: Path, split: str, layout: Layout) -> ImageSet:
    """Read a split; the other one is looked at too, for identities that are in both.

    Raises:
        DatasetError: no such split, a missing or empty folder, a file name of another form, a picture that is
            listed twice or is not there, or an identity in two splits.
    """
    refuse_split(folder, split, layout.parts)
    absent = [name for name, _ in layout.parts[split] if not (folder / name).is_dir()]
    if absent:
        raise DatasetError(
            f"There is no folder {' and no '.join(absent)} in {folder}; the split {split!r} "
            f"of {layout.title} needs it. Give the folder that its archive unpacks to."
        )
    splits = {
        other: [
            sample
            for name, role in parts
            if (folder / name).is_dir()
            for sample in _read_part(folder / name, other, role, layout)
        ]
        for other, parts in layout.parts.items()
    }
    refuse_shared(folder, ((sample.identity, other) for other in splits for sample in splits[other]))
    samples = tuple(splits[split])
    refuse_absent([sample.path for sample in samples], f"the split {split!r}")
    return ImageSet(dataset_name(folder), split, samples, layout.form)


def _read_part(part: Path, split: str, role: Role, layout: Layout) -> list[Sample]:
    """Return the samples of one folder."""
    paths = _paths(part, layout)
    if not paths:
        raise DatasetError(f"{part} holds no picture. Unpack {layout.title} again.")
    matches = [layout.names.fullmatch(path.name) for path in paths]
    wrong = [path.name for path, match in zip(paths, matches, strict=True) if match is None]
    if wrong:
        raise DatasetError(
            f"{len(wrong):,} of {len(paths):,} file names in {part} are not of {layout.title}'s form "
            f"({layout.example}), first {some(wrong)}. Take them out or rename them."
        )
    return [
        Sample(path, match["identity"], match["camera"], split, role)
        for path, match in zip(paths, matches, strict=True)
        if match is not None
    ]


def _paths(part: Path, layout: Layout) -> list[Path]:
    """Return a folder's pictures: those of its list, in the list's order, or else all."""
    listed = part.parent / layout.lists.get(part.name, "")
    if not listed.is_file():
        return pictures_in(part)
    names = [line.strip() for line in read_lines(listed, layout.title)]
    refuse_repeats(listed, names)
    paths = [inside(part, name, f"{listed}, line {line}") for line, name in enumerate(names, start=1)]
    listed_names = set(names)
    unlisted = [path.name for path in pictures_in(part) if path.name not in listed_names]
    if unlisted:
        log.warning(
            "%s does not list %s of the pictures in %s; they are left out, first %s.",
            listed.name,
            f"{len(unlisted):,}",
            part.name,
            some(unlisted),
        )
    return paths
