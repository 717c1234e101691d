"""The examples of docs/evaluation.md, run as they are written, and its tables held against the code."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from models.evaluation import PROTOCOLS
from service.cli import main
from service.cli.evaluation import evaluate

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/evaluation.md").read_text()
COMMANDS = [
    line for block in re.findall(r"^```sh\n(.*?)^```", TEXT, flags=re.S | re.M) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the commands in order in one folder, and return it."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in COMMANDS:
            program, *arguments = shlex.split(command)
            assert program == "lookalike"
            result = CliRunner().invoke(main, arguments, catch_exceptions=False)
            assert result.exit_code == 0, (command, result.output)
    return folder


def test_the_commands_write_both_files(reader: Path) -> None:
    written = reader / "vehicle.evaluation"
    assert sorted(path.name for path in written.iterdir()) == ["evaluation.json", "report.html"]


def test_every_key_of_the_json_is_in_the_table(reader: Path) -> None:
    facts = json.loads((reader / "vehicle.evaluation" / "evaluation.json").read_text())
    for key in facts:
        assert f"`{key}`" in TEXT, key
    for part in ("encoder", "data", "verification", "open_set", "spread"):
        for key in facts[part]:
            assert f"`{key}`" in TEXT, (part, key)


def test_the_python_example_runs(
    reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(reader)
    (block,) = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.S | re.M)
    space: dict[str, Any] = {}
    exec(block, space)
    rank_1, threshold = map(float, capsys.readouterr().out.split())
    assert 0 <= rank_1 <= 1
    assert threshold > 0
    assert set(space["files"]) == {"evaluation.json", "report.html"}


def test_every_option_and_protocol_is_explained() -> None:
    for option in evaluate.params:
        names = [name for name in (*option.opts, *option.secondary_opts) if name.startswith("--")]
        if names and names[0] not in {"--device", "--threads"}:
            assert any(f"`{name}`" in TEXT for name in names), names
    for protocol in PROTOCOLS:
        assert f"| `{protocol}` |" in TEXT
