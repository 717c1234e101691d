"""Stanford Online Products: pictures of things for sale, a class for each thing."""

from pathlib import Path

from models.datasets.listing import (
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

__all__ = ["TEST_LIST", "TRAIN_LIST", "read_products"]

TRAIN_LIST, TEST_LIST = "Ebay_train.txt", "Ebay_test.txt"
COLUMNS = "image_id class_id super_class_id path"


def read_products(folder: Path, split: str) -> ImageSet:
    """Read the split "train" by Ebay_train.txt, or "test" by Ebay_test.txt.

    The identity is the class_id. Every picture queries all others: samples have no roles.

    Raises:
        DatasetError: no such split, a list without its header, a line of another form, a picture that is
            listed twice or is not there, or a class in both lists.

    Source:
        Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016.
    """
    lists = {"train": folder / TRAIN_LIST, "test": folder / TEST_LIST}
    refuse_split(folder, split, lists)
    samples = _samples(folder, lists[split], split)
    other = "test" if split == "train" else "train"
    rest = _samples(folder, lists[other], other) if lists[other].is_file() else []
    refuse_shared(folder, ((sample.identity, sample.split) for sample in samples + rest))
    refuse_absent([sample.path for sample in samples], f"the split {split!r}")
    return ImageSet(dataset_name(folder), split, tuple(samples), "sop")


def _samples(folder: Path, path: Path, split: str) -> list[Sample]:
    """Return what a list names, there or not."""
    header, *lines = read_lines(path, "Stanford Online Products")
    if header.split() != COLUMNS.split():
        raise DatasetError(f'{path} starts with {header!r}; it must start with "{COLUMNS}".')
    if not lines:
        raise DatasetError(f"{path} lists no picture. Fetch it again.")
    samples: list[Sample] = []
    for number, line in enumerate(lines, start=2):
        match line.split():
            case [_, class_id, kind, name]:
                where = f"{path}, line {number}"
                samples.append(Sample(inside(folder, name, where), class_id, "", split, group=kind))
            case _:
                raise DatasetError(f'{path}, line {number} is {line!r}; it must be "{COLUMNS}".')
    refuse_repeats(path, (sample.path for sample in samples))
    return samples
