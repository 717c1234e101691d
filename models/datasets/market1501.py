"""Market-1501: persons in six cameras, with queries and a gallery."""

import re
from pathlib import Path

from models.datasets.named import Layout, read_named
from models.datasets.samples import ImageSet

__all__ = ["read_market1501"]

_LAYOUT = Layout(
    form="market1501",
    title="Market-1501",
    parts={
        "train": (("bounding_box_train", ""),),
        "test": (("query", "query"), ("bounding_box_test", "gallery")),
    },
    names=re.compile(r"(?P<identity>-1|\d{4})_c(?P<camera>\d+)s\d+_\d+_\d+\.(?i:jpe?g|png)"),
    example="0002_c1s1_000451_03.jpg",
    lists={},
)


def read_market1501(folder: Path, split: str) -> ImageSet:
    """Read bounding_box_train as "train", query and bounding_box_test as "test".

    Identity -1 in the gallery is junk: `ImageSet.labels` says -1 and rankings leave it out. Identity 0000 are
    distractors, which nobody looks for and which stay.

    Raises:
        DatasetError: see `models.datasets.named.read_named`.

    Source:
        Zheng et al., Scalable Person Re-identification: A Benchmark, ICCV 2015.
    """
    return read_named(folder, split, _LAYOUT)
