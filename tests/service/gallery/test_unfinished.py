"""What a backup or restore that was killed has left is removed by the next one there, and nothing else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from service.gallery.backups import Copying, back_up, restore
from service.gallery.collection import CollectionConfig, NewItem
from service.gallery.gallery import Gallery
from service.gallery.unfinished import begun_in

BEGUN = """
import sys
from pathlib import Path
from service.gallery.unfinished import begun_in

with begun_in(Path(sys.argv[1])) as made:
    (made / "record.sqlite3").write_bytes(b"of a person")
    print("begun", flush=True)
    sys.stdin.read()
"""
QUIETLY = Copying(lambda step: None)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    with Gallery(tmp_path / "data") as gallery:
        people, _ = gallery.create("people", CollectionConfig(dimension=2, metric="euclidean"))
        people.upsert([NewItem("a", None, np.ones(2, np.float32), {})])
    back_up(tmp_path / "data", tmp_path / "backup", QUIETLY)
    return tmp_path / "backup"


@pytest.mark.parametrize(
    "work",
    [
        lambda backup, there: back_up(backup.parent / "data", there / "backup", QUIETLY),
        lambda backup, there: restore(backup, there, QUIETLY),
    ],
    ids=["backup", "restore"],
)
def test_what_a_killed_process_left_is_removed_and_what_is_under_way_stays(
    backup: Path, tmp_path: Path, work: Callable[[Path, Path], object]
) -> None:
    there = tmp_path / "there"
    (there / ".unfinished-by-hand").mkdir(parents=True)
    begin = [sys.executable, "-c", BEGUN, str(there)]
    with subprocess.Popen(begin, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun\n"
        killed.kill()
    (left,) = there.glob(".unfinished-*/made")
    assert (left / "record.sqlite3").is_file()
    with begun_in(there) as under_way:
        work(backup, there)
        assert not left.parent.exists()
        assert under_way.is_dir()
    assert [path.name for path in there.glob(".*")] == [".unfinished-by-hand"]
