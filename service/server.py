"""The process around the application: uvicorn, signals, and an orderly end."""

import gc
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import Future
from types import FrameType

import uvicorn

from service.app import create_app
from service.connections import BoundedProtocol
from service.gallery.opening import Outcome
from service.settings import Settings

__all__ = ["Server", "run"]

_logger = logging.getLogger("lookalike")


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; return when all that was answered is finished and closed.

    Raises:
        SystemExit: the server could not start, or a collection not be opened (code 1); it has logged why.
    """
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        http=BoundedProtocol,
        ws="none",
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    # uvicorn stops on SIGTERM and then raises it again, to whoever handled it before; an orderly
    # stop is a success, so here it ends.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        Server(config, drain=app.state.drain, drain_s=settings.drain_s, opened=app.state.opened).run()
    except KeyboardInterrupt:
        pass  # likewise raised again after an orderly stop
    except SystemExit:  # uvicorn's way to give up while it starts
        sys.exit(1)
    finally:
        gc.freeze()  # or the interpreter's last collection walks through all of torch, for a second
    code = int(_failed(app.state.opened))
    _leave_computations(code)
    if code:
        sys.exit(code)


class Server(uvicorn.Server):
    """Stops in two steps at SIGTERM: it says at once that it is not ready, and closes after the drain.

    A load balancer looks at readiness every few seconds, and sends requests until it has: these are answered.
    A second signal ends the drain. It says when all collections are open and which could not be, and
    ends where that breaks down.

    Args:
        config: uvicorn's.
        drain: is set when the drain begins.
        drain_s: how long it takes.
        opened: what came of opening the collections, once they are.
    """

    def __init__(
        self, config: uvicorn.Config, *, drain: threading.Event, drain_s: float, opened: "Future[Outcome]"
    ) -> None:
        super().__init__(config)
        self._drain, self._drain_s = drain, drain_s
        self._opened, self._told = opened, False
        self._close_at = math.inf

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and let the garbage collector leave alone what now stays as long as the server does.

        Torch alone is 200,000 objects; to walk through them takes a fifth of a second, in which nothing is
        answered, and comes the more often the more requests wait.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the drain, or end at once."""
        if sig != signal.SIGTERM or not self._drain_s or self._drain.is_set():
            super().handle_exit(sig, frame)
            return
        self._close_at = time.monotonic() + self._drain_s
        self._drain.set()

    async def on_tick(self, counter: int) -> bool:
        """Close once the drain is over, or where opening the collections broke down."""
        if self._opened.done() and not self._told:
            self._told = True
            self._tell()
        self.should_exit = self.should_exit or time.monotonic() >= self._close_at
        return await super().on_tick(counter)

    def _tell(self) -> None:
        if _failed(self._opened):
            _logger.error("Opening the collections broke down; the server stops.")
            self.should_exit = True
        elif not self._opened.cancelled():
            _logger.info("Ready. Collections: %s.", self._opened.result())


def _failed(opened: "Future[Outcome]") -> bool:
    return opened.done() and not opened.cancelled() and opened.exception() is not None


def _leave_computations(code: int) -> None:
    """End here and now where a request that outlasted the grace still computes; all else is closed."""
    main_thread = threading.main_thread()
    others = [one for one in threading.enumerate() if one is not main_thread and not one.daemon]
    for thread in others:
        thread.join(timeout=0.2)  # the idle ones are about to end
    if any(thread.is_alive() for thread in others):
        logging.shutdown()
        os._exit(code)
