"""The hosted encoder: pictures in, embeddings out, without blocking the event loop."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from anyio import to_thread

from models.engines import Embeddings
from models.errors import ImageError, OptionError
from models.faces import FaceChoice, measure
from models.images import ImageLimits, Pixels, decode, shorter_side, thumbnail
from models.runtime import Encoder
from service.admission import Admission, WaitingLimits
from service.batch_size import BatchLimits
from service.batching import Batcher, Encode
from service.decoding import DecodePool
from service.errors import EncoderFailedError
from service.jobs import Job, Look, View
from service.pace import Pace
from service.seen import Seen, one_of
from service.telemetry import Telemetry

__all__ = ["HostedEncoder", "HostingLimits"]

_AS_USUAL = Look()


@dataclass(frozen=True, slots=True)
class HostingLimits:
    """What one hosted encoder may take.

    Attributes:
        batch: of its batches.
        images: of each picture.
        decoders: threads that decode.
        waiting: what may have been admitted and not be answered yet.
    """

    batch: BatchLimits
    images: ImageLimits
    decoders: int
    waiting: WaitingLimits


@dataclass(frozen=True, slots=True)
class RunsOn:
    """What is told of an engine, which the batcher alone holds, and lets go of at its end.

    Attributes:
        name, device, lanes: the engine's.
    """

    name: str
    device: str
    lanes: int

    @classmethod
    def of(cls, encoder: Encoder) -> "RunsOn":
        """Return it of an encoder."""
        return cls(encoder.engine.name, encoder.engine.device, encoder.engine.lanes)


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

    Attributes:
        manifest, faces: the encoder's.
        engine: what it runs on.
        name: by which it is hosted.
        admission: counts what waits, and refuses.
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
        self.engine = RunsOn.of(encoder)
        self.faces = encoder.faces
        self._limits, self._telemetry = limits, telemetry
        self._metrics = metrics = telemetry.of_encoder(self.name)
        self._reload = reload
        self._jobs: set[Job] = set()
        pace = Pace()
        self.admission = Admission(
            self.name,
            limits=limits.waiting,
            pace=pace,
            requests=lambda: len(self._jobs),
            telemetry=telemetry,
        )
        self._decoding = DecodePool(
            self._decode, threads=self._decoders(), ahead=2 * limits.batch.most, metrics=metrics
        )
        self._batcher = Batcher(
            self._encoding(encoder),
            renew=self._renew,
            limits=limits.batch,
            metrics=metrics,
            pace=pace,
            source=self._decoding,
            lanes=lambda: self.engine.lanes,
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
        return self.admission.images

    async def embed(
        self, images: Sequence[bytes], look: Look = _AS_USUAL, *, deadline: float = math.inf
    ) -> list[Embeddings | ImageError]:
        """Return one (D,) float32 embedding a picture, or the error that it is; of faces the largest one's.

        Args:
            images: the files.
            look: how they are looked at; of all faces the largest counts.
            deadline: as in `see`.

        Raises:
            OptionError, TooLargeError, OverloadedError, EncoderFailedError, BundleError: as `see`.
        """
        return [one_of(seen) for seen in await self.see(images, self.for_one(look), deadline=deadline)]

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
        results = job.crops()
        if unusable := sum(isinstance(result, ImageError) for result in results):
            self._telemetry.rejected(self.name, "unusable", unusable)
        all_seen: list[Seen | ImageError] = []
        for position, result in enumerate(results):
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

    def for_one(self, look: Look) -> Look:
        """Return how to look where a picture is to give one embedding: of all faces the largest counts."""
        return replace(look, faces="largest") if self.chosen(look) == "all" else look

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
        self.admission.refuse_late(deadline, len(images))
        self.admission.admit(images)
        job = Job(
            images,
            settled=self.admission.release,
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

    def _renew(self) -> Encode:
        """Load the encoder once more, on the engine that it then takes."""
        encoder = self._reload()
        self.engine = RunsOn.of(encoder)
        return self._encoding(encoder)

    def _encoding(self, encoder: Encoder) -> Encode:
        """Return how a batch is encoded: by all processors where nothing else was admitted."""
        return lambda pixels: encoder.encode(pixels, alone=self.admission.images <= len(pixels))

    def _decoders(self) -> int:
        """Return how many threads decode: none where the engine has a lane for every processor."""
        lanes = self.engine.lanes if self.engine.device == "cpu" and self.faces is None else 0
        return 0 if lanes >= self._limits.decoders else self._limits.decoders

    def _drop(self, job: Job) -> None:
        """Forget what of a job has not begun; nobody waits for it."""
        job.wanted = False
        left = self._decoding.drop(job) + self._batcher.drop(job)
        self._metrics.dropped_images.inc(len({job.picture_of(place) for place in left}))
        for place in left:
            job.settle(place, EncoderFailedError("Nobody waited for it."))

    def _decode(self, job: Job, position: int) -> Sequence[Pixels]:
        """Decode a picture at the encoder's size, or in full where the faces in it are to be found."""
        data, look, spec, limits = job.files[position], job.look, self.manifest.input, self._limits.images
        small = None if look.thumbnail is None else thumbnail(data, look.thumbnail, limits=limits)
        if self.faces is not None:
            found = self.faces.find(decode(data, limits=limits), look.faces)
            job.views[position] = View(faces=found.faces, thumbnail=small)
            return found.crops
        grey, size = spec.channels == "grey", (spec.height, spec.width)
        pixels = decode(data, size, grey=grey, resize=spec.resize, limits=limits)
        if look.quality or small is not None:
            quality = measure(pixels, shorter_side(data)) if look.quality else None
            job.views[position] = View(quality=quality, thumbnail=small)
        return [pixels]


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    """Wake, from any thread, who waits for a job."""

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(wake)
