"""One way into every form of dataset."""

from collections.abc import Callable
from pathlib import Path

from models.datasets.folders import read_folders
from models.datasets.lfw import read_lfw
from models.datasets.market1501 import read_market1501
from models.datasets.omniglot import ARCHIVES, read_omniglot
from models.datasets.products import TEST_LIST, TRAIN_LIST, read_products
from models.datasets.samples import ImageSet
from models.datasets.table import TABLE, read_csv
from models.datasets.vehicleid import LISTS, read_vehicleid
from models.datasets.veri776 import read_veri776
from models.errors import DatasetError, OptionError

__all__ = ["READERS", "detect_form", "read_dataset"]

READERS: dict[str, Callable[[Path, str], ImageSet]] = {
    "csv": read_csv,
    "market1501": read_market1501,
    "veri776": read_veri776,
    "vehicleid": read_vehicleid,
    "sop": read_products,
    "lfw": read_lfw,
    "omniglot": read_omniglot,
    "folders": read_folders,
}

# What a form is known by: any of these in the folder. The order counts; "folders" is what remains.
_SIGNS: dict[str, tuple[str, ...]] = {
    "csv": (TABLE,),
    "market1501": ("bounding_box_train", "bounding_box_test"),
    "veri776": ("image_train", "image_query", "image_test"),
    "vehicleid": (LISTS,),
    "sop": (TRAIN_LIST, TEST_LIST),
    "lfw": ("pairs*.txt", "people*.txt"),
    "omniglot": (*ARCHIVES.values(), "*/character[0-9][0-9]"),
}


def read_dataset(folder: Path, split: str, *, form: str = "auto") -> ImageSet:
    """Read a split of a dataset of any form; see docs/datasets.md for each.

    Args:
        folder: the dataset's.
        split: as the form calls it.
        form: one of `READERS`, or "auto" to tell it by what lies in the folder.

    Raises:
        OptionError: no such form.
        DatasetError: no such folder, or what the reader of the form finds wrong.
    """
    if form != "auto" and form not in READERS:
        raise OptionError(
            f"form is {form!r}; it must be auto or one of {', '.join(READERS)}.", argument="form"
        )
    if not folder.is_dir():
        raise DatasetError(f"There is no folder {folder}. Give the folder of a dataset.")
    return READERS[detect_form(folder) if form == "auto" else form](folder, split)


def detect_form(folder: Path) -> str:
    """Return the first form of which a sign lies in the folder, or else "folders"."""
    for form, signs in _SIGNS.items():
        if any(next(folder.glob(sign), None) is not None for sign in signs):
            return form
    return "folders"
