"""Prove the service on real pictures: imported encoders, over HTTP, against a plain loop outside it.

    python -m benchmarks.real_data            all of it
    python -m benchmarks.real_data --quick    a part of it, in less than a minute

Prints a table, and ends with exit code 1 where an answer differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import httpx2
import numpy as np

from benchmarks.plain_loop import PlainEncoder, Recipe, average_precision, cosine_distances, first_is_hit
from benchmarks.real_sets import FACES, PERSONS, Picture, Task, face_tasks, person_tasks
from tests.data import DATA
from tests.system.serving import running_server

__all__ = ["DISTANCE_TOLERANCE", "Figures", "Outcome", "prove", "prove_all"]

DISTANCE_TOLERANCE = 1e-4
TIE_TOLERANCE = 1e-5

_PICTURES_A_REQUEST = 32
_CLIENTS = 4

# One query's answer: (id, distance), nearest first.
Ranking = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Figures:
    """How good a ranking is, and how long it took to get, enrolment included."""

    rank_1: float
    mean_average_precision: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comparing the service with the plain loop found.

    Attributes:
        largest_difference: between two distances of the same query and item.
        other_order: how many queries got other items, or another order, than ties explain.
        service, plain: the figures from both.
    """

    task: Task
    largest_difference: float
    other_order: int
    service: Figures
    plain: Figures

    @property
    def agrees(self) -> bool:
        """Say whether the service answered what the plain loop did."""
        figures = np.subtract(
            (self.service.rank_1, self.service.mean_average_precision),
            (self.plain.rank_1, self.plain.mean_average_precision),
        )
        return (
            self.largest_difference <= DISTANCE_TOLERANCE
            and self.other_order == 0
            and bool(np.abs(figures).max() <= TIE_TOLERANCE)
        )


def prove_all(data: Path, work: Path, *, quick: bool) -> Iterator[Outcome]:
    """Import both encoders and yield the outcome of every task.

    Args:
        data: the folder of real data.
        work: an empty folder for bundles and collections.
        quick: a part of every set.
    """
    yield from prove(data, work, FACES, face_tasks(data, quick=quick))
    yield from prove(data, work, PERSONS, person_tasks(data, quick=quick))


def prove(data: Path, work: Path, recipe: Recipe, tasks: Sequence[Task]) -> Iterator[Outcome]:
    """Import one encoder, serve it and yield the outcome of its tasks."""
    name = Path(recipe.file).stem
    bundle = work / name
    _import_encoder(data / "encoders" / recipe.file, bundle, recipe)
    plain = PlainEncoder(data / "encoders", recipe)
    with running_server(work / f"{name}_data", "--encoder", str(bundle)) as server, server.client() as client:
        for number, task in enumerate(tasks):
            started = time.perf_counter()
            answers = _ask_service(client, f"task{number}", task)
            answered = time.perf_counter()
            expected = _ask_plain_loop(plain, task)
            seconds = answered - started, time.perf_counter() - answered
            yield _compare(task, answers, expected, seconds)


def _import_encoder(file: Path, bundle: Path, recipe: Recipe) -> None:
    """Make the bundle by the command that users have; the size is read from the graph."""
    mean, std = (",".join(map(str, numbers)) for numbers in (recipe.mean, recipe.std))
    options = ["--mean", mean, "--std", std, "--channels", "rgb", "--normalize", "--metric", "cosine"]
    command = [sys.executable, "-m", "service.cli", "encoder", "import", str(file), "--out", str(bundle)]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=120)


def _ask_service(client: httpx2.Client, collection: str, task: Task) -> list[Ranking]:
    """Enrol the gallery and search for every query, from several clients at once."""
    path = f"/v1/collections/{collection}"
    client.put(path, json={"fields": {"camera": "integer"}}).raise_for_status()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        enrolled = pool.map(lambda pictures: _enrol(client, path, pictures), _parts(task.gallery))
        assert sum(enrolled) == len(task.gallery)
        found = pool.map(lambda pictures: _search(client, path, task.k, pictures), _requests(task.queries))
        by_query = {query: ranking for answers in found for query, ranking in answers.items()}
    return [by_query[query] for query in task.queries]


def _enrol(client: httpx2.Client, path: str, pictures: Sequence[Picture]) -> int:
    """Enrol pictures with identity and camera; return how many are created."""
    columns = {
        "id": [one.id for one in pictures],
        "identity": [one.identity for one in pictures],
        "metadata": [json.dumps({"camera": one.camera}) for one in pictures],
    }
    answer = client.post(f"{path}/items", files=_files("image", pictures), data=columns)
    created: int = answer.raise_for_status().json()["created"]
    return created


