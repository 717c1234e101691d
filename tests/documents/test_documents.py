"""What is written about routes, settings, commands and problems is complete."""

import re
from pathlib import Path

import click

from service.api.problems import SLUGS
from service.app import create_app
from service.cli import main
from service.settings import ENV_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_every_route_is_in_the_overview() -> None:
    overview = read("docs/api.md")
    paths = create_app(Settings()).openapi()["paths"]
    assert len(paths) > 10
    for path, methods in paths.items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in overview, (method, path)


def test_every_problem_is_in_the_overview() -> None:
    overview = read("docs/api.md")
    for slug in SLUGS:
        assert f"`/problems/{slug}`" in overview, slug


def test_every_setting_is_in_the_table() -> None:
    table = read("docs/configuration.md")
    for name in Settings.model_fields:
        assert f"| `--{name.replace('_', '-')}` | `{ENV_PREFIX}{name.upper()}` |" in table, name


def test_every_command_is_mentioned() -> None:
    text = read("README.md") + read("docs/encoders.md") + read("docs/command_line.md")
    for name, command in main.commands.items():
        subcommands = command.commands if isinstance(command, click.Group) else {"": command}
        for subcommand in subcommands:
            assert f"lookalike {name} {subcommand}".rstrip() in text, (name, subcommand)


def test_every_link_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), (document, target)
