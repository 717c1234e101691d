"""`lookalike serve`: an option for every setting, and the checks that come before the slow imports."""

import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from service.cli.loading import loading
from service.cli.options import Command
from service.settings import ENV_PREFIX, Settings, unknown_variables

__all__ = ["GraceOver", "serve"]


def _settings_options(command: Command) -> Command:
    """Add an option for every setting, with its description, default and variable."""
    for name, setting in reversed(Settings.model_fields.items()):
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            type=_click_type(setting),
            default=None,
            help=f"{setting.description}  [{ENV_PREFIX}{name.upper()}; default: {setting.default}]",
        )
        command = option(command)
    return command


def _click_type(setting: FieldInfo) -> Any:
    annotation: Any = setting.annotation
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    return click.Path(path_type=Path) if annotation is Path else annotation


@click.command()
@_settings_options
def serve(**given: Any) -> None:
    """Start the server. Options win over LOOKALIKE_* variables, which win over defaults."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise click.UsageError(
            f"--{name.replace('_', '-')} ({ENV_PREFIX}{name.upper()}): {first['msg']}."
        ) from error
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("faiss.loader").setLevel("WARNING")  # it tells which vector units it tries
    logging.getLogger("uvicorn.error").addFilter(GraceOver())
    for sentence in unknown_variables():
        logging.getLogger("lookalike").warning(sentence)
    _refuse_taken_address(settings.host, settings.port)
    # As process 1 of a container it would ignore SIGTERM until uvicorn handles it, seconds from here.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with loading():
        from service.server import run  # noqa: PLC0415 - torch and faiss take seconds that --help need not

    run(settings)


class GraceOver(logging.Filter):
    """Says in our words, and as a warning, what is an error to uvicorn: that requests outlasted the grace."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if not str(record.msg).startswith("Cancel %s running task(s)"):
            return True
        record.msg = "Requests that outlasted LOOKALIKE_SHUTDOWN_GRACE_S, and are ended now: %s."
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return logging.getLogger(record.name).isEnabledFor(record.levelno)


def _refuse_taken_address(host: str, port: int) -> None:
    """Fail at once where the server could not listen, before it spends seconds on loading."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on port {port} of {host}: {error.strerror}. Stop what listens there, or choose "
            "another --port or --host."
        ) from error
