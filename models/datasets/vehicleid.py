"""VehicleID: vehicles from the front and from behind, with test lists of three sizes."""

from pathlib import Path

from models.datasets.listing import (
    SUFFIXES,
    dataset_name,
    inside,
    read_lines,
    refuse_absent,
    refuse_repeats,
    refuse_shared,
    refuse_split,
)
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError

__all__ = ["LISTS", "read_vehicleid"]

LISTS = "train_test_split"


def read_vehicleid(folder: Path, split: str) -> ImageSet:
    """Read image/*.jpg by train_test_split/train_list.txt or test_list_800.txt, _1600 or _2400.

    The splits are "train" and "test_800", "test_1600", "test_2400", as far as their lists are there. The
    protocol draws the gallery, one picture of each identity, ten times: samples have no roles.

    Raises:
        DatasetError: no such split, a line of another form, a picture that is listed twice or is not there,
            or an identity in this split and in the train or test one.

    Source:
        Liu et al., Deep Relative Distance Learning: Tell the Difference Between Similar Vehicles, CVPR 2016.
    """
    lists = {"train": folder / LISTS / "train_list.txt"} | {
        f"test_{path.stem.rpartition('_')[2]}": path
        for path in sorted((folder / LISTS).glob("test_list_*.txt"), key=lambda path: (len(path.name), path))
    }
    refuse_split(folder, split, lists)
    rows = _rows(lists[split])
    apart = [other for other in lists if (other == "train") != (split == "train") and lists[other].is_file()]
    refuse_shared(
        folder / LISTS,
        [(identity, split) for _, identity in rows]
        + [(identity, "other") for other in apart for _, identity in _rows(lists[other])],
    )
    samples = tuple(
        Sample(inside(folder / "image", _file_name(name), str(lists[split])), identity, "", split)
        for name, identity in rows
    )
    refuse_absent([sample.path for sample in samples], f"the split {split!r}")
    return ImageSet(dataset_name(folder), split, samples, "vehicleid")


def _rows(path: Path) -> list[tuple[str, str]]:
    """Return the name and the vehicle of each line."""
    rows: list[tuple[str, str]] = []
    for number, line in enumerate(read_lines(path, "VehicleID"), start=1):
        match line.split():
            case [name, vehicle]:
                rows.append((name, vehicle))
            case _:
                raise DatasetError(
                    f'{path}, line {number} is {line!r}; it must be "name vehicleID", as in "0205078 4692".'
                )
    refuse_repeats(path, (_file_name(name) for name, _ in rows))
    return rows


def _file_name(name: str) -> str:
    """Return the file of a name, which the lists have without its suffix."""
    return name if Path(name).suffix.lower() in SUFFIXES else f"{name}.jpg"
