"""The protocols of evaluation, run on an encoder as it is served."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.datasets import ImageSet, load_pixels
from models.distances import l2_normalize, pairwise
from models.metrics import Retrieval, retrieval
from models.runtime import Embeddings, Encoder

__all__ = ["Evaluation", "embed", "evaluate", "mean_cosines"]

_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """How well an encoder finds the identities of one split again.

    Attributes:
        dataset, split: what it was measured on.
        images, identities: how many there are.
        directions: closed-set retrieval by direction. "1 -> 2" takes the pictures of camera 1 as queries
            and those of camera 2 as the gallery. Where there are not just two cameras, "all": every picture
            queries all others, except those of its identity from its own camera (junk).
        cosine_same, cosine_different: the mean cosine similarity of two pictures of one identity, and of two.
            Both near 1 is a collapse, however good the ranks look.
    """

    dataset: str
    split: str
    images: int
    identities: int
    directions: dict[str, Retrieval]
    cosine_same: float | None
    cosine_different: float | None

    def record(self) -> dict[str, Any]:
        """Return it as plain numbers for a bundle's manifest, rounded to what the counts can tell."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images,
            "identities": self.identities,
            "retrieval": {
                direction: {
                    **{f"rank_{k}": round(share, 4) for k, share in result.rank.items()},
                    "mean_average_precision": round(result.mean_average_precision, 4),
                    "queries": result.queries,
                    "skipped": result.skipped,
                    "gallery": result.gallery,
                }
                for direction, result in self.directions.items()
            },
            "cosine_same": None if self.cosine_same is None else round(self.cosine_same, 4),
            "cosine_different": None if self.cosine_different is None else round(self.cosine_different, 4),
        }


def embed(encoder: Encoder, images: ImageSet) -> Embeddings:
    """Return (N, D) the embeddings of a set, in its order, decoded as the bundle says.

    Raises:
        DatasetError: pictures that cannot be read or decoded.
        BundleError: the encoder gave NaN or infinity.
    """
    pixels = load_pixels(images, encoder.manifest.input)
    return np.concatenate(
        [encoder.encode(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)]
    )


def evaluate(encoder: Encoder, images: ImageSet) -> Evaluation:
    """Measure closed-set retrieval across cameras, under the encoder's own metric.

    Where cameras are unknown each picture counts as its own, so that a query is junk to itself alone.

    Raises:
        DatasetError: pictures that cannot be read or decoded.
        InputError: no identity has pictures of two cameras (or, these unknown, two pictures).
    """
    embeddings = embed(encoder, images)
    distances = pairwise(torch.from_numpy(embeddings), metric=encoder.manifest.metric).numpy()
    identities, cameras = images.labels(), _camera_numbers(images)
    directions = {}
    if len(images.cameras) == 2:
        sides = [np.flatnonzero(cameras == number) for number in (0, 1)]
        for query, gallery in ((0, 1), (1, 0)):
            rows, columns = sides[query], sides[gallery]
            name = f"{images.cameras[query]} -> {images.cameras[gallery]}"
            directions[name] = retrieval(
                distances[np.ix_(rows, columns)],
                (identities[rows], identities[columns]),
                (cameras[rows], cameras[columns]),
            )
    else:
        directions["all"] = retrieval(distances, (identities, identities), (cameras, cameras))
    same, different = mean_cosines(embeddings, identities)
    return Evaluation(
        dataset=images.name,
        split=images.split,
        images=len(images),
        identities=len(images.identities),
        directions=directions,
        cosine_same=same,
        cosine_different=different,
    )


def mean_cosines(
    embeddings: Embeddings, identities: npt.NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Return the mean cosine similarity over all pairs of one identity, and over all pairs of two.

    With unit rows u, the sum over all ordered pairs of a set, each row with itself included, is |sum u|^2: no
    pair is ever formed.

    Args:
        embeddings: (N, D), no row zero.
        identities: (N,).

    Returns:
        The two means; None where there is no such pair.
    """
    units = l2_normalize(torch.from_numpy(embeddings)).numpy().astype(np.float64)
    _, numbers, counts = np.unique(identities, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), units.shape[1]))
    np.add.at(sums, numbers, units)
    within = float((sums**2).sum())
    total = float((sums.sum(axis=0) ** 2).sum())
    own = float((units**2).sum())
    same_pairs = int((counts**2).sum()) - len(units)
    different_pairs = len(units) ** 2 - len(units) - same_pairs
    return (
        (within - own) / same_pairs if same_pairs else None,
        (total - within) / different_pairs if different_pairs else None,
    )


def _camera_numbers(images: ImageSet) -> npt.NDArray[np.int64]:
    """Return (N,) the number of each picture's camera, or its own number where cameras are unknown."""
    number = {camera: n for n, camera in enumerate(images.cameras)}
    if not number:
        return np.arange(len(images))
    return np.array([number[sample.camera] for sample in images.samples], dtype=np.int64)
