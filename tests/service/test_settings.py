"""Settings, the command line's view of them, and the machine's share of processors."""

import os
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from service.cli import main
from service.cpus import available_cpus
from service.settings import Settings, unknown_variables


def test_variables_set_settings_and_arguments_win() -> None:
    with mock.patch.dict(os.environ, {"LOOKALIKE_PORT": "9000", "LOOKALIKE_MAX_BATCH": "8"}):
        settings = Settings(port=9001)
    assert (settings.port, settings.max_batch) == (9001, 8)


def test_a_bad_value_is_refused() -> None:
    with pytest.raises(ValidationError, match="65535"):
        Settings(port=70_000)


def test_an_unknown_variable_is_named_with_the_closest_setting() -> None:
    with mock.patch.dict(os.environ, {"LOOKALIKE_PROT": "1", "LOOKALIKE_PORT": "1"}):
        assert unknown_variables() == [
            "LOOKALIKE_PROT is set but is no setting; did you mean LOOKALIKE_PORT?"
        ]
    with mock.patch.dict(os.environ, {"LOOKALIKE_TYPO": "1"}):  # no setting's name is like that
        assert unknown_variables() == ["LOOKALIKE_TYPO is set but is no setting."]


def folded(text: str) -> str:
    """Return text without whitespace: the help breaks its lines anywhere."""
    return "".join(text.split())


def test_help_explains_every_setting() -> None:
    text = folded(CliRunner().invoke(main, ["serve", "--help"]).output)
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert f"LOOKALIKE_{name.upper()};" in text
        assert field.description is not None
        assert folded(field.description) in text


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--port", "70000"], {}, ["--port", "65535"]),
        ([], {"LOOKALIKE_PORT": "abc"}, ["LOOKALIKE_PORT", "integer"]),
    ],
)
def test_bad_settings_end_the_command_with_a_sentence(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], words: list[str]
) -> None:
    result = CliRunner(env=variables).invoke(main, ["serve", "--data-dir", str(tmp_path), *arguments])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    for word in words:
        assert word in result.output


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_the_containers_quota_bounds_the_threads(
    tmp_path: Path, files: dict[str, str], quota: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = len(os.sched_getaffinity(0))
    assert available_cpus(tmp_path) == (machine if quota is None else min(machine, quota))
