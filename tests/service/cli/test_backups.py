"""`lookalike backup` and `restore` of what is damaged: written as far as may be, said, and ended with 1."""

from pathlib import Path

import numpy as np
import pytest

from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.gallery import Gallery
from tests.service.cli.commands import refusal, run
from tests.service.gallery.test_scrub import change


def test_a_backup_with_damage_is_written_and_says_which_items_and_what_to_do(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "backup"
    items = [NewItem(name, None, np.ones(2, np.float32), {}) for name in "abc"]
    with Gallery(data) as gallery:
        gallery.create("people", CollectionConfig(dimension=2, metric="euclidean"))[0].upsert(items)
    record = data / "collections" / "people" / "record.sqlite3"
    change(record, "UPDATE items SET metadata = '[]' WHERE id = 'b'")
    result = run("backup", data, out)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: Damaged items or pictures in it: 1 ('b' of people)." in result.stderr
    assert "Delete such items and enrol them again" in result.stderr
    assert f"Wrote {out}: 1 collections, 2 items" in result.stderr
    assert run("restore", out, tmp_path / "new").exit_code == 0
    with Gallery(tmp_path / "new") as restored:
        page = restored.get("people").page(limit=9)
        assert ([item.id for item in page.items], [*page.damaged]) == (["a", "c"], ["b"])
    with Gallery(data) as gallery:  # what it says to do
        gallery.get("people").upsert(items[1:2])
    sound = run("backup", data, tmp_path / "sound")
    assert (sound.exit_code, sound.stderr) == (0, "people (1 of 1)\n")
    assert "1 collections, 3 items" in sound.stdout


def test_beside_a_collection_that_cannot_be_read_the_others_are_backed_up_and_restored_by_name(
    tmp_path: Path,
) -> None:
    data, out, new = tmp_path / "data", tmp_path / "backup", tmp_path / "new"
    with Gallery(data) as gallery:
        for name in ("bikes", "cars", "people"):
            gallery.create(name, CollectionConfig(dimension=2, metric="euclidean"))
    cars = data / "collections" / "cars"
    (cars / "record.sqlite3").write_bytes((cars / "record.sqlite3").read_bytes()[:5000])
    result = run("backup", data, out)
    assert result.exit_code == 1
    for words in (str(cars), "Nothing was backed up", "--collection", "put collections/cars of a backup"):
        assert words in result.stderr
    (cars / "record.sqlite3").unlink()
    assert "is missing" in run("backup", data, out).stderr
    assert "no collection in" in refusal(
        "backup", data, out, "--collection", "people", "--collection", "boats"
    )
    assert not out.exists()
    named = ["--collection", "people", "--collection", "bikes", "--collection", "people"]
    assert run("backup", data, out, *named).exit_code == 0
    (out / "collections" / "bikes" / "record.sqlite3").write_bytes(b"")
    assert "damaged or missing: bikes. Nothing was restored" in (said := refusal("restore", out, new))
    assert "--collection" in said
    assert "Did you mean 'people'?" in refusal("restore", out, new, "--collection", "peopel")
    assert run("restore", out, new, "--collection", "people").exit_code == 0
    with Gallery(new) as restored:
        assert [one.name for one in restored.list()] == ["people"]


@pytest.mark.parametrize(
    "out", ["collections/x", "collections/people/y", "link/x", "../data/collections/new/x"]
)
def test_a_backup_is_not_made_among_the_collections(tmp_path: Path, out: str) -> None:
    data = tmp_path / "data"
    with Gallery(data) as gallery:
        gallery.create("people", CollectionConfig(dimension=2, metric="euclidean"))
    (data / "link").symlink_to(data / "collections")
    said = refusal("backup", data, data / out, "--collection", "people")
    assert (f"{data / out} is within" in said, "Name a folder outside" in said) == (True, True)
    assert run("backup", data, data / "backups" / "b").exit_code == 0
    with Gallery(data) as gallery:
        assert ([one.name for one in gallery.list()], gallery.unopened()) == (["people"], {})


@pytest.mark.parametrize("new", ["backup", "backup/x", "backup/collections/q"])
def test_a_backup_is_not_restored_into_itself(tmp_path: Path, new: str) -> None:
    data, out = tmp_path / "data", tmp_path / "backup"
    Gallery(data).close()
    assert run("backup", data, out).exit_code == 0
    assert f"is within {out}, where the files of a backup are" in refusal("restore", out, tmp_path / new)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
