"""Embeddings of whole sets, batch by batch, and of an encoder that has learned nothing."""

import numpy as np
import numpy.typing as npt
import torch

from models.bars import watched
from models.datasets import ImageSet, Pictures, check_pictures
from models.distances import l2_normalize
from models.engines import Device, Embeddings, TorchEngine
from models.errors import DatasetError, OptionError
from models.networks import build_network
from models.runtime import Encoder

__all__ = ["embed", "mean_cosines", "untrained"]

_BATCH = 64


def embed(encoder: Encoder, images: ImageSet, *, threads: int = 2) -> Embeddings:
    """Return (N, D) the embeddings of a set, in its order, decoded as the bundle says.

    Args:
        encoder: one that nobody else calls meanwhile.
        images: the set; no more than two batches of its pixels are held.
        threads: that decode.

    Raises:
        DatasetError: pictures that cannot be read or decoded; how many of the set, and what is wrong with the
            first twenty.
        BundleError: the encoder gave NaN or infinity.
    """
    try:
        return _embed(encoder, images, threads)
    except DatasetError:
        check_pictures(images, encoder.manifest.input, threads=threads)  # names the others too
        raise


def _embed(encoder: Encoder, images: ImageSet, threads: int) -> Embeddings:
    spec = encoder.manifest.input
    batches = [range(at, min(at + _BATCH, len(images))) for at in range(0, len(images), _BATCH)]
    parts: list[Embeddings] = []
    with Pictures(images, spec, threads=threads) as pictures:
        pictures.prefetch(batches[0])
        what = f"encoding {images.name}/{images.split}"
        for number in watched(range(len(batches)), len(batches), what):
            pixels = pictures.rows(batches[number])
            pictures.prefetch(batches[number + 1] if number + 1 < len(batches) else ())
            parts.append(encoder.encode(pixels))
    return np.concatenate(parts)


def untrained(encoder: Encoder, seed: int = 0) -> Encoder:
    """Return an encoder of the same architecture and input whose weights are drawn at random.

    Torch's own random generator is left as it was.

    Raises:
        OptionError: the encoder is an ONNX graph, which does not say how its weights are drawn.
    """
    architecture = encoder.manifest.architecture
    if architecture is None:
        raise OptionError(
            f"The encoder {encoder.manifest.name!r} is an ONNX graph: how its weights were drawn before it "
            "was trained is not known, so there is no baseline of random weights.",
            argument="baseline",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(architecture.name, **architecture.params)
    device: Device = "cuda" if encoder.engine.device == "cuda" else "cpu"
    return Encoder(encoder.manifest, TorchEngine(network, encoder.manifest.input, device))


def mean_cosines(
    embeddings: Embeddings, identities: npt.NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Return the mean cosine similarity over all pairs of one identity, and over all pairs of two.

    With unit rows u, the sum over all ordered pairs of a set, each row with itself included, is |sum u|^2: no
    pair is ever formed.

    Args:
        embeddings: (N, D), no row zero.
        identities: (N,); pictures of -1 are left out.

    Returns:
        The two means; None where there is no such pair.
    """
    somebody = identities != -1
    if not somebody.any():
        return None, None
    units = l2_normalize(torch.from_numpy(embeddings[somebody])).numpy().astype(np.float64)
    _, numbers, counts = np.unique(identities[somebody], return_inverse=True, return_counts=True)
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