def _search(client: httpx2.Client, path: str, k: int, queries: Sequence[Picture]) -> dict[Picture, Ranking]:
    """Search for queries of one identity and camera, whose junk the filter leaves out."""
    fields = {"k": str(k), "include": "[]"}
    first = queries[0]
    if first.camera:
        junk = {"and": [{"identity": first.identity}, {"camera": first.camera}]}
        fields["filter"] = json.dumps({"not": junk})
    answer = client.post(f"{path}/search", files=_files("queries", queries), data=fields)
    results = answer.raise_for_status().json()["results"]
    rankings = [[(match["id"], match["distance"]) for match in result["matches"]] for result in results]
    return dict(zip(queries, rankings, strict=True))


def _files(field: str, pictures: Sequence[Picture]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(field, (one.path.name, one.path.read_bytes(), "image/jpeg")) for one in pictures]


def _parts(pictures: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    for start in range(0, len(pictures), _PICTURES_A_REQUEST):
        yield pictures[start : start + _PICTURES_A_REQUEST]


def _requests(queries: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    """Put queries together that share a filter: all where there is no camera, else by identity and camera."""

    def key(query: Picture) -> tuple[str, int]:
        return (query.identity, query.camera) if query.camera else ("", 0)

    for _, group in groupby(sorted(queries, key=key), key):
        yield from _parts(list(group))


def _ask_plain_loop(encoder: PlainEncoder, task: Task) -> list[Ranking]:
    """Return the whole ranking of each query, without its junk."""
    gallery = [encoder.embed(item.path) for item in task.gallery]
    rankings: list[Ranking] = []
    for query in task.queries:
        distances = cosine_distances(encoder.embed(query.path), gallery)
        rankings.append(
            [
                (task.gallery[position].id, float(distances[position]))
                for position in np.argsort(distances, kind="stable")
                if not task.is_junk(query, task.gallery[position])
            ]
        )
    return rankings


def _compare(
    task: Task, answers: Sequence[Ranking], expected: Sequence[Ranking], seconds: tuple[float, float]
) -> Outcome:
    largest, other_order = 0.0, 0
    for answer, wanted in zip(answers, expected, strict=True):
        distance_of = dict(wanted)
        ids = [item_id for item_id, _ in answer]
        if len(set(ids)) != min(task.k, len(wanted)) or not distance_of.keys() >= set(ids):
            other_order += 1
            continue
        differences = [abs(distance - distance_of[item_id]) for item_id, distance in answer]
        largest = max(largest, *differences)
        # An item may stand in another's place only where the plain loop has both at one distance.
        swaps = [abs(distance_of[item_id] - wanted[place][1]) for place, item_id in enumerate(ids)]
        other_order += max(swaps) > TIE_TOLERANCE
    return Outcome(
        task,
        largest,
        other_order,
        _figures(task, answers, seconds[0]),
        _figures(task, [ranking[: task.k] for ranking in expected], seconds[1]),
    )


def _figures(task: Task, rankings: Sequence[Ranking], seconds: float) -> Figures:
    """Average over the queries that have something to find, over as much of the ranking as was asked for."""
    identity_of = {item.id: item.identity for item in task.gallery}
    first, precisions = [], []
    for query, ranking in zip(task.queries, rankings, strict=True):
        hits = [identity_of[item_id] == query.identity for item_id, _ in ranking]
        precision = average_precision(hits)
        first.append(first_is_hit(hits))
        precisions.append(0.0 if precision is None else precision)
    return Figures(float(np.mean(first)), float(np.mean(precisions)), seconds)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a part of every set")
    quick = parser.parse_args().quick
    if not DATA.is_dir():
        sys.stderr.write(f"The real pictures and encoders are not in {DATA}; see docs/testing.md.\n")
        return 1
    print(
        f"{'set':<16}{'gallery':>8}{'queries':>8}{'k':>6}{'rank-1':>9}{'mAP':>9}{'plain':>9}{'plain':>9}"
        f"{'largest':>10}{'other':>6}{'s':>7}{'plain s':>8}"
    )
    agree = True
    with tempfile.TemporaryDirectory() as work:
        for one in prove_all(DATA, Path(work), quick=quick):
            agree &= one.agrees
            print(
                f"{one.task.name:<16}{len(one.task.gallery):>8}{len(one.task.queries):>8}{one.task.k:>6}"
                f"{one.service.rank_1:>9.5f}{one.service.mean_average_precision:>9.5f}"
                f"{one.plain.rank_1:>9.5f}{one.plain.mean_average_precision:>9.5f}"
                f"{one.largest_difference:>10.1e}{one.other_order:>6}"
                f"{one.service.seconds:>7.1f}{one.plain.seconds:>8.1f}",
                flush=True,
            )
    print("The service answers what the plain loop does." if agree else "They differ.")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
