"""Open-set identification: half of the identities are enrolled, and the others are probes of nobody."""

import numpy as np

from models.errors import InputError
from models.evaluation.closed_set import Search
from models.evaluation.subject import Subject
from models.metrics import OpenSet, open_set_of

__all__ = ["enrol", "measure_open_set"]


def measure_open_set(subject: Subject, *, draws: int = 1000, seed: int = 0) -> OpenSet:
    """Return DIR at FPIR under the set's own metric.

    Args:
        subject: the set.
        draws: of the intervals' bootstrap.
        seed: of the bootstrap, and of who is enrolled.

    Raises:
        InputError: too few identities to enrol one and to leave one out.
    """
    search = enrol(subject, seed)
    return open_set_of(
        subject.embeddings[search.queries],
        subject.embeddings[search.gallery],
        (subject.known[search.queries], subject.known[search.gallery]),
        metric=subject.metric,
        bootstrap=(draws, seed),
    )


def enrol(subject: Subject, seed: int = 0) -> Search:
    """Draw who is enrolled, and by which picture; all other pictures are probes.

    Half of the identities that have a picture of another camera (or, cameras unknown, another picture) are
    enrolled, by one random picture of the gallery. Their pictures of that camera are no probes. Where the
    set says which pictures are queries, only these are probes. Pictures of nobody are left out.

    Raises:
        InputError: no identity can be enrolled.
    """
    generator = np.random.default_rng(seed)
    gallery, queries = subject.images.gallery(), subject.images.queries()
    gallery, queries = (side[subject.known[side] != -1] for side in (gallery, queries))
    shuffled = generator.permutation(gallery)
    names, first = np.unique(subject.known[shuffled], return_index=True)
    pictures = shuffled[first]
    camera_of = dict(zip(names.tolist(), subject.shots[pictures].tolist(), strict=True))
    own = np.array([camera_of.get(label, -1) for label in subject.known[queries].tolist()])
    findable = (own != -1) & (own != subject.shots[queries])
    candidates = np.unique(subject.known[queries[findable]])
    if not len(candidates):
        raise InputError("Open-set identification needs identities with a second picture, and none has one.")
    mated = generator.permutation(candidates)[: max(1, len(names) // 2)]
    enrolled = pictures[np.isin(names, mated)]
    is_mated = np.isin(subject.known[queries], mated)
    return Search(queries[~is_mated | findable], enrolled)
