"""Whether any query of a set has something to find, said before a picture is encoded."""

import numpy as np

from models.datasets import ImageSet
from models.errors import InputError
from models.evaluation.subject import Labels, picture_numbers

__all__ = ["check_findable"]


def check_findable(images: ImageSet, *, protocols: bool = True) -> None:
    """Refuse a set in which no query has a picture of its identity to find.

    Args:
        images: what a protocol looks at, see `subject.measured_by`.
        protocols: whether another protocol could be asked for, so that the message may name one.

    Raises:
        InputError: there is none; the message says why, and what to do.
    """
    name = f"{images.name}/{images.split}"
    labels, queries, gallery = images.labels(), images.queries(), images.gallery()
    if not (labels != -1).any():
        raise InputError(
            f"All pictures of {name} are of nobody (-1), so that there is nothing to find. Give them "
            "identities, or measure another split."
        )
    if not len(queries) or not len(gallery):
        raise InputError(
            f"{name} has {len(queries):,} queries and {len(gallery):,} pictures in the gallery; it needs "
            "both."
            + (" With --protocol metric-learning every picture queries all others." if protocols else "")
        )
    if not _any_findable(labels, picture_numbers(images), queries, gallery):
        raise InputError(
            f"No query of {name} is of an identity that the gallery shows. Add what the queries should find."
            if images.has_roles
            else f"No identity of {name} has a second picture, so that there is nothing to find. Measure a "
            "split that has several of an identity."
        )
    cameras = images.camera_labels()
    if cameras is not None and not _any_findable(labels, cameras, queries, gallery):
        raise InputError(
            f"No query of {name} has anything to find: pictures of its own camera do not count, and no other "
            "camera shows its identity."
            + (" --protocol metric-learning does not look at cameras." if protocols else "")
        )


def _any_findable(labels: Labels, shots: Labels, queries: Labels, gallery: Labels) -> bool:
    """Return whether a query has a gallery entry of its label and of another shot."""
    entries = gallery[labels[gallery] != -1]
    asked = queries[labels[queries] != -1]
    count = int(labels.max()) + 1
    least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(least, labels[entries], shots[entries])
    np.maximum.at(most, labels[entries], shots[entries])
    label, shot = labels[asked], shots[asked]
    found = (most[label] >= 0) & ((least[label] != shot) | (most[label] != shot))
    return bool(found.any())
