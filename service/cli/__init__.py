"""The command `lookalike`: one module for each family of commands, loaded without torch."""

from typing import Any

import click

from models.errors import InterruptedWorkError, LookalikeError
from service.cli.backups import backup, restore_backup
from service.cli.encoders import draw, encoder
from service.cli.evaluation import evaluate
from service.cli.exporting import export_items
from service.cli.importing import import_items
from service.cli.numeric import distances, losses
from service.cli.options import end
from service.cli.serving import serve
from service.cli.training import train

__all__ = ["main"]


_TOO_MUCH = "There is not enough memory for this. Take fewer rows at a time, or a smaller batch."


class _Group(click.Group):
    """Turns our own exceptions, unusable files and a lack of memory into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InterruptedWorkError as error:
            end(str(error), by=error.signal)
        except LookalikeError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.filename is None:  # not about a file that the person named
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}.") from error
        except MemoryError as error:
            raise click.ClickException(_TOO_MUCH) from error
        except RuntimeError as error:
            if "allocate memory" not in str(error):  # torch has no type of its own for the memory of a CPU
                raise
            raise click.ClickException(_TOO_MUCH) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lookalike")
def main() -> None:
    """Embedding similarity over REST: who is this, how sure are you, and what else looks like it?"""


for _command in (
    serve,
    encoder,
    train,
    evaluate,
    draw,
    distances,
    losses,
    import_items,
    export_items,
    backup,
    restore_backup,
):
    main.add_command(_command)
