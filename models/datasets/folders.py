"""Folders of folders: folder/split/identity/picture."""

from pathlib import Path

from models.datasets.listing import dataset_name, folders_in, pictures_in, refuse_shared, some
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError

__all__ = ["read_folders"]


def read_folders(folder: Path, split: str) -> ImageSet:
    """Read folder/split/identity/*.jpg, .jpeg, .png or .webp; cameras are unknown.

    Where there is no folder "all", the split "all" is folder/identity/*.jpg: pictures that nobody parted yet.

    Raises:
        DatasetError: no such split, folders of it that hold no picture, or an identity in two splits.
    """
    root = folder / split
    if split == "all" and not root.is_dir():
        root = folder
    if not split or not root.is_dir():
        found = ", ".join(path.name for path in folders_in(folder)) or "no folder at all"
        raise DatasetError(
            f"There is no folder {split!r} in {folder}; it has {found}. Pictures are looked for as "
            "<split>/<identity>/*.jpg, by an images.csv, or in one of the other forms of docs/datasets.md. "
            "Pictures as <identity>/*.jpg, not yet parted, are the split 'all': train with --train-split all "
            "--hold-out 0.2, evaluate with --split all."
        )
    if root != folder:
        splits = folders_in(folder)
        refuse_shared(
            folder, ((identity.name, path.name) for path in splits for identity in folders_in(path))
        )
    samples: list[Sample] = []
    empty: list[Path] = []
    for identity in folders_in(root):
        paths = pictures_in(identity)
        samples += [Sample(path, identity.name, "", split) for path in paths]
        if not paths:
            empty.append(identity)
    if empty or not samples:
        which = (
            f"{len(empty)} folder(s) of identities hold no picture, first {some(empty)}"
            if empty
            else f"{root} holds no folder of an identity"
        )
        raise DatasetError(
            f"{which}. Pictures are looked for as {'' if root == folder else split + '/'}<identity>/*.jpg, "
            ".png or .webp."
        )
    return ImageSet(dataset_name(folder), split, tuple(samples), "folders")
