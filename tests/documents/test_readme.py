"""What README, docs/gallery.md and docs/api.md have as examples, run as it is written against the server."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.system.serving import Server, running_server

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:8000"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.S | re.M)
(GALLERY,) = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/gallery.md").read_text(), flags=re.S | re.M)
EXAMPLES = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/api.md").read_text(), flags=re.S | re.M)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("readme") / "data") as started:
        yield started


@pytest.fixture(scope="module")
def answers(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """Run the blocks in order in one folder; return the JSON that each printed."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    return [
        printed(block, server, folder) for block in BLOCKS[1:]
    ]  # the first starts the server and the tests


def printed(block: str, server: Server, folder: Path) -> list[dict[str, Any]]:
    """Run a block in a folder; return the JSON that it printed."""
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", block.replace(ADDRESS, server.url)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    decoder, text, documents = json.JSONDecoder(), done.stdout.strip(), []
    while text.startswith("{"):
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].strip()
    return documents


def test_the_first_block_is_the_two_commands() -> None:
    assert [line.partition("#")[0].strip() for line in BLOCKS[0].splitlines()] == ["make serve", "make test"]


def test_everything_answers_as_the_readme_says(answers: list[list[dict[str, Any]]]) -> None:
    drawn, enrolled, searched, moved, verified, embedded, distances, losses, refused = answers
    assert drawn == []
    assert enrolled[0]["name"] == "vehicles"
    assert [answer["created"] for answer in enrolled[1:]] == [2] * 6
    matches = searched[0]["results"][0]["matches"]
    assert matches[0]["identity"] == "vehicle_0003"
    assert len({match["identity"] for match in matches}) == 2
    assert moved == []  # sentences
    assert verified[0]["verified"] is True
    assert len(embedded[0]["data"][0]["embedding"]) == 128
    assert distances[0]["distances"][1] == [5, pytest.approx(13**0.5)]
    assert losses[0]["loss"] == pytest.approx(1 - 2**0.5 + 0.5, abs=1e-5)
    assert losses[1]["valid_triplets"] == 4
    assert refused[0]["status"] == 422
    assert "text" in refused[0]["detail"]


def test_a_gallery_of_vectors_answers_as_its_page_says(server: Server, tmp_path: Path) -> None:
    made, enrolled, *searched, recall, merged, deleted = printed(GALLERY, server, tmp_path)
    assert (made["index"]["type"], enrolled["created"]) == ("auto", 4)
    found = [[match["id"] for match in answer["results"][0]["matches"]] for answer in searched]
    assert found == [["a2", "b2"], ["a2", "b2"], ["a2", "b2", "b1"], ["a2", "b2"], ["a2", "b2", "b1"]]
    assert recall["recall"] == 1
    assert merged["merged"] == 2
    assert (deleted["deleted"], deleted["erased"]) == (4, True)


def test_distances_come_back_as_an_array(server: Server) -> None:
    (example,) = EXAMPLES
    assert ADDRESS in example
    random = np.random.default_rng(0)
    space: dict[str, Any] = {"x": random.normal(size=(30, 8)), "y": random.normal(size=(20, 8))}
    exec(example.replace(ADDRESS, server.url), space)
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (space["x"], space["y"]))
    np.testing.assert_allclose(space["distances"], 1 - x @ y.T, atol=1e-12)
