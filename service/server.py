"""The process around the application: uvicorn, signals, and an orderly end."""

import gc
import logging
import os
import signal
import sys
import threading

import uvicorn

from service.app import create_app
from service.settings import Settings

__all__ = ["run"]


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; return when all that was answered is finished and closed.

    Raises:
        SystemExit: the server could not start (code 1); it has logged why.
    """
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    # uvicorn stops on SIGTERM and then raises it again, to whoever handled it before; an orderly
    # stop is a success, so here it ends.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.Server(config).run()
    except KeyboardInterrupt:
        pass  # likewise raised again after an orderly stop
    except SystemExit:  # uvicorn's way to give up while it starts
        sys.exit(1)
    finally:
        gc.freeze()  # or the interpreter's last collection walks through all of torch, for a second
    _leave_computations()


def _leave_computations() -> None:
    """End here and now where a request that outlasted the grace still computes; all else is closed."""
    main_thread = threading.main_thread()
    others = [one for one in threading.enumerate() if one is not main_thread and not one.daemon]
    for thread in others:
        thread.join(timeout=0.2)  # the idle ones are about to end
    if any(thread.is_alive() for thread in others):
        logging.shutdown()
        os._exit(0)
