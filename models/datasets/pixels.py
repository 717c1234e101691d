"""Pictures of a set as pixels: all at once, or batch by batch where they do not fit into memory."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from models.bars import watched
from models.datasets.samples import ImageSet, Sample
from models.errors import DatasetError, ImageError
from models.images import Pixels, decode
from models.manifest import InputSpec

__all__ = ["Pictures", "check_pictures", "load_pixels"]

_NAMED = 20  # of the pictures that cannot be used
_CHUNK = 64  # pictures a task: few enough that threads end together, enough that tasks cost nothing

Indices = Sequence[int] | npt.NDArray[np.integer]


def load_pixels(images: ImageSet, spec: InputSpec, *, threads: int = 2) -> Pixels:
    """Decode every picture of a set by the function that serves requests, so that both see the same pixels.

    Args:
        images: the set.
        spec: the size and interpolation of an encoder's input.
        threads: that decode.

    Returns:
        (N, H, W, C) uint8 in the order of the samples: RGB, or grey where the encoder takes grey.

    Raises:
        DatasetError: pictures that cannot be read or decoded; how many, and what is wrong with the
            first twenty.
    """
    pixels = np.empty((len(images), spec.height, spec.width, spec.depth), dtype=np.uint8)

    def keep(row: int, picture: Pixels) -> None:
        pixels[row] = picture

    _decode_all(images, spec, keep, threads)
    return pixels


def check_pictures(images: ImageSet, spec: InputSpec, *, threads: int = 2) -> None:
    """Decode every picture of a set once and keep none, before hours of training meet a damaged one.

    Raises:
        DatasetError: pictures that cannot be read or decoded; how many, and what is wrong with the
            first twenty.
    """
    _decode_all(images, spec, lambda row, picture: None, threads)


class Pictures:
    """The pixels of a set, decoded when a batch asks for them; for sets that need not fit into memory.

    A context manager; its methods are for one thread.

    Args:
        images: the set.
        spec: the size and interpolation of an encoder's input.
        threads: that decode.
    """

    def __init__(self, images: ImageSet, spec: InputSpec, *, threads: int = 2) -> None:
        self._samples = images.samples
        self._spec = spec
        self._coming: dict[int, Future[Pixels]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._samples)

    def close(self) -> None:
        """End the threads; what was only fetched ahead is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._coming.clear()

    def prefetch(self, indices: Indices) -> None:
        """Begin to decode the pictures of the batch that comes next, and return at once.

        What an earlier call began and `rows` never asked for is dropped.
        """
        wanted = np.unique(np.asarray(indices, dtype=np.int64))
        keep = set(wanted.tolist())
        for index in [index for index in self._coming if index not in keep]:
            self._coming.pop(index).cancel()
        self._start(wanted)

    def rows(self, indices: Indices) -> Pixels:
        """Return the pixels of a batch.

        Args:
            indices: (n,) samples of the set, in any order, some twice if need be.

        Returns:
            (n, H, W, C) uint8, as `load_pixels` would give them.

        Raises:
            DatasetError: a picture that cannot be read or decoded, the first of the batch by its index.
        """
        distinct, places = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        self._start(distinct)
        shape = (len(distinct), self._spec.height, self._spec.width, self._spec.depth)
        decoded = np.empty(shape, np.uint8)
        # In order, whichever ends first: which error is raised must not depend on the threads.
        for picture, index in zip(decoded, distinct.tolist(), strict=True):
            picture[:] = self._coming.pop(index).result()
        return decoded[places]

    def _start(self, indices: npt.NDArray[np.int64]) -> None:
        """Hand pictures to the threads, but for those that they have already."""
        for index in indices.tolist():
            if index not in self._coming:
                self._coming[index] = self._pool.submit(_decode, self._samples[index], self._spec)


def _decode(sample: Sample, spec: InputSpec) -> Pixels:
    """Return the pixels of one picture.

    Raises:
        DatasetError: it cannot be read or decoded.
    """
    size = (spec.height, spec.width)
    try:
        return decode(sample.path.read_bytes(), size, grey=spec.channels == "grey", resize=spec.resize)
    except ImageError as error:
        raise DatasetError(f"{sample.path}: {error}") from error
    except OSError as error:
        raise DatasetError(f"{sample.path}: {error.strerror}.") from error


def _decode_all(images: ImageSet, spec: InputSpec, keep: Callable[[int, Pixels], None], threads: int) -> None:
    """Decode a set in threads and hand each picture on, from the thread that decoded it.

    Raises:
        DatasetError: how many pictures cannot be used, and what is wrong with the first twenty.
    """

    def work(rows: range) -> list[str]:
        refused: list[str] = []
        for row in rows:
            try:
                picture = _decode(images.samples[row], spec)
            except DatasetError as error:
                refused.append(str(error))
            else:
                keep(row, picture)
        return refused

    starts = range(0, len(images), _CHUNK)
    chunks = [range(start, min(start + _CHUNK, len(images))) for start in starts]
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    try:
        results = watched(pool.map(work, chunks), len(chunks), f"decoding {images.name}/{images.split}")
        refused = [complaint for complaints in results for complaint in complaints]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if refused:
        more = len(refused) - _NAMED
        raise DatasetError(
            f"{len(refused):,} of {len(images):,} pictures of {images.name}/{images.split} cannot be used:"
            + "\n".join(["", *refused[:_NAMED], *([f"... and {more:,} more."] if more > 0 else [])])
        )
