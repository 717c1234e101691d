"""Any sequence of calls on a collection, against a list of items that is searched by brute force.

`make verify-machine` takes 2,000 steps and more, others each time. A kill is what it leaves: the folder as it
is at some moment of sealing, writing or erasing. Processes are really killed in `test_durability.py`.
"""

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.gallery.collection import CollectionConfig, SearchOptions
from service.gallery.embedded import EmbeddedCollection
from service.gallery.filters import parse_filter
from service.gallery.identities import Merged
from service.gallery.index.sizes import Sizes
from service.gallery.options import LeftOut
from tests.service.gallery.brute_force import (
    CONFIGS,
    DAYS,
    DIMENSION,
    FILTERS,
    IDENTITIES,
    IDS,
    ITEMS,
    OPTIONS,
    SEARCHES,
    Condition,
    Item,
    Model,
    Search,
    bulk,
)
from tests.service.gallery.killing import Moments, left_while_committing, snapshot_files

EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "12"))
FEW = 50  # of which none may be an index that can be made fast before it is sealed
STEPS = int(os.environ.get("MACHINE_STEPS", "25"))

# So that some hundred items are sealed, searched by an accelerator, and `auto` wants one.
SIZES = Sizes(scanned_bytes=100 * 4 * DIMENSION, scanned_rows=40, sealed_rows=1)

SHARES = st.floats(0, 1, exclude_max=True)


