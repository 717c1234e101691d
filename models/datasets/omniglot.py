"""Omniglot: characters of many alphabets, each drawn by twenty people."""

from pathlib import Path

from models.datasets.listing import (
    dataset_name,
    folders_in,
    pictures_in,
    refuse_shared,
    refuse_split,
    some,
)
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError

__all__ = ["ARCHIVES", "read_omniglot"]

# For each split, what its folders and the archives that they come from are called.
ARCHIVES = {"train": "images_background*", "test": "images_evaluation*"}


def read_omniglot(folder: Path, split: str) -> ImageSet:
    """Read alphabet/character/*.png of the background sets as "train", of images_evaluation as "test".

    Where neither is there, alphabet/character lies in the folder itself and the split is "all". A character
    that is found in two background sets is one, and of its files of one name the first counts. The identity
    is "Alphabet/character", and the group its alphabet.

    Raises:
        DatasetError: no such split, folders of it that were not unzipped, an alphabet without a character or
            a character without a picture, or a character in both splits.

    Source:
        Lake et al., Human-level concept learning through probabilistic program induction, Science 2015.
    """
    roots = {name: _folders(folder, pattern) for name, pattern in ARCHIVES.items()}
    if not any(roots.values()) and not _archives(folder, "images_*"):
        roots = {"all": [folder]}
    refuse_split(folder, split, roots)
    if not roots[split]:
        raise DatasetError(_missing(folder, split))
    files = _characters(roots[split])
    other = {identity: name for name in roots if name != split for identity in _character_names(roots[name])}
    refuse_shared(folder, [*((identity, split) for identity in files), *other.items()])
    samples = tuple(
        Sample(path, identity, "", split, group=identity.partition("/")[0])
        for identity in sorted(files)
        for path in files[identity].values()
    )
    return ImageSet(dataset_name(folder), split, samples, "omniglot")


def _characters(roots: list[Path]) -> dict[str, dict[str, Path]]:
    """Return the files of every character by their names, in order; earlier folders win."""
    found: dict[str, dict[str, Path]] = {}
    empty: list[Path] = []
    for root in roots:
        for alphabet in folders_in(root):
            characters = folders_in(alphabet)
            empty += [] if characters else [alphabet]
            for character in characters:
                paths = pictures_in(character)
                empty += [] if paths else [character]
                files = found.setdefault(f"{alphabet.name}/{character.name}", {})
                for path in paths:
                    files.setdefault(path.name, path)
    if empty or not found:
        which = f"{len(empty):,} folder(s) hold no character, first {some(empty)}" if empty else "it has none"
        raise DatasetError(
            f"Characters are looked for as alphabet/character/*.png in {some(roots)}: {which}. "
            "Unzip Omniglot again."
        )
    return {identity: dict(sorted(files.items())) for identity, files in found.items()}


def _character_names(roots: list[Path]) -> set[str]:
    """Return the identities of the characters, pictures or not."""
    return {
        f"{alphabet.name}/{character.name}"
        for root in roots
        for alphabet in folders_in(root)
        for character in folders_in(alphabet)
    }


def _folders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders of a name, sorted."""
    return sorted(path for path in folder.glob(pattern) if path.is_dir())


def _archives(folder: Path, pattern: str) -> list[Path]:
    """Return the archives of a name, sorted."""
    return sorted(folder.glob(f"{pattern}.zip"))


def _missing(folder: Path, split: str) -> str:
    """Say that a split's folders are not there, and what to do."""
    archives = _archives(folder, ARCHIVES[split])
    if not archives:
        return f"There is no folder {ARCHIVES[split]} in {folder}; the split {split!r} of Omniglot needs it."
    return (
        f"{folder} holds {len(archives):,} zip archive(s) of Omniglot's split {split!r} and no folder, first "
        f"{some([path.name for path in archives])}. Unzip each, for example: "
        f"python -m zipfile -e {archives[0].name} ."
    )
