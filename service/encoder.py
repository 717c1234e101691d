"""The hosted encoder: pictures in, embeddings out, without blocking the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import anyio
import numpy as np
from anyio import CapacityLimiter, to_thread

from models.errors import ImageError
from models.images import ImageLimits, Pixels, decode
from models.runtime import Embeddings, Encoder
from service.errors import OverloadedError, TooLargeError

__all__ = ["HostedEncoder"]


class HostedEncoder:
    """One encoder, its decoding threads and the one thread that runs it.

    A picture that cannot be decoded is its own error and never reaches the encoder. Large requests
    go through in batches of `max_batch`, so that others get their turn in between.
    """

    def __init__(
        self, encoder: Encoder, *, limits: ImageLimits, decoders: int, max_batch: int, max_waiting: int
    ) -> None:
        self.manifest = encoder.manifest
        self.engine_name = encoder.engine.name
        self.device = encoder.engine.device
        self._encoder = encoder
        self._limits = limits
        self._decoding = CapacityLimiter(decoders)
        self._runner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._waiting = 0

    async def embed(self, images: Sequence[bytes]) -> list[Embeddings | ImageError]:
        """Return one (D,) float32 embedding a picture, or the error that it is.

        Raises:
            TooLargeError: more pictures than may ever wait.
            OverloadedError: too many pictures are waiting already.
            BundleError: the encoder gave NaN or infinity.
        """
        if len(images) > self._max_waiting:
            raise TooLargeError(
                f"{len(images)} pictures came at once and at most {self._max_waiting} are taken. "
                "Send them in several requests, or raise LOOKALIKE_MAX_WAITING_IMAGES."
            )
        if self._waiting + len(images) > self._max_waiting:
            raise OverloadedError(
                f"{self._waiting} pictures are waiting and {len(images)} more would exceed the limit of "
                f"{self._max_waiting}. Try again shortly, or send fewer at once."
            )
        self._waiting += len(images)
        try:
            results: list[Embeddings | ImageError] = []
            for start in range(0, len(images), self._max_batch):
                results += await self._embed_batch(images[start : start + self._max_batch])
            return results
        finally:
            self._waiting -= len(images)

    async def encode(self, pixels: Pixels) -> Embeddings:
        """Return the (B, D) float32 embeddings of decoded (B, H, W, C) pictures."""
        return await asyncio.get_running_loop().run_in_executor(self._runner, self._encoder.encode, pixels)

    def close(self) -> None:
        """Stop the encoder's thread once it has finished what it runs."""
        self._runner.shutdown(wait=True, cancel_futures=True)

    async def _embed_batch(self, images: Sequence[bytes]) -> list[Embeddings | ImageError]:
        """Decode side by side, then run the good ones as one batch."""
        decoded: list[Pixels | ImageError | None] = [None] * len(images)

        async def decode_one(position: int) -> None:
            decoded[position] = await to_thread.run_sync(
                self._decode, images[position], limiter=self._decoding
            )

        async with anyio.create_task_group() as tasks:
            for position in range(len(images)):
                tasks.start_soon(decode_one, position)
        good = [pixels for pixels in decoded if isinstance(pixels, np.ndarray)]
        embeddings = iter(await self.encode(np.stack(good)) if good else ())
        return [one if isinstance(one, ImageError) else next(embeddings) for one in decoded]

    def _decode(self, data: bytes) -> Pixels | ImageError:
        """Decode at the encoder's size; an unusable picture is a result, not a failure of the batch."""
        spec = self.manifest.input
        try:
            return decode(
                data,
                (spec.height, spec.width),
                grey=spec.channels == "grey",
                resize=spec.resize,
                limits=self._limits,
            )
        except ImageError as error:
            return error
