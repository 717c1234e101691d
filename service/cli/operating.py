"""`lookalike encoder use`: host another encoder on a running server."""

import json
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

import click

__all__ = ["use"]

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever the environment's proxies


@click.command(name="use")
@click.argument("bundle")
@click.option("--name", help="By which it is hosted.  [default: BUNDLE]")
@click.option(
    "--server", default="http://127.0.0.1:8000", show_default=True, help="Where the server listens."
)
@click.option(
    "--key-file", type=click.File(), help="Has an operator's key; - is standard input.  [default: ask]"
)
@click.option(
    "--wait-s",
    type=click.FloatRange(min=0, min_open=True),
    default=300,
    show_default=True,
    help="Seconds to wait for the answer, which comes when the encoder is loaded, checked and warm.",
)
def use(bundle: str, name: str | None, server: str, key_file: TextIO | None, wait_s: float) -> None:
    """Host BUNDLE on a running server, in place of the encoder of its name, without losing a request.

    BUNDLE is a shipped encoder, or the name of a folder in the server's LOOKALIKE_BUNDLES_DIR.
    """
    if urlsplit(server).scheme not in {"http", "https"}:
        raise click.BadParameter("give it as http://HOST:PORT", param_hint="--server")
    if key_file is None and not sys.stdin.isatty():
        raise click.UsageError(
            "There is no terminal to ask for the operator's key on: give --key-file (- is standard input)."
        )
    key = key_file.read().strip() if key_file else click.prompt("Operator's key", hide_input=True)
    bundle = bundle.rstrip("/")  # as shells complete a folder
    name = name or bundle.rpartition("/")[2]
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        f"{server.rstrip('/')}/v1/encoders/{quote(name, safe='')}",
        data=json.dumps({"bundle": bundle}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        method="PUT",
    )
    answer = _ask(request, wait_s)
    click.echo(
        f"{server} hosts {answer['name']!r}: {answer['dimension']} dimensions, {answer['engine']} on "
        f"{answer['device']}, fingerprint {answer['fingerprint'][:12]}."
    )


def _ask(request: urllib.request.Request, wait_s: float) -> dict[str, Any]:
    """Return the server's answer.

    Raises:
        ClickException: it refuses, with its own sentence; it takes longer; or there is no such server.
    """
    try:
        with _DIRECTLY.open(request, timeout=wait_s) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise click.ClickException(_reason(error)) from error
    except TimeoutError as error:  # of an answer; that of a connection is a URLError
        raise click.ClickException(
            f"{request.host} has not answered within {wait_s:g} seconds: the swap has not finished, and may "
            f"still happen. GET {request.full_url.rpartition('/')[0]} tells which encoders are hosted, with "
            "their fingerprints."
        ) from error
    except (OSError, HTTPException, ValueError) as error:  # no connection, not HTTP, or no JSON
        reason = getattr(error, "reason", error)
        raise click.ClickException(
            f"{request.host} does not answer as a Lookalike server: {reason}."
        ) from error


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the sentence of a problem+json answer, or the status of another one."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        return f"The server answered {error.code} {error.reason}. Is it a Lookalike server?"
