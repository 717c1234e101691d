"""The examples of docs/command_line.md, run as they are written."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from service.cli import main

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/command_line.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.S | re.M) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run everything in order in one folder; return what each command printed."""
    printed = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("reader"))
        for code in re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.S | re.M):
            exec(code, {})
        for command in COMMANDS:
            program, *arguments = shlex.split(command)
            assert program == "lookalike"
            result = CliRunner().invoke(main, arguments, catch_exceptions=False)
            assert result.exit_code == 0, (command, result.output)
            printed[command] = result.stdout
            for written in re.findall(r"(?:out|plot) (\S+)", command):
                assert Path(written).stat().st_size > 0, command
        assert np.load("distances.npy").shape == (3, 64)
        assert np.load("gradients.npy").shape == (64, 32)
    return printed


def test_every_example_runs(outputs: dict[str, str]) -> None:
    assert len(outputs) == len(COMMANDS) > 10
    for command, printed in outputs.items():
        if "--json" in command:
            answer: dict[str, Any] = json.loads(printed)
            assert {"loss", "distances"} & set(answer)


def test_what_is_printed_is_explained(outputs: dict[str, str]) -> None:
    (summary,) = (text for command, text in outputs.items() if "soft" in command)
    for name in ("loss", "triplets", "active", "skipped anchors", "collapsed"):
        assert re.search(rf"^{name} +\S", summary, flags=re.M)
        assert f"| `{name}` |" in TEXT
    assert len(summary.partition("\n\n")[2].splitlines()) == 4
