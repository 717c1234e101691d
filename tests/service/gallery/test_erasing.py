"""Erasing where the disk refuses, somebody reads, or the server is about to stop."""

from pathlib import Path

import pytest

from service.gallery.damage import kept_file
from service.gallery.embedded import RECORD_FILE, EmbeddedCollection
from tests.service.gallery.conftest import MakeCollection, MakeItem


@pytest.fixture
def people(collection: MakeCollection, item: MakeItem) -> EmbeddedCollection:
    made = collection()
    made.upsert([item(name, [i, 1], f"p-{name}") for i, name in enumerate("abc")])
    return made


def test_what_is_deleted_is_answered_though_the_disk_refuses_to_erase_it(
    people: EmbeddedCollection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = kept_file(tmp_path / "people" / RECORD_FILE)
    kept.mkdir()  # which cannot be unlinked
    erased = people.erase("p-b")
    assert (erased.deleted, erased.erased) == (1, False)
    assert "is wiped later" in caplog.text
    assert people.get("b") is None
    again = people.erase("p-b")
    assert (again.deleted, again.erased) == (0, False)
    kept.rmdir()
    people.seal()
    assert not people.erasing
    assert people.erase("p-b").erased
