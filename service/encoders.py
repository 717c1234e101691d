"""The hosted encoders, by name: one is the default, and each can be replaced while it serves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from anyio import to_thread

from models.errors import BundleError, LookalikeError
from models.runtime import Encoder
from service.encoder import HostedEncoder, HostingLimits
from service.errors import ConflictError, NotFoundError
from service.memory import give_back
from service.telemetry import Telemetry

__all__ = ["Compare", "HostedEncoders", "Load"]

Compare = Callable[[Path, str], Awaitable[bool]]  # a bundle, and the engine that runs it
Load = Callable[[Path], Encoder]

_logger = logging.getLogger("lookalike")

# One that was replaced serves whoever had it in hand; nobody has for so long without sending it a picture.
_GRACE_S = 10.0
_LOOK_S = 0.1


class HostedEncoders:
    """Encoders that are hosted side by side.

    Args:
        load: makes an encoder of a bundle's folder, checked and warm; runs in a thread.
        limits: of each encoder.
        telemetry: where all of them are noted, by name.
        compare: looks for a faster engine, and says if `load` takes another now; None does not look.
    """

    def __init__(
        self, *, load: Load, limits: HostingLimits, telemetry: Telemetry, compare: Compare | None = None
    ) -> None:
        self._load, self._limits, self._telemetry, self._compare = load, limits, telemetry, compare
        self._hosted: dict[str, HostedEncoder] = {}
        self._default: str | None = None
        self._changing = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._looking: set[asyncio.Task[None]] = set()  # for faster engines

    @property
    def default(self) -> HostedEncoder:
        """Return the encoder of requests that name none."""
        assert self._default is not None, "an encoder is hosted before anything is served"
        return self._hosted[self._default]

    def all(self) -> list[HostedEncoder]:
        """Return the encoders, the default first and the others by name."""
        return sorted(self._hosted.values(), key=lambda one: (one.name != self._default, one.name))

    def named(self, name: str | None) -> HostedEncoder:
        """Return the encoder of a name; None is the default one.

        Raises:
            NotFoundError: no such encoder is hosted.
        """
        if name is None:
            return self.default
        if name not in self._hosted:
            known = ", ".join(repr(one.name) for one in self.all())
            raise NotFoundError(f"No encoder {name!r} is hosted here; there is {known}.")
        return self._hosted[name]

    def of_fingerprint(self, fingerprint: str | None) -> HostedEncoder | None:
        """Return an encoder whose embeddings can be compared with those of a fingerprint, or None."""
        return next((one for one in self.all() if one.manifest.fingerprint == fingerprint), None)

    async def host(self, folder: Path, name: str | None = None) -> HostedEncoder:
        """Load a bundle and host it; the first is the default.

        One of that name serves on until the new one is loaded, checked and warm; then new requests get the
        new one, and the old one ends what it has. Where the bundle cannot be used nothing changes.

        Args:
            folder: the bundle's.
            name: by which it is hosted; None is the bundle's own.

        Raises:
            BundleError: it is damaged, cannot be run, or gives other outputs than it states.
        """
        hosted = await self._put(folder, name)
        assert hosted is not None, "only what is put over another may find that gone"
        if self._compare is not None:
            _keep(asyncio.create_task(self._look(hosted, folder, self._compare)), self._looking)
        return hosted

    def remove(self, name: str) -> None:
        """Host an encoder no longer; it ends what it has.

        Raises:
            NotFoundError: no such encoder is hosted.
            ConflictError: it is the default.
        """
        hosted = self.named(name)
        if hosted is self.default:
            raise ConflictError(f"{name!r} is the default encoder. Replace it instead.")
        del self._hosted[name]
        self._telemetry.forget_queue(name)
        self._retire(hosted)

    async def close(self) -> None:
        """Stop all of them, once what runs is done."""
        for tasks in (self._looking, self._retiring):
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for hosted in self._hosted.values():
            await hosted.close()

    def failures(self) -> Mapping[str, str]:
        """Return why encoders cannot encode any more, by their names."""
        return {one.name: one.failure for one in self.all() if one.failure}

    async def _put(
        self, folder: Path, name: str | None, over: HostedEncoder | None = None
    ) -> HostedEncoder | None:
        """Load a bundle and give it its place; None where it was to be put over one that is gone by now."""
        async with self._changing:
            if over is not None and self._hosted.get(over.name) is not over:
                return None
            encoder = await _apart(self._load, folder)
            if over is not None:
                if self._hosted.get(over.name) is not over:  # removed while this was loaded
                    return None
                _check_same(encoder, over.manifest.fingerprint)
            fingerprint = encoder.manifest.fingerprint
            hosted = HostedEncoder(
                encoder,
                name=name,
                reload=lambda: self._load_same(folder, fingerprint),
                limits=self._limits,
                telemetry=self._telemetry,
            )
            old = self._hosted.get(hosted.name)
            self._hosted[hosted.name] = hosted
            self._default = self._default or hosted.name
        _logger.info(
            "Encoder %s: %d dimensions, %s on %s, fingerprint %s%s.",
            hosted.name,
            hosted.manifest.dimension,
            hosted.engine.name,
            hosted.engine.device,
            hosted.manifest.fingerprint[:12],
            _in_place_of(old, hosted),
        )
        if old is not None:
            self._retire(old)
        return hosted

    def _load_same(self, folder: Path, fingerprint: str) -> Encoder:
        encoder = self._load(folder)
        _check_same(encoder, fingerprint)
        return encoder

    def _retire(self, hosted: HostedEncoder) -> None:
        _keep(asyncio.create_task(_close_when_idle(hosted)), self._retiring)

    async def _look(self, hosted: HostedEncoder, folder: Path, compare: Compare) -> None:
        """Put an encoder on a faster engine, where there is one, unless another has taken its place."""
        try:
            if await compare(folder, hosted.engine.name):
                await self._put(folder, hosted.name, over=hosted)
        except LookalikeError as error:
            _logger.warning("The encoder %r stays on %s: %s", hosted.name, hosted.engine.name, error)
        except Exception:  # nobody waits for it
            _logger.exception("The encoder %r stays on %s.", hosted.name, hosted.engine.name)


def _in_place_of(old: HostedEncoder | None, new: HostedEncoder) -> str:
    """Return what the log says of the one that a new encoder takes the place of."""
    if old is None:
        return ""
    if old.manifest.fingerprint == new.manifest.fingerprint:
        return f", the same as before on {old.engine.name}"
    return f", in place of {old.manifest.fingerprint[:12]}"


def _check_same(encoder: Encoder, fingerprint: str) -> None:
    """Refuse a bundle that was replaced on the disk: an operator hosts another, and nobody else.

    Raises:
        BundleError: it is another encoder by now.
    """
    if encoder.manifest.fingerprint != fingerprint:
        raise BundleError(
            f"The bundle of {encoder.manifest.name!r} was replaced by another on the disk. Host that one by "
            "PUT /v1/encoders/{name}, or restart the service."
        )


async def _apart(load: Load, folder: Path) -> Encoder:
    """Load in a thread that ends with it.

    Each thread that has computed with PyTorch keeps helpers of its own, and where all of them are more than
    there are processors, OpenMP lets them sleep between two operators: small ones then take twice as long, as
    long as the thread lives. A worker of anyio's would live on.
    """
    executor = ThreadPoolExecutor(1, thread_name_prefix="load-encoder")
    try:
        return await asyncio.get_running_loop().run_in_executor(executor, load, folder)
    finally:
        executor.shutdown(wait=False)


def _keep(task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
    """Hold a task until it ends; asyncio itself does not."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _close_when_idle(hosted: HostedEncoder) -> None:
    """Close an encoder that is not handed out any more, when nobody can still have it in hand."""
    loop = asyncio.get_running_loop()
    idle_since = loop.time()
    try:
        while loop.time() - idle_since < _GRACE_S:
            await asyncio.sleep(_LOOK_S)
            idle_since = loop.time() if hosted.busy else idle_since
    finally:
        await asyncio.shield(hosted.close())
    await to_thread.run_sync(give_back)
