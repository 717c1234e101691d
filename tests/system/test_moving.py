"""Import and export against a real server: round trips, rejections, interruptions."""

import contextlib
import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from service.cli import main
from tests.system.serving import Server, running_server

pytestmark = pytest.mark.system

PATIENCE_S = 60.0
ENDED_ITEMS = 2000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("moving"), "--encoder", str(bundle)) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client


def run(server: Server, *arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments), "--url", server.url])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def fill(client: httpx2.Client, name: str, count: int = 2500) -> np.ndarray[Any, Any]:
    """Make a collection of vectors with ties, identities, and metadata that only JSON keeps exactly."""
    vectors = np.random.default_rng(1).integers(-3, 4, size=(count, 4)).astype(np.float32)
    fields = {"camera": "keyword", "n": "integer"}
    client.put(
        f"/v1/collections/{name}", json={"dimension": 4, "index": {"type": "flat"}, "fields": fields}
    ).raise_for_status()
    items = [
        {
            "id": f"ï {n}",
            "identity": f"p{n % 7}" if n % 5 else None,
            "vector": vector.tolist(),
            "metadata": {"camera": f"c{n % 3}", "n": n, "deep": {"list": [1, None, 0.1, "ü"]}}
            if n % 4
            else {},
        }
        for n, vector in enumerate(vectors)
    ]
    for begin in range(0, count, 500):
        client.post(
            f"/v1/collections/{name}/items", json={"items": items[begin : begin + 500]}
        ).raise_for_status()
    return vectors


def answers(client: httpx2.Client, name: str, vectors: np.ndarray[Any, Any]) -> list[Any]:
    """Return what searches and pages of a collection say, all of it."""
    place = f"/v1/collections/{name}"
    search: dict[str, Any] = {"queries": vectors[:20].tolist(), "k": 30, "include": ["metadata", "vector"]}
    found = [
        client.post(f"{place}/search", json={**search, **more}).raise_for_status().json()
        for more in ({}, {"filter": {"camera": "c1", "n": {"lt": 900}}}, {"group_by": "identity"})
    ]
    query: dict[str, str | int] = {"limit": 1000, "include": "vector"}
    return [*found, client.get(f"{place}/items", params=query).json()["items"]]


@pytest.mark.parametrize("suffix", ["safetensors", "parquet"])
def test_what_is_exported_and_imported_gives_the_same_answers(
    server: Server, client: httpx2.Client, tmp_path: Path, suffix: str
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    vectors = fill(client, f"from-{suffix}")
    out = tmp_path / f"out.{suffix}"
    exported = run(server, "export", f"from-{suffix}", out)
    assert exported.exit_code == 0, exported.output
    assert "2,500 items" in exported.output
    assert "pictures" not in exported.output
    imported = run(server, "import", out, f"to-{suffix}")
    assert imported.exit_code == 0, imported.output
    there, here = (client.get(f"/v1/collections/{name}-{suffix}").json() for name in ("from", "to"))
    for name in ("items", "metric", "fields", "dimension"):
        assert here[name] == there[name]
    assert here["index"]["type"] == "flat"
    assert answers(client, f"to-{suffix}", vectors) == answers(client, f"from-{suffix}", vectors)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["out.jsonl", out.name] if suffix == "safetensors" else [out.name]
    )


def test_an_export_replaces_nothing_unasked_and_leaves_nothing_where_it_fails(
    server: Server, client: httpx2.Client, tmp_path: Path
) -> None:
    client.put("/v1/collections/empty", json={"dimension": 3}).raise_for_status()
    assert run(server, "export", "empty", tmp_path / "e.safetensors").exit_code == 0
    before = (tmp_path / "e.safetensors").read_bytes()
    refused = run(server, "export", "empty", tmp_path / "e.safetensors")
    assert (refused.exit_code, "--replace" in refused.output) == (1, True)
    assert (tmp_path / "e.safetensors").read_bytes() == before
    assert run(server, "export", "nothing", tmp_path / "n.safetensors").exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.jsonl", "e.safetensors"]


def test_an_export_names_the_damaged_and_has_the_others(
    server: Server, client: httpx2.Client, tmp_path: Path
) -> None:
    client.put("/v1/collections/broken", json={"dimension": 2}).raise_for_status()
    items = [{"id": name, "vector": [1, n]} for n, name in enumerate("abc")]
    client.post("/v1/collections/broken/items", json={"items": items}).raise_for_status()
    record = sqlite3.connect(server.data_dir / "collections" / "broken" / "record.sqlite3")
    with contextlib.closing(record), record:
        record.execute("UPDATE items SET metadata = '[]' WHERE id = 'b'")
    exported = run(server, "export", "broken", tmp_path / "out.safetensors")
    assert exported.exit_code == 1
    assert "Damaged, and not in it: 1 ('b')." in exported.output
    assert "Wrote 2 items" in exported.output
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "c"]
    refused = client.get("/v1/collections/broken/items/b")
    assert (refused.status_code, refused.json()["type"]) == (500, "/problems/damaged")
    assert "retry-after" not in refused.headers
    assert client.get("/v1/collections/broken/items").json()["damaged"] == ["b"]