class Gallery(RuleBasedStateMachine):
    """A collection, and the items that it should hold."""

    proposed = 0  # searches in which an accelerator was asked
    at_once = 0  # searches with a filter that memory answered
    caught_up = 0  # how often what was new was made fast

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.folder = self.home / "0"
        self.moments = Moments()

    @initialize(
        config=CONFIGS,
        count=st.sampled_from([300, 0]),
        probes=st.lists(SEARCHES, min_size=8, max_size=8),
    )
    def create(self, config: CollectionConfig, count: int, probes: list[Search]) -> None:
        self.folder.mkdir()
        EmbeddedCollection.create(self.folder, config)
        self.open()
        self.model = Model(config.metric, {})
        self.probes = cycle(probes)
        if count:
            self.upsert_many(0, count)
            self.seal()

    def teardown(self) -> None:
        if hasattr(self, "collection"):
            self.collection.close()
        shutil.rmtree(self.home)

    def open(self) -> None:
        self.collection = EmbeddedCollection(self.folder, sizes=SIZES, sync=self.moments)

    @rule(items=st.lists(ITEMS, min_size=1, max_size=12))
    def upsert(self, items: list[Item]) -> None:
        held = set(self.model.items)
        for item, written in zip(items, self.collection.upsert(items), strict=True):
            assert written.status == ("replaced" if item.id in held else "created")
            held.add(written.id or "")
        self.model = self.model.written(items)
        self.holds_what_it_should()  # and it is searched
        Gallery.caught_up += self.collection.catch_up()

    @rule(seed=st.integers(1, 5), count=st.integers(100, 300))
    def upsert_many(self, seed: int, count: int) -> None:
        self.upsert(bulk(seed, count))

    @rule(ids=st.lists(IDS, max_size=6))
    def delete(self, ids: list[str]) -> None:
        self.assert_deleted(lambda item: item.id in ids, self.collection.delete(ids))

    @rule(condition=FILTERS, day=DAYS)
    def delete_where(self, condition: Condition, day: int) -> None:
        document, passes = condition
        count = self.collection.delete_where(parse_filter({"and": [document, {"day": day}]}))
        self.assert_deleted(lambda item: passes(item) and item.metadata["day"] == day, count)

    @rule(name=st.sampled_from("pqr"))
    def erase(self, name: str) -> None:
        gone = [item for item in self.model.items.values() if item.identity == name]
        erased = self.collection.erase(name)
        assert erased.erased
        self.assert_deleted(lambda item: item.identity == name, erased.deleted)
        living = {item.vector.tobytes() for item in self.model.items.values()}
        unique = [item.vector.tobytes() for item in gone if str(item.id).startswith("b")]
        files = b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())
        assert not any(vector in files for vector in unique if vector not in living)

    @rule(name=st.sampled_from("pqr"), into=st.sampled_from("pqrs"))
    def merge(self, name: str, into: str) -> None:
        moved = [item for item in self.model.items.values() if item.identity == name != into]
        assert self.collection.merge(name, into) == Merged(len(moved))
        self.model = self.model.written(dataclasses.replace(item, identity=into) for item in moved)

    @rule()
    def seal(self) -> None:
        pending = self.collection.stats().index.pending
        if self.collection.seal(idle=True):
            assert self.collection.stats().index.pending == 0
        else:
            assert pending == 0 or not self.model.items

    @rule()
    def open_again(self) -> None:
        self.collection.close()
        self.open()

    @rule(which=SHARES, share=SHARES, damage=st.sampled_from(["flipped", "shortened", "removed"]))
    def damage_the_snapshot(self, which: float, share: float, damage: str) -> None:
        """Damage a file of each: after a kill there may be two that are whole, and either would do."""
        self.collection.close()
        files = snapshot_files(self.folder)
        for snapshot in {file.parent for file in files}:
            own = [file for file in files if file.parent == snapshot]
            file = own[int(which * len(own))]
            content = bytearray(file.read_bytes())
            at = int(share * len(content))
            content[at] ^= 4
            file.write_bytes(content if damage == "flipped" else content[:at])
            if damage == "removed":
                file.unlink()
        self.open()
        assert self.collection.stats().index.sealed == 0

    @rule(at=st.integers(0, 3), share=SHARES)
    def be_killed_while_sealing(self, at: int, share: float) -> None:
        """Be killed at one of the moments, or later; what is unfinished then may be half written."""
        self.be_killed(self.seal, at=at)
        unfinished = [file for file in snapshot_files(self.folder) if "/.unfinished-" in str(file)]
        for file in unfinished[int(share * len(unfinished)) :]:
            os.truncate(file, int(share * file.stat().st_size))
        self.open()

    @rule(name=st.sampled_from("pqr"), zeroed=st.booleans())
    def be_killed_while_erasing(self, name: str, zeroed: bool) -> None:
        """Be killed when the hashes of the erased rows are written, or before, when only the rows are."""
        hashes = {file: file.read_bytes() for file in snapshot_files(self.folder) if file.suffix == ".json"}
        before = self.folder
        self.be_killed(lambda: self.erase(name), at=0)
        for file, content in hashes.items():
            now = self.folder / file.relative_to(before)
            if zeroed and now.exists():
                now.write_bytes(content)
        self.open()
        self.collection.seal(idle=True)  # goes on with erasing where it had to
        assert not self.collection.stats().erasing

    @rule(items=st.lists(ITEMS, min_size=1, max_size=12), share=SHARES)
    def be_killed_while_writing(self, items: list[Item], share: float) -> None:
        """Be killed before the last byte of the log is written: nothing of that write is there."""
        left, after = self.another_folder(), self.another_folder()
        shutil.copytree(self.folder, left)
        self.collection.upsert(items)
        shutil.copytree(self.folder, after)
        left_while_committing(left, after, share=share)
        self.go_on_in(left)
        self.open()

    @rule(limit=st.integers(1, 50), identity=IDENTITIES)
    def page(self, limit: int, identity: str | None) -> None:
        items = self.model.items.values()
        listed: list[str] = []
        cursor: str | None = None
        while True:
            page = self.collection.page(limit=limit, identity=identity, cursor=cursor)
            listed += [item.id for item in page.items]
            if (cursor := page.cursor) is None:
                break
        assert listed == [item.id for item in items if identity in (None, item.identity)]

    @rule(searches=st.lists(SEARCHES, min_size=1, max_size=5))
    def search(self, searches: list[Search]) -> None:
        for search in searches:
            self.assert_found(search, LeftOut())

    @precondition(lambda self: self.model.items)
    @rule(
        data=st.data(),
        options=OPTIONS,
        shared=st.sampled_from([(), ("camera",), ("day",), ("camera", "identity"), ("camera", "day")]),
    )
    def search_by_id(self, data: st.DataObject, options: SearchOptions, shared: tuple[str, ...]) -> None:
        own = self.model.items[data.draw(st.sampled_from(sorted(self.model.items)))]
        known = {**own.metadata, "identity": own.identity}
        fields = [field for field in shared if known.get(field) is not None]

        def passes(item: Item) -> bool:
            other = {**item.metadata, "identity": item.identity}
            return item.id != own.id and not (
                fields and all(other.get(field) == known[field] for field in fields)
            )

        condition = parse_filter({field: known[field] for field in fields}) if fields else None
        left_out = LeftOut(frozenset({str(own.id)}), condition)
        self.assert_found(Search(own.vector, options, passes), left_out)

    @invariant()
    def holds_what_it_should(self) -> None:
        if hasattr(self, "collection"):
            assert self.collection.stats().items == len(self.model.items)
            for _ in range(2):  # whatever calls Hypothesis leaves out of an example, there are searches
                self.assert_found(next(self.probes), LeftOut())

    def assert_found(self, search: Search, left_out: LeftOut) -> None:
        query, options, passes = search
        plain = dataclasses.replace(options, with_metadata=False, with_vector=False)
        in_memory = [self.collection.search_in_memory(query[np.newaxis], plain)]
        (matches,) = self.collection.search(query[np.newaxis], options, left_out=[left_out])
        in_memory.append(self.collection.search_in_memory(query[np.newaxis], plain))
        for found in in_memory if left_out == LeftOut() else []:
            assert found is None or [one.id for one in found[0]] == [one.id for one in matches]
            Gallery.at_once += found is not None and options.filter is not None
        index = self.collection.stats().index
        passing = sum(map(passes, self.model.items.values()))
        exact = (
            (index.chosen, index.quantization) == ("flat", "none")
            or options.exact
            or options.max_distance is not None
            or options.group_by is not None
            or (options.filter is not None and passing <= SIZES.scanned_rows)
        )
        Gallery.proposed += not exact and options.k <= passing // 10
        self.model.assert_found(matches, search, exact=exact)

    def assert_deleted(self, gone: Callable[[Item], bool], count: int) -> None:
        left = self.model.without(gone)
        assert count == len(self.model.items) - len(left.items)
        self.model = left

    def another_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.home)) / "people"

    def be_killed(self, work: Callable[[], None], *, at: int) -> None:
        """Go on with the folder as it is at one of the moments of some work, or at its end."""
        left = self.another_folder()
        self.moments.copy(self.folder, left, at=at)
        work()
        self.moments.forget()
        if not left.exists():
            shutil.copytree(self.folder, left)
        self.go_on_in(left)

    def go_on_in(self, left: Path) -> None:
        self.collection.close()
        shutil.rmtree(self.folder)
        self.folder = left


Gallery.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="MACHINE_EXAMPLES" not in os.environ,
)


class TestGallery(Gallery.TestCase):  # type: ignore[valid-type,misc]  # Hypothesis makes the class
    """The calls, and that they went where they should."""

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        super().runTest()
        assert min(Gallery.proposed, Gallery.at_once) > EXAMPLES
        assert Gallery.caught_up or EXAMPLES < FEW
