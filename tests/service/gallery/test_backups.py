"""Backups: of one moment while it is written to, checked, and put back whole or not at all."""

import contextlib
import errno
import json
import re
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from service.errors import ConflictError, DamageError, NotFoundError, StorageError
from service.gallery.backup_manifest import MANIFEST, damage_told, read_manifest
from service.gallery.backups import Copying, Step, back_up, restore
from service.gallery.collection import Collection, CollectionConfig, NewItem, SearchOptions
from service.gallery.embedded import RECORD_FILE
from service.gallery.gallery import Gallery
from service.gallery.index.accelerator import Stopped
from tests.service.gallery.test_scrub import change

CONFIG = CollectionConfig(dimension=4, metric="euclidean", keep_images=True)


def batch(number: int) -> list[NewItem]:
    rows = np.random.default_rng(number).standard_normal((10, 4)).astype(np.float32)
    return [NewItem(f"{number}-{i}", f"p{number}", row, {"n": number}, b"jpeg") for i, row in enumerate(rows)]


def quiet(step: Step) -> None:
    assert 1 <= step.number <= step.count, step.name
    assert step.done.collections == step.number - 1


QUIETLY = Copying(quiet)


def read(record: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(record)) as connection:
        connection.execute(statement).fetchall()


def damage_in(backup: Path) -> dict[str, tuple[int | None, tuple[str | None, ...]]]:
    contents = read_manifest(backup).contents
    return {name: (content.damaged, content.damaged_ids) for name, content in contents.items()}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    with Gallery(tmp_path / "data") as gallery:
        for name in ("people", "cars"):
            made, _ = gallery.create(name, CONFIG)
            for number in range(3):
                made.upsert(batch(number))
    return tmp_path / "data"


def test_a_restored_gallery_answers_as_the_one_that_was_backed_up(data_dir: Path, tmp_path: Path) -> None:
    kept = back_up(data_dir, tmp_path / "backup", QUIETLY)
    assert (kept.collections, kept.items) == (2, 60)
    assert restore(tmp_path / "backup", tmp_path / "new" / "data", QUIETLY) == kept
    queries = np.random.default_rng(9).standard_normal((20, 4)).astype(np.float32)
    with Gallery(data_dir) as before, Gallery(tmp_path / "new" / "data") as after:
        assert [one.name for one in after.list()] == ["cars", "people"]
        for name in ("people", "cars"):
            old, new = before.get(name), after.get(name)
            assert new.config == old.config
            assert new.search(queries, SearchOptions(k=30, with_metadata=True)) == old.search(
                queries, SearchOptions(k=30, with_metadata=True)
            )
            assert new.picture("1-3") == b"jpeg"


def test_a_backup_under_load_is_of_one_moment_and_has_all_that_was_acknowledged(
    data_dir: Path, tmp_path: Path
) -> None:
    acknowledged: list[int] = []
    enough, stop = threading.Event(), threading.Event()
    with Gallery(data_dir) as gallery:
        people = gallery.get("people")

        def write() -> None:
            number = 100
            while not stop.is_set():
                people.upsert(batch(number))
                acknowledged.append(number)
                if len(acknowledged) >= 20:
                    enough.set()
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        assert enough.wait(30)
        before = list(acknowledged)
        back_up(data_dir, tmp_path / "backup", QUIETLY)
        stop.set()
        writer.join()
    restore(tmp_path / "backup", tmp_path / "new", QUIETLY)
    with Gallery(tmp_path / "new") as restored:
        again = restored.get("people")
        held = {one.name: one.items for one in again.identities(limit=1000).identities}
    assert {f"p{number}" for number in before} <= held.keys()
    assert set(held.values()) == {10}  # no write by halves
    assert len(held) <= 3 + len(acknowledged) + 1


