"""Measure the gallery beside other vector stores, filtered, at a million items and while it is written.

python -m benchmarks.gallery            all of it (make bench-gallery); interrupted, it goes on where it was
python -m benchmarks.gallery --quick    small collections in one round, into the results' folder
python -m benchmarks.gallery --report   measure nothing; write the document again

The load comes from wrk (apt-get install wrk), and fsyncs are counted by strace where it is installed. The
peers are installed into environments of their own when it is first run. What has been measured with the same
plan on the same machine is kept, and not measured again until --fresh forgets it; a server's data is kept for
the run only.
"""

import argparse
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.document import put_section
from benchmarks.core.machine import describe_machine, describe_versions
from benchmarks.gallery import filters, million, writes
from benchmarks.gallery.figures import Part, part_of
from benchmarks.gallery.plan import FULL, QUICK, RECALL, K, Plan
from benchmarks.gallery.plotting import draw
from benchmarks.gallery.report import render
from benchmarks.gallery.searches import LIMIT, TARGETS, Searches, name_of
from benchmarks.gallery.summary import Summary, part
from benchmarks.learning.records import Records
from service.cpus import available_cpus

log = logging.getLogger("benchmarks.gallery")

_ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
_SECTION = "bench-gallery"
_SCENARIOS = ("searches", "filters", "million", "writes")


def main() -> int:
    """Run from the command line."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    plan = QUICK if options.quick else FULL
    machine = {"machine": describe_machine("cpu", available_cpus()), "versions": describe_versions()}
    folder = options.results / ("quick" if options.quick else "full")
    records = Records(folder, asdict(plan) | machine | {"peers": _pins()})
    if options.fresh:
        records.forget()
    failed = 0
    if not options.report:
        if shutil.which("wrk") is None:
            sys.stderr.write("The load comes from wrk, which is not installed: apt-get install wrk.\n")
            return 1
        try:
            with tempfile.TemporaryDirectory(prefix="bench-gallery-") as made:
                Path(made).chmod(0o755)  # PostgreSQL runs as somebody else
                failed = _measure(plan, records, options, Path(made))
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted. The same command goes on from here.\n")
            return 130
    _write(plan, records, options, machine)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="small and short, to try the command with")
    parser.add_argument("--only", action="append", choices=_SCENARIOS, help="a scenario; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="forget what has been measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the document again")
    results = _ROOT / "benchmarks" / "results" / "gallery"
    parser.add_argument("--results", type=Path, default=results, help="the folder of results")
    peers = _ROOT / "runs" / "gallery-peers"
    parser.add_argument("--peers", type=Path, default=peers, help="the folder of the peers' environments")
    parser.add_argument("--document", type=Path, help="the file to write into; else docs/benchmarks.md")
    return parser.parse_args()


def _measure(plan: Plan, records: Records, options: argparse.Namespace, made: Path) -> int:
    """Measure what is missing, and return how much of it failed."""
    failed, wanted = 0, options.only or _SCENARIOS
    if "searches" in wanted:
        log.info("installing the peers into %s, where they are not there yet", options.peers)
        subprocess.run([_HERE / "install_peers.sh", sys.executable, options.peers], check=True)
        for size in plan.sizes:
            failed += Searches(plan, size, made, options.peers, sys.executable).measure(records)
            shutil.rmtree(made / str(size), ignore_errors=True)
    for name, measure in _alone(plan).items():
        if name.partition("-")[0] not in wanted or records.get(name) is not None:
            continue
        log.info("%s", name)
        with tempfile.TemporaryDirectory(dir=made) as folder:
            try:
                found = measure(Path(folder))
            except (OSError, RuntimeError, ArithmeticError) as error:
                log.warning("%s came to nothing: %s", name, error)
                failed += 1
                continue
        records.put(name, found.as_record())
        for one in found.criteria:
            log.info("  %s: %s: %s", one.aim, one.found, "met" if one.met else "NOT MET")
    return failed


def _alone(plan: Plan) -> Mapping[str, Callable[[Path], Part]]:
    """Return the scenarios without peers, by the names of their records."""

    def large(items: int, dimension: int) -> Callable[[Path], Part]:
        return lambda folder: million.measure(plan, folder, items, dimension)

    return {
        "filters": lambda folder: filters.measure(plan, folder),
        **{f"million-{items}-{dimension}": large(items, dimension) for items, dimension in plan.large},
        "writes": lambda folder: writes.measure(plan, folder),
    }


def _write(plan: Plan, records: Records, options: argparse.Namespace, machine: dict[str, str]) -> None:
    """Write the plot and the section; a quick run's are for a look, and go beside its results."""
    searches = [found for size in plan.sizes if (found := _searches(plan, records, size))]
    alone = {name: part_of(record) for name in _alone(plan) if (record := records.get(name))}
    document = options.document
    if document is None:
        document = records.folder / "quick.md" if options.quick else _ROOT / "docs" / "benchmarks.md"
    about = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "python -m benchmarks.gallery --quick" if options.quick else "make bench-gallery",
        "peers": _pins(),
        "k": K,
        "recall": RECALL,
        "rest": plan.rest_s,
        "rounds": plan.rounds,
        "checked": plan.checked,
        "queries": plan.queries,
        "image": "images/gallery.svg",
        **machine,
    }
    image = document.parent / "images" / "gallery.svg"
    draw(searches, alone.get("filters"), image)
    put_section(document, _SECTION, render([*searches, *alone.values()], about))
    log.info("Written: %s and %s", document, image)


def _searches(plan: Plan, records: Records, size: int) -> Part | None:
    """Return the part of one size; None where nothing has been measured."""
    keys = [one.key for one in TARGETS] + [LIMIT]
    found = {
        key: [record for turn in range(plan.rounds) if (record := records.get(name_of(size, key, turn)))]
        for key in keys
    }
    return part(size, Summary(found)) if any(found.values()) else None


def _pins() -> str:
    """Return the versions of the peers."""
    text = (_HERE / "install_peers.sh").read_text(encoding="utf-8")
    return ", ".join(" ".join(pin) for pin in re.findall(r"([\w-]+)==([\d.]+)", text))


if __name__ == "__main__":
    sys.exit(main())
