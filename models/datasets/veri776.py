"""VeRi-776: vehicles in twenty cameras, with queries that are members of the gallery."""

import re
from pathlib import Path

from models.datasets.named import Layout, read_named
from models.datasets.samples import ImageSet

__all__ = ["read_veri776"]

_LAYOUT = Layout(
    form="veri776",
    title="VeRi-776",
    parts={
        "train": (("image_train", ""),),
        "test": (("image_query", "query"), ("image_test", "gallery")),
    },
    names=re.compile(r"(?P<identity>\d{4})_c(?P<camera>\d{3})_\d+_\d+\.(?i:jpe?g|png)"),
    example="0001_c001_00016450_0.jpg",
    lists={"image_train": "name_train.txt", "image_query": "name_query.txt", "image_test": "name_test.txt"},
)


def read_veri776(folder: Path, split: str) -> ImageSet:
    """Read image_train as "train", image_query and image_test as "test".

    Where name_train.txt, name_query.txt or name_test.txt is there, it says which pictures of the folder
    count, and their order. Queries are in the gallery too: same identity and camera, so that rankings leave
    the query itself out.

    Raises:
        DatasetError: see `models.datasets.named.read_named`.

    Source:
        Liu et al., A Deep Learning-based Approach to Progressive Vehicle Re-identification, ECCV 2016.
    """
    return read_named(folder, split, _LAYOUT)