def test_an_export_says_that_small_pictures_stay_behind(
    server: Server, client: httpx2.Client, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    (tmp_path / "p1").mkdir()
    for view in range(2):
        (tmp_path / "p1" / f"{view}.png").write_bytes(picture(1, view))
    assert run(server, "import", tmp_path / "p1", "kept", "--keep-images").exit_code == 0
    exported = run(server, "export", "kept", tmp_path / "kept.safetensors")
    assert exported.exit_code == 0, exported.output
    assert "Wrote 2 items" in exported.output
    assert "pictures of up to 2 items (keep_images) are not in it" in exported.output
    assert run(server, "import", tmp_path / "kept.safetensors", "again").exit_code == 0
    assert client.get("/v1/collections/again").json()["keep_images"]
    places = [f"/v1/collections/{name}/items/0.png/image" for name in ("kept", "again")]
    assert [client.get(place).status_code for place in places] == [200, 404]


def test_a_folder_of_pictures_is_enrolled_and_the_report_names_what_is_not(
    server: Server, client: httpx2.Client, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    folder = tmp_path / "people"
    for identity in range(3):
        (folder / f"p{identity}").mkdir(parents=True)
        for view in range(2):
            (folder / f"p{identity}" / f"{view}.png").write_bytes(picture(identity, view))
    damaged = folder / "p1" / "1.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200])
    result = run(server, "import", folder, "people")
    assert result.exit_code == 1
    assert "1 of 6 items were rejected" in result.output
    with (tmp_path / "people.people.rejected.csv").open() as report:
        (row,) = csv.DictReader(report)
    assert (row["where"], row["id"]) == ("p1/1.png", "p1:1.png")
    assert "truncated" in row["reason"]
    item = client.get("/v1/collections/people/items/p2:0.png").json()
    assert item == {"id": "p2:0.png", "identity": "p2", "metadata": {}}
    assert client.get("/v1/collections/people").json()["items"] == 5

    damaged.write_bytes(whole)
    before = sent(server, "people")
    assert run(server, "import", folder, "people").exit_code == 0
    assert sent(server, "people") == before + 1
    assert client.get("/v1/collections/people").json()["items"] == 6
    assert [path.name for path in tmp_path.iterdir()] == ["people"]
    assert run(server, "import", folder, "people").exit_code == 0  # again, all of it: nothing changes
    assert client.get("/v1/collections/people").json()["items"] == 6


def sent(server: Server, name: str) -> int:
    """Return how many requests with items for a collection the server's log has."""
    return server.log.read_text().count(f"POST /v1/collections/{name}/items")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_import_that_is_ended_goes_on_where_it_was(
    server: Server, client: httpx2.Client, tmp_path: Path, number: signal.Signals
) -> None:
    name = f"ended-{number}"
    vectors = np.random.default_rng(2).normal(size=(ENDED_ITEMS, 4)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    journal = tmp_path / "j"
    arguments = ("import", str(tmp_path / "v.npy"), name, "--journal", str(journal), "--batch-items", "10")
    command = [sys.executable, "-m", "service.cli", *arguments, "--url", server.url]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE_S
    while not journal.exists() or journal.stat().st_size < 1000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=PATIENCE_S)
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number, said
        assert said.startswith("Error: Stopped. ")
        assert "the same command goes on" in said
    written = client.get(f"/v1/collections/{name}").json()["items"]
    assert 0 < written < ENDED_ITEMS
    assert run(server, *arguments).exit_code == 0
    assert client.get(f"/v1/collections/{name}").json()["items"] == ENDED_ITEMS
    assert sent(server, name) <= ENDED_ITEMS // 10 + 2  # what was under way was sent again
    assert not journal.exists()
    item = client.get(f"/v1/collections/{name}/items/{ENDED_ITEMS - 1}?include=vector").json()
    np.testing.assert_array_equal(np.array(item["vector"], dtype=np.float32), vectors[-1])


def test_an_import_into_a_collection_that_was_deleted_meanwhile_sends_all_of_it(
    server: Server, client: httpx2.Client, tmp_path: Path
) -> None:
    vectors = np.ones((20, 4), dtype=np.float32)
    vectors[7] = np.nan
    np.save(tmp_path / "v.npy", vectors)
    refused = run(server, "import", tmp_path / "v.npy", "deleted")
    assert refused.exit_code == 1
    assert "1 of 20 items were rejected" in refused.output, refused.output
    assert "row 7" in refused.output
    client.delete("/v1/collections/deleted").raise_for_status()
    assert run(server, "import", tmp_path / "v.npy", "deleted").exit_code == 1
    assert client.get("/v1/collections/deleted").json()["items"] == 19


def test_imports_that_cannot_be_say_so_in_a_sentence(
    server: Server, client: httpx2.Client, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", np.ones((2, 3), dtype=np.float32))
    client.put("/v1/collections/three", json={"dimension": 3}).raise_for_status()
    other = run(server, "import", tmp_path / "v.npy", "three", "--metric", "cosine")
    assert (other.exit_code, "metric is 'euclidean', not 'cosine'" in other.output) == (1, True)
    field = run(server, "import", tmp_path / "v.npy", "new", "--field", "camera=word")
    assert (field.exit_code, "camera" in field.output) == (1, True)
    absent = CliRunner().invoke(
        main, ["import", str(tmp_path / "v.npy"), "three", "--url", "http://127.0.0.1:1"]
    )
    assert (absent.exit_code, "Is the server running?" in absent.output) == (1, True)
    (tmp_path / "text.npy").write_text("id,x\n1,2\n")
    text = run(server, "import", tmp_path / "text.npy", "three")
    assert (text.exit_code, text.output) == (
        1,
        f"Error: {tmp_path / 'text.npy'} cannot be read as an array of numbers.\n",
    )
    np.save(tmp_path / "nan.npy", np.full((2, 3), np.nan, np.float32))
    none = run(server, "import", tmp_path / "nan.npy", "three")
    assert (none.exit_code, "2 of 2 items were rejected, none is written" in none.output) == (1, True)
    typo = run(server, "import", tmp_path / "v.npy", "three", "--column", "name=x")
    assert typo.exit_code == 2
