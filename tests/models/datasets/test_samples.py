"""A set counts what it holds and can be divided."""

from pathlib import Path

import pytest

from models.datasets import ImageSet, Sample


@pytest.fixture
def images() -> ImageSet:
    described = (("b", "2"), ("a", "1"), ("-1", "1"), ("b", "1"))
    samples = tuple(Sample(Path(f"{n}.jpg"), *pair, "train") for n, pair in enumerate(described))
    return ImageSet("some", "train", samples, "csv")


def test_labels_number_the_identities_and_not_nobody(images: ImageSet) -> None:
    assert images.identities == ("a", "b")
    assert images.labels().tolist() == [1, 0, -1, 1]


def test_cameras_are_numbered(images: ImageSet) -> None:
    labels = images.camera_labels()
    assert labels is not None
    assert labels.tolist() == [1, 0, 0, 0]


def test_a_set_says_what_it_counts(images: ImageSet) -> None:
    assert str(images) == "some/train: 4 images of 2 identities, 2 cameras, 1 of nobody"
    assert str(images.subset([1], split="one")) == "some/one: 1 image of 1 identity, 1 camera"


def test_a_subset_keeps_order_form_and_name(images: ImageSet) -> None:
    part = images.subset([3, 1], split="held_out")
    assert [sample.path.name for sample in part.samples] == ["3.jpg", "1.jpg"]
    assert {sample.split for sample in part.samples} == {"held_out"}
    assert (part.name, part.split, part.form) == ("some", "held_out", "csv")
    assert images.samples[1].split == "train"
