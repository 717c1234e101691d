"""The hosted encoder: pictures in, embeddings out, without blocking the event loop."""

import asyncio
import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from anyio import to_thread

from models.engines import Embeddings
from models.errors import ImageError, NoFaceError, OptionError, SeveralFacesError
from models.faces import FaceChoice, measure
from models.images import ImageLimits, Pixels, decode, shorter_side
from models.runtime import Encoder
from service.batching import Batcher, BatchLimits
from service.decoding import DecodePool
from service.errors import EncoderFailedError, OverloadedError, TooLargeError
from service.jobs import Job, Look, View
from service.pace import Pace
from service.telemetry import Telemetry

__all__ = ["HostedEncoder", "HostingLimits", "Seen"]

# Of the time that a request has left, what others may take before it has its turn. The rest is for its own
# pictures, and for how far an estimate may be off.
_SHARE = 0.5
_LONGEST_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class HostingLimits:
    """What one hosted encoder may take.

    Attributes:
        batch: of its batches.
        images: of each picture.
        decoders: threads that decode.
        waiting_images, waiting_bytes: that may have been admitted and not be answered yet.
    """

    batch: BatchLimits
    images: ImageLimits
    decoders: int
    waiting_images: int
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a picture came to.

    Attributes:
        embeddings: (D,) float32 each: of the picture, or of those of its faces that were asked for.
        view: what is in it; under `one`, several faces without an embedding.
    """

    embeddings: list[Embeddings]
    view: View

    def one(self) -> Embeddings:
        """Return the embedding of the picture, or of the largest face that was asked for.

        Raises:
            NoFaceError, SeveralFacesError: there is none.
        """
        if self.embeddings:
            return self.embeddings[0]
        count = len(self.view.faces or ())
        if count:
            raise SeveralFacesError(
                f"There are {count} faces in it and exactly one was asked for. Crop the picture, or take "
                "the largest face (faces: largest)."
            )
        raise NoFaceError(
            "No face was found in it. Send a picture that shows one, upright and not too small."
        )


class HostedEncoder:
    """One encoder with its threads: pictures are admitted, decoded, batched and encoded.

    A request is admitted whole or not at all. Requests have turns, picture by picture, in decoding and in
    batches. A picture that cannot be decoded is its own error and never reaches the encoder.

    Args:
        encoder: what is hosted.
        name: by which it is hosted; None is the bundle's own.
        reload: loads it once more, where it hangs.
        limits: see `HostingLimits`.
        telemetry: where all of it is noted, under the encoder's name.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        reload: Callable[[], Encoder],
        limits: HostingLimits,
        telemetry: Telemetry,
        name: str | None = None,
    ) -> None:
        self.manifest = encoder.manifest
        self.name = name or encoder.manifest.name
        self.engine = encoder.engine
        self.faces = encoder.faces
        self._limits, self._telemetry = limits, telemetry
        self._metrics = metrics = telemetry.of_encoder(self.name)
        self._images = self._bytes = 0  # admitted and not settled; under the lock
        self._lock = threading.Lock()
        metrics.waiting_images.set_function(lambda: self.waiting)
        metrics.waiting_bytes.set_function(lambda: self._bytes)
        self._pace = Pace()
        metrics.expected_wait.set_function(lambda: self._images * self._pace.seconds)
        self._jobs: set[Job] = set()
        self._decoding = DecodePool(
            self._decode, threads=limits.decoders, ahead=2 * limits.batch.most, metrics=metrics
        )
        self._batcher = Batcher(
            encoder.encode,
            renew=lambda: reload().encode,
            limits=limits.batch,
            metrics=metrics,
            pace=self._pace,
            room=self._decoding.wake,
        )
        self._decoding.start(self._batcher)

    @property
    def failure(self) -> str | None:
        """Return why it cannot encode any more, until it is started anew; None where it can."""
        return self._batcher.failure

    @property
    def busy(self) -> bool:
        """Return whether somebody waits for it."""
        return bool(self._jobs)

    @property
    def waiting(self) -> int:
        """Return how many pictures were admitted and are not settled yet."""
        return self._images

    def wait_before(self, images: int) -> float:
        """Return how many seconds other pictures take before a request with so many has all its turns.

        Requests have turns: before one with a single picture there is at most one of each of the others.
        """
        return min(self._images, images * len(self._jobs)) * self._pace.seconds

    def refuse_late(self, deadline: float, images: int = 1) -> None:
        """Refuse pictures where others take half of the time that is left, and say when to come back.

        Args:
            deadline: by the event loop's clock; infinity for none.
            images: of the request.

        Raises:
            OverloadedError: so much is waiting already.
        """
        if deadline == math.inf:
            return
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        wait = self.wait_before(images)
        if wait > _SHARE * left:
            self._telemetry.rejected(self.name, "too_late", images)
            raise OverloadedError(
                f"About {wait:.1f} seconds of other pictures come before these, too much for a deadline in "
                f"{left:.1f} seconds. Give it more time, or try again shortly.",
                retry_after_s=_whole_seconds(wait - _SHARE * left),
            )

    async def embed(
        self, images: Sequence[bytes], *, deadline: float = math.inf
    ) -> list[Embeddings | ImageError]:
        """Return one (D,) float32 embedding a picture, or the error that it is; of faces the largest one's.

        Args:
            images: the files.
            deadline: as in `see`.

        Raises:
            TooLargeError, OverloadedError, EncoderFailedError, BundleError: as `see`.
        """
        return [_one(seen) for seen in await self.see(images, Look(), deadline=deadline)]

    async def see(
        self, images: Sequence[bytes], look: Look, *, deadline: float = math.inf
    ) -> list[Seen | ImageError]:
        """Return what each picture came to, or the error that it is.

        Where the caller is cancelled, what has not begun is dropped.

        Args:
            images: the files.
            look: how they are looked at.
            deadline: after which nobody waits for them, by the event loop's clock; it is cancelled then.

        Raises:
            OptionError: faces are to be chosen, and the encoder finds none.
            TooLargeError: more pictures than may ever wait.
            OverloadedError: too much is waiting already.
            EncoderFailedError: the encoder failed, hangs or was closed.
            BundleError: the encoder gave NaN or infinity.
        """
        if look.faces is not None and self.faces is None:
            raise OptionError(
                f"The encoder {self.name!r} has no face detector: each picture is one crop. "
                "Leave `faces` out.",
                argument="faces",
            )
        if not images:
            return []
        job = await self._run(images, look, deadline)
        all_seen: list[Seen | ImageError] = []
        for position, result in enumerate(job.crops()):
            if isinstance(result, ImageError):
                all_seen.append(result)
            elif isinstance(result, Exception):
                raise result
            else:
                all_seen.append(Seen(result, job.views.get(position) or View()))
        return all_seen

    def chosen(self, look: Look) -> FaceChoice | None:
        """Return which faces of a picture count; None where the encoder does not look for faces."""
        return None if self.faces is None else look.faces or self.faces.usual

    async def check(self) -> None:
        """Encode a grey picture, as one is encoded for a client.

        Raises:
            EncoderFailedError, BundleError: as `embed`.
        """
        spec = self.manifest.input
        pixels = np.full((spec.height, spec.width, spec.depth), 127, dtype=np.uint8)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        job = Job([b""], settled=lambda size: None, done=lambda job: _tell(loop, done))
        self._batcher.put(job, 0, pixels)
        await done
        (result,) = job.results()
        if isinstance(result, Exception):
            raise result

    async def close(self) -> None:
        """Stop once what runs is done; who still waits gets an exception."""
        await to_thread.run_sync(self._decoding.close)
        await to_thread.run_sync(self._batcher.close)

    async def _run(self, images: Sequence[bytes], look: Look, deadline: float) -> Job:
        """Admit pictures as a job and return it when all are settled."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self.refuse_late(deadline, len(images))
        self._admit(images)
        job = Job(
            images,
            settled=self._release,
            done=lambda job: _tell(loop, done),
            look=look,
        )
        self._jobs.add(job)
        self._decoding.add(job)
        try:
            await done
        except asyncio.CancelledError:
            self._drop(job)
            self._telemetry.rejected(
                self.name, "deadline" if loop.time() >= deadline else "left", len(images)
            )
            raise
        finally:
            self._jobs.discard(job)
        return job

    def _admit(self, images: Sequence[bytes]) -> None:
        count, size = len(images), sum(map(len, images))
        limits, name = self._limits, self.name
        if count > limits.waiting_images or size > limits.waiting_bytes:
            self._telemetry.rejected(name, "too_many", count)
            raise TooLargeError(
                f"{count:,} pictures of {size:,} bytes came at once; at most {limits.waiting_images:,} "
                f"(LOOKALIKE_MAX_WAITING_IMAGES) of {limits.waiting_bytes:,} bytes "
                "(LOOKALIKE_MAX_WAITING_BYTES) are taken. Send them in several requests."
            )
        with self._lock:
            waiting = self._images
            if waiting + count <= limits.waiting_images and self._bytes + size <= limits.waiting_bytes:
                self._images += count
                self._bytes += size
                return
        self._telemetry.rejected(name, "queue_full", count)
        raise OverloadedError(
            f"{waiting:,} pictures are waiting and {count:,} more would exceed the limit of "
            f"{limits.waiting_images:,}, or that of {limits.waiting_bytes:,} bytes. Try again shortly, "
            "or send fewer at once.",
            retry_after_s=_whole_seconds(min(count, waiting) * self._pace.seconds),
        )

    def _release(self, size: int) -> None:
        """Take a settled picture off the count."""
        with self._lock:
            self._images -= 1
            self._bytes -= size

    def _drop(self, job: Job) -> None:
        """Forget what of a job has not begun; nobody waits for it."""
        job.wanted = False
        left = self._decoding.drop(job) + self._batcher.drop(job)
        self._metrics.dropped_images.inc(len(left))
        for position in left:
            job.settle(position, EncoderFailedError("Nobody waited for it."))

    def _decode(self, job: Job, position: int) -> Sequence[Pixels]:
        """Decode a picture at the encoder's size, or in full where the faces in it are to be found."""
        data, spec, limits = job.files[position], self.manifest.input, self._limits.images
        if self.faces is not None:
            found = self.faces.find(decode(data, limits=limits), job.look.faces)
            job.views[position] = View(faces=found.faces)
            return found.crops
        grey, size = spec.channels == "grey", (spec.height, spec.width)
        pixels = decode(data, size, grey=grey, resize=spec.resize, limits=limits)
        if job.look.quality:
            job.views[position] = View(quality=measure(pixels, shorter_side(data)))
        return [pixels]


def _one(seen: Seen | ImageError) -> Embeddings | ImageError:
    if isinstance(seen, ImageError):
        return seen
    try:
        return seen.one()
    except ImageError as error:
        return error


def _whole_seconds(wait: float) -> int:
    """Return when to come back, as Retry-After has it."""
    return min(_LONGEST_RETRY_S, max(1, math.ceil(wait)))


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    """Wake, from any thread, who waits for a job."""

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(wake)
