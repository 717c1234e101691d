"""The real pictures that the service is proven on: who is enrolled, and who is searched for."""

import csv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.plain_loop import Recipe

__all__ = ["FACES", "PERSONS", "Picture", "Task", "face_tasks", "person_tasks"]

FACES = Recipe("mobilefacenet_112.onnx", (112, 112), (127.5, 127.5, 127.5), (128.0, 128.0, 128.0))
PERSONS = Recipe("osnet_x0_25_msmt17.onnx", (256, 128), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

_PICTURES_OF_A_FACE = 4
_QUICK_PEOPLE = 40
_QUICK_VEHICLES = 40
_QUICK_PERSONS = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """A labelled picture; its file's name is its id. Camera 0 is an unknown one."""

    path: Path
    identity: str
    camera: int = 0

    @property
    def id(self) -> str:
        """Return the id that it is enrolled under."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Task:
    """A gallery, the queries put to it and how many matches each is to get.

    What the gallery has of a query's own identity from its own camera is junk, which is not to be found.
    """

    name: str
    gallery: tuple[Picture, ...]
    queries: tuple[Picture, ...]
    k: int

    def is_junk(self, query: Picture, item: Picture) -> bool:
        """Say whether a query must not find an item."""
        return query.camera != 0 and (query.identity, query.camera) == (item.identity, item.camera)


def face_tasks(data: Path, *, quick: bool) -> list[Task]:
    """Enrol the first picture of each person with four or more; search for all their others."""
    people = [sorted(folder.glob("*.jpg")) for folder in sorted((data / "lfw" / "images").iterdir())]
    people = [pictures for pictures in people if len(pictures) >= _PICTURES_OF_A_FACE]
    if quick:
        people = [pictures[:_PICTURES_OF_A_FACE] for pictures in people[:_QUICK_PEOPLE]]
    gallery = tuple(Picture(first, first.parent.name) for first, *_ in people)
    queries = tuple(Picture(path, path.parent.name) for _, *others in people for path in others)
    return [Task("lfw faces", gallery, queries, k=20)]


def person_tasks(data: Path, *, quick: bool) -> list[Task]:
    """Search for vehicles across two cameras, both ways, and for persons across six; the whole ranking."""
    vehicles = _validation(data / "vehicles", _QUICK_VEHICLES if quick else None)
    persons = _validation(data / "market1501", _QUICK_PERSONS if quick else None)
    seen_by = {camera: tuple(one for one in vehicles if one.camera == camera) for camera in (1, 2)}
    return [
        Task("vehicles 1 > 2", seen_by[1], seen_by[2], k=len(seen_by[1])),
        Task("vehicles 2 > 1", seen_by[2], seen_by[1], k=len(seen_by[2])),
        Task("market1501", persons, persons, k=len(persons)),
    ]


def _validation(folder: Path, identities: int | None) -> tuple[Picture, ...]:
    """Read the validation split of a folder's images.csv, or of its first identities alone."""
    with (folder / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    wanted = sorted({row["identity"] for row in rows})[:identities]
    return tuple(
        Picture(folder / row["path"], row["identity"], int(row["camera"]))
        for row in rows
        if row["identity"] in wanted
    )
