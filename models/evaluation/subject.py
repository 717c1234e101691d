"""What is measured: a set of labelled pictures with the embeddings that an encoder gives them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.datasets import HELD_OUT, ImageSet, Pairs, detect_form, hold_out, read_dataset, read_pairs
from models.datasets.samples import NOBODY
from models.engines import Embeddings
from models.errors import DatasetError, OptionError

__all__ = [
    "PROTOCOLS",
    "Labels",
    "Protocol",
    "Subject",
    "choose_protocol",
    "measured_by",
    "picture_numbers",
    "read_held_out",
    "read_subject",
]

Protocol = Literal["re-identification", "vehicleid", "lfw", "omniglot", "metric-learning"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

Labels = npt.NDArray[np.int64]

_PAIRS_OF = {"train": "pairsDevTrain.txt", "test": "pairsDevTest.txt", "all": "pairs.txt"}


@dataclass(frozen=True, eq=False)
class Subject:
    """A set and its embeddings.

    Attributes:
        images: the set.
        embeddings: (N, D) float32, in its order.
        metric: the row metric that they are compared by.
    """

    images: ImageSet
    embeddings: Embeddings
    metric: str

    def measured_by(self, protocol: Protocol) -> "Subject":
        """Return what a protocol looks at, see `measured_by`."""
        images, rows = measured_by(self.images, protocol)
        return replace(self, images=images, embeddings=self.embeddings[rows])

    @property
    def tensor(self) -> Tensor:
        """(N, D) the embeddings as a tensor, of the same memory."""
        return torch.from_numpy(self.embeddings)

    @cached_property
    def labels(self) -> Labels:
        """(N,) the identities, -1 for nobody."""
        return self.images.labels()

    @cached_property
    def cameras(self) -> Labels | None:
        """(N,) the cameras, None where they are unknown."""
        return self.images.camera_labels()

    @cached_property
    def shots(self) -> Labels:
        """(N,) the cameras; where they are unknown each picture's own, so that it is junk to itself alone."""
        return picture_numbers(self.images) if self.cameras is None else self.cameras

    @cached_property
    def once(self) -> Labels:
        """(M,) which samples are each picture for the first time: VeRi-776's queries are there twice."""
        return np.sort(np.unique(picture_numbers(self.images), return_index=True)[1])

    @cached_property
    def known(self) -> Labels:
        """(N,) the identities whose pictures can be paired, -1 for all others.

        Where queries are given, identities that none of them has are distractors: those of one number
        (Market-1501's 0000) are many people, so that two of them are no genuine pair.
        """
        return _known(self.images)


def choose_protocol(images: ImageSet, protocol: Protocol | str = "auto") -> Protocol:
    """Return the protocol that a set is measured by: its form's own, else what its cameras allow.

    Raises:
        OptionError: there is no such protocol.
    """
    if protocol != "auto":
        if protocol not in PROTOCOLS:
            message = f"protocol is {protocol!r}; it must be auto or one of {', '.join(PROTOCOLS)}."
            raise OptionError(message, argument="protocol")
        return protocol
    for own in PROTOCOLS:
        if images.form == own:
            return own
    return "re-identification" if images.cameras or images.has_roles else "metric-learning"


def picture_numbers(images: ImageSet) -> Labels:
    """Return (N,) the number of each sample's picture: one that is a query and in the gallery has one.

    VeRi-776 has a folder for each role, and such a picture in both by one name.
    """
    names = [
        "/".join((sample.identity, sample.camera, sample.path.name)) if sample.role else str(sample.path)
        for sample in images.samples
    ]
    return np.unique(names, return_inverse=True)[1]


def measured_by(images: ImageSet, protocol: Protocol) -> tuple[ImageSet, Labels]:
    """Return what a protocol looks at of a set, and (M,) which of its samples that are.

    Only re-identification knows cameras, queries and a gallery. To all others every picture is like every
    other: each is there once (VeRi-776's queries are in its gallery too), and distractors are nobody.
    """
    everything = np.arange(len(images))
    if protocol == "re-identification" or not (images.cameras or images.has_roles):
        return images, everything
    once = np.sort(np.unique(picture_numbers(images), return_index=True)[1])
    known = _known(images)
    samples = tuple(
        replace(
            images.samples[row],
            camera="",
            role="",
            identity=images.samples[row].identity if known[row] != -1 else NOBODY,
        )
        for row in once.tolist()
    )
    return replace(images, samples=samples), once


def read_subject(source: Path, split: str, *, form: str = "auto") -> tuple[ImageSet, Pairs | None]:
    """Read a dataset's split, or LFW's pairs.

    Of LFW, the split "train" is read as pairsDevTrain.txt, "test" as pairsDevTest.txt and "all" as pairs.txt
    where these are there: the set is then the pictures that the pairs name.

    Args:
        source: the dataset's folder, or a file of pairs in LFW's form.
        split: as the form calls it.
        form: as `models.datasets.read_dataset`.

    Raises:
        DatasetError: nothing there, or what the form's reader finds wrong.
        OptionError: no such form.
    """
    if not source.exists():
        raise DatasetError(f"There is no {source}. Give a dataset's folder, or a file of LFW's pairs.")
    path = source
    if source.is_dir():
        if split not in _PAIRS_OF or (detect_form(source) if form == "auto" else form) != "lfw":
            return read_dataset(source, split, form=form), None
        path = source / _PAIRS_OF[split]
        if not path.is_file():
            return read_dataset(source, split, form="lfw"), None
    pairs = read_pairs(path)
    return pairs.images, pairs


def read_held_out(training: Mapping[str, Any] | None, source: Path, *, form: str = "auto") -> ImageSet:
    """Return the pictures that a training held out, to measure on them once more.

    Args:
        training: what the encoder's manifest says of how it was made.
        source: the folder of the dataset that it was trained on.
        form: as `models.datasets.read_dataset`.

    Raises:
        OptionError: it held nothing out.
        DatasetError: this is another dataset, or it has changed since; as `models.datasets.read_dataset`.
    """
    training = training or {}
    config = training.get("config") or {}
    held = config.get("hold_out")
    if held is None:
        raise OptionError(
            f"The split {HELD_OUT!r} is of encoders that were trained with --hold-out, and this one was not.",
            argument="split",
        )
    images = read_dataset(source, config["train_split"], form=form)
    rest, out = hold_out(images, held if isinstance(held, float) else tuple(held), seed=config["seed"])
    if images.name != training["dataset"] or len(rest.identities) != training["identities"]:
        raise DatasetError(
            f"{images.name}, with {len(rest.identities):,} identities to learn from, is not the dataset "
            f"{training['dataset']} with {training['identities']:,} that the encoder was trained on, so that "
            "what was held out cannot be told."
        )
    return out


def _known(images: ImageSet) -> Labels:
    labels, queries = images.labels(), images.queries()
    if not images.has_roles or not len(queries):
        return labels
    return np.where(np.isin(labels, labels[queries]), labels, -1)