def test_a_damaged_backup_is_refused_by_name_and_nothing_is_restored(data_dir: Path, tmp_path: Path) -> None:
    back_up(data_dir, tmp_path / "backup", QUIETLY)
    record = tmp_path / "backup" / "collections" / "cars" / "record.sqlite3"
    data = bytearray(record.read_bytes())
    data[len(data) // 2] ^= 1
    record.write_bytes(data)
    with pytest.raises(StorageError, match="damaged or missing: cars"):
        restore(tmp_path / "backup", tmp_path / "new", QUIETLY)
    assert not (tmp_path / "new").exists()
    (tmp_path / "backup" / "manifest.json").write_text("{")
    with pytest.raises(StorageError, match=r"manifest\.json is damaged"):
        restore(tmp_path / "backup", tmp_path / "new", QUIETLY)


def test_one_that_is_stopped_at_any_moment_leaves_nothing(data_dir: Path, tmp_path: Path) -> None:
    def stopping(after: int) -> tuple[Copying, list[int]]:
        calls: list[int] = []
        here = threading.get_ident()

        def go_on() -> None:
            if threading.get_ident() != here:
                return  # asked beside a statement, as often as that takes time
            calls.append(len(calls))
            if len(calls) > after:
                raise Stopped

        return Copying(quiet, go_on), calls

    with Gallery(data_dir) as gallery:  # enough for SQLite to be asked within its copying
        gallery.get("people").upsert([item for number in range(10, 60) for item in batch(number)])
    never, calls = stopping(10**6)
    back_up(data_dir, tmp_path / "whole", never)
    moments = len(calls)
    assert moments > 22  # of 2 files: copied, compared in 18 pieces, and hashed
    for moment in range(moments):
        with pytest.raises(Stopped):
            back_up(data_dir, tmp_path / "backup", stopping(moment)[0])
        with pytest.raises(Stopped):
            restore(tmp_path / "whole", tmp_path / "new", stopping(min(moment, 3))[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "new", "whole"]
    assert not any((tmp_path / "new").iterdir())


def test_what_is_deleted_meanwhile_is_left_out(data_dir: Path, tmp_path: Path) -> None:
    with Gallery(data_dir) as gallery:

        def drop_next(step: Step) -> None:
            if step.name == "cars":
                gallery.drop("people")

        kept = back_up(data_dir, tmp_path / "backup", Copying(drop_next))
    assert (kept.collections, kept.items) == (1, 30)
    assert restore(tmp_path / "backup", tmp_path / "new", QUIETLY) == kept


def test_another_collection_that_gets_the_name_meanwhile_loses_nothing(
    data_dir: Path, tmp_path: Path
) -> None:
    with Gallery(data_dir) as gallery:
        gallery.get("people").upsert([item for number in range(10, 60) for item in batch(number)])
        again: list[Collection] = []

        def replace() -> None:
            if not again:
                gallery.drop("people")
                again.append(gallery.create("people", CONFIG)[0])
                again[0].upsert(batch(7))

        back_up(data_dir, tmp_path / "backup", Copying(quiet, replace), names=["people"])
        assert again
        again[0].upsert(batch(8))
        # What a crash would leave now: all that was answered, of which most is in SQLite's log.
        shutil.copytree(data_dir / "collections", tmp_path / "crashed" / "collections")
    with Gallery(tmp_path / "crashed") as crashed:
        assert crashed.get("people").stats().items == 20


def test_one_that_does_not_reach_the_disk_leaves_nothing(data_dir: Path, tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    refused = Copying(quiet, sync=refuse)
    with pytest.raises(StorageError, match="No space left"):
        back_up(data_dir, tmp_path / "backup", refused)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    back_up(data_dir, tmp_path / "backup", QUIETLY)
    with pytest.raises(StorageError, match="No space left"):
        restore(tmp_path / "backup", tmp_path / "new", refused)
    assert not any((tmp_path / "new").iterdir())
    restore(tmp_path / "backup", tmp_path / "new", QUIETLY)
    assert (tmp_path / "new" / "collections").stat().st_mode & 0o777 == 0o755


def test_nothing_is_written_over(data_dir: Path, tmp_path: Path) -> None:
    back_up(data_dir, tmp_path / "backup", QUIETLY)
    with pytest.raises(ConflictError, match="there already"):
        back_up(data_dir, tmp_path / "backup", QUIETLY)
    with pytest.raises(ConflictError, match="has collections already"):
        restore(tmp_path / "backup", data_dir, QUIETLY)
    with pytest.raises(NotFoundError, match="no collections"):
        back_up(tmp_path / "backup" / "collections", tmp_path / "other", QUIETLY)
    with pytest.raises(NotFoundError, match="is no backup"):
        restore(data_dir, tmp_path / "new", QUIETLY)
    with Gallery(tmp_path / "used"), pytest.raises(StorageError, match="in use"):
        restore(tmp_path / "backup", tmp_path / "used", QUIETLY)
    assert not list(tmp_path.glob("**/.unfinished-*"))


@pytest.mark.parametrize("damaged", [["cars"], ["cars", "people"]])
def test_damaged_records_are_not_backed_up_and_all_of_them_are_named(
    damaged: list[str], data_dir: Path, tmp_path: Path
) -> None:
    records = [data_dir / "collections" / name / "record.sqlite3" for name in damaged]
    for record in records:
        record.write_bytes(record.read_bytes()[:5000])
    with pytest.raises(DamageError) as refused:
        back_up(data_dir, tmp_path / "backup", Copying(lambda step: None))
    said = str(refused.value)
    assert [str(record) in said for record in records] == [True] * len(records)
    assert (", ".join(damaged) in said, said.count("Nothing was backed up")) == (True, 1)
    assert [*tmp_path.iterdir()] == [data_dir]


def test_what_is_damaged_is_copied_and_named_and_all_else_is_restored(data_dir: Path, tmp_path: Path) -> None:
    change(
        data_dir / "collections" / "people" / RECORD_FILE,
        "UPDATE items SET metadata = '{}' WHERE id = '1-3'",
        "UPDATE pictures SET jpeg = x'00' WHERE label = (SELECT label FROM items WHERE id = '2-5')",
    )
    kept = back_up(data_dir, tmp_path / "backup", QUIETLY)
    assert (kept.collections, kept.items, kept.damaged) == (2, 59, 2)
    assert damage_in(tmp_path / "backup") == {"people": (2, ("1-3", "2-5")), "cars": (0, ())}
    assert restore(tmp_path / "backup", tmp_path / "new", QUIETLY) == kept
    with Gallery(tmp_path / "new") as restored:
        people = restored.get("people")
        assert (people.stats().items, people.stats().integrity.damaged) == (29, ("1-3", "2-5"))
        back_up(tmp_path / "new", tmp_path / "again", QUIETLY)  # what was lost is still named
        assert damage_in(tmp_path / "again") == damage_in(tmp_path / "backup")
        people.upsert([batch(1)[3], batch(2)[5]])
        assert back_up(tmp_path / "new", tmp_path / "sound", QUIETLY).items == 60
    assert damage_in(tmp_path / "sound") == {"people": (0, ()), "cars": (0, ())}
    folder = tmp_path / "sound" / "collections" / "people"
    assert [path.name for path in folder.iterdir()] == [RECORD_FILE]


def test_what_sqlite_cannot_read_is_named_and_the_others_are_compared(data_dir: Path, tmp_path: Path) -> None:
    record = data_dir / "collections" / "people" / RECORD_FILE
    data = bytearray(record.read_bytes())
    # What SQLite says of the lengths in a row: of id, identity, metadata, time, pictured and vector; and in
    # one of a picture, behind its label: of its head, the label, checksum and JPEG.
    (row,) = re.finditer(rb"\x13\x11\x1b\x06\x09\x2c.{8,12}1-3p1", data, re.DOTALL)
    (picture,) = re.finditer(rb"\x19\x04\x00[\x03-\x06]\x14.{3,8}jpeg", data, re.DOTALL)
    data[row.start() + 5] += 2  # longer than all of it is
    data[picture.start() + 4] += 2
    record.write_bytes(data)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        read(record, "SELECT vector FROM items")
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        read(record, "SELECT jpeg FROM pictures")
    change(record, "UPDATE items SET metadata = '{}' WHERE id IN ('0-1', '2-9')")
    assert back_up(data_dir, tmp_path / "backup", QUIETLY).items == 57
    assert damage_in(tmp_path / "backup")["people"] == (4, ("0-1", "1-3", "2-4", "2-9"))
    restore(tmp_path / "backup", tmp_path / "new", QUIETLY)
    with Gallery(tmp_path / "new") as restored:
        stats = restored.get("people").stats()
        assert (stats.items, stats.integrity.damaged) == (27, ("0-1", "1-3", "2-4", "2-9"))


def test_a_backup_in_which_nobody_looked_for_damage_says_so(data_dir: Path, tmp_path: Path) -> None:
    back_up(data_dir, tmp_path / "backup", QUIETLY)
    manifest = json.loads((tmp_path / "backup" / MANIFEST).read_text())
    for content in manifest["collections"].values():
        del content["damaged"], content["damaged_ids"]
    (tmp_path / "backup" / MANIFEST).write_text(json.dumps(manifest))
    assert damage_in(tmp_path / "backup") == {"people": (None, ()), "cars": (None, ())}
    assert restore(tmp_path / "backup", tmp_path / "new", QUIETLY).items == 60


def test_many_damaged_ones_are_counted_and_the_first_are_named(data_dir: Path, tmp_path: Path) -> None:
    with Gallery(data_dir) as gallery:
        gallery.get("people").upsert([item for number in range(10, 30) for item in batch(number)])
    change(data_dir / "collections" / "people" / RECORD_FILE, "UPDATE items SET metadata = '{}'")
    rested: list[float] = []
    kept = back_up(data_dir, tmp_path / "backup", Copying(quiet, rest=rested.append))
    assert (kept.items, kept.damaged) == (30, 230)
    assert len(rested) == 230 // 32  # between 8 pieces; the other collection has one
    contents = read_manifest(tmp_path / "backup").contents
    ids = [one.id for number in (0, 1, 2, *range(10, 17)) for one in batch(number)]
    assert contents["people"].damaged_ids == tuple(ids)
    told = damage_told(contents)
    assert told is not None
    assert f"in it: 230 ({', '.join(f'{one!r} of people' for one in ids[:20])}, ...). All others" in told
