"""Run commands as a person would, in a folder."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from service.cli import main


def run(*arguments: str | Path) -> Result:
    """Run a command that ends by itself, and not by an exception that got away."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def answer(*arguments: str | Path) -> dict[str, Any]:
    """Return the JSON that a command printed, and nothing but JSON."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def refusal(*arguments: str | Path) -> str:
    """Return the one sentence in which a command refused."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "\n" not in result.stderr.strip()
    return result.stderr.removeprefix("Error: ").strip()
