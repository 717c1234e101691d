"""Stress a real server in five ways, and write docs/benchmarks.md.

python -m benchmarks.hosting              all of it, about 35 minutes (make bench-hosting)
python -m benchmarks.hosting --minutes 5  all of it in about so many minutes
python -m benchmarks.hosting --quick      about a minute, into the results' folder
python -m benchmarks.hosting --report     measure nothing; write what is there

Each scenario has a server of its own. What has been measured with the same minutes on the same machine is
kept, and not measured again until --fresh forgets it.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.core.document import put_section
from benchmarks.core.machine import describe_machine, describe_versions
from benchmarks.hosting import bulk, corrupt, disconnect, overload, soak
from benchmarks.hosting.figures import Criterion, Scenario
from benchmarks.hosting.plotting import draw
from benchmarks.hosting.report import render
from benchmarks.hosting.site import Site
from benchmarks.learning.records import Record, Records
from service.cpus import available_cpus
from tests.system.serving import running_server

log = logging.getLogger("benchmarks.hosting")

_ROOT = Path(__file__).resolve().parents[2]
_SECTION = "bench-hosting"
_FULL_MINUTES = 35.0
_QUICK_MINUTES = 0.8
_ARGUMENTS = ("--operator-keys", soak.KEY, "--engine", "onnxruntime")
_SCENARIOS: Mapping[str, Callable[[Site, float], Awaitable[Scenario]]] = {
    "corrupt": corrupt.run,
    "overload": overload.run,
    "bulk": bulk.run,
    "disconnect": disconnect.run,
    "soak": soak.run,
}


def main() -> int:
    """Run from the command line."""
    options = _options()
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s")
    minutes = _QUICK_MINUTES if options.quick else options.minutes
    machine = {"machine": describe_machine("cpu", available_cpus()), "versions": describe_versions()}
    folder = options.results / ("quick" if options.quick else "full")
    records = Records(folder, {"minutes": minutes, **machine})
    if options.fresh:
        records.forget()
    if not options.report:
        for name in options.only or _SCENARIOS:
            if records.get(name) is None:
                log.info("%s", name)
                records.put(name, _measure(name, minutes))
    scenarios = [_read(record) for name in _SCENARIOS if (record := records.get(name))]
    document = options.document
    if document is None:
        document = folder / "quick.md" if options.quick else _ROOT / "docs" / "benchmarks.md"
    _write(scenarios, document, {"command": _command(options), "image": "images/hosting.svg", **machine})
    return 0 if all(one.met for scenario in scenarios for one in scenario.criteria) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="about a minute, to try the command with")
    parser.add_argument("--minutes", type=float, default=_FULL_MINUTES, help="about how long all of it takes")
    parser.add_argument("--only", action="append", choices=_SCENARIOS, help="a scenario; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="forget what has been measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the document again")
    parser.add_argument(
        "--results",
        type=Path,
        default=_ROOT / "benchmarks" / "results" / "hosting",
        help="the folder of results",
    )
    parser.add_argument("--document", type=Path, help="the file to write into; else docs/benchmarks.md")
    return parser.parse_args()


def _command(options: argparse.Namespace) -> str:
    """Return what is typed to measure it again."""
    if options.quick:
        return "python -m benchmarks.hosting --quick"
    if options.minutes != _FULL_MINUTES:
        return f"python -m benchmarks.hosting --minutes {options.minutes:g}"
    return "make bench-hosting"


def _measure(name: str, minutes: float) -> Record:
    """Start a server, run a scenario on it, and return what it came to."""
    lifetime_s = int(60 * minutes) + 300

    async def stress(folder: Path) -> Scenario:
        with running_server(folder / "data", *_ARGUMENTS, lifetime_s=lifetime_s) as server:
            async with Site.of(server) as site:
                return await _SCENARIOS[name](site, minutes / _FULL_MINUTES)

    with tempfile.TemporaryDirectory() as folder:
        scenario = asyncio.run(stress(Path(folder)))
    for one in scenario.criteria:
        log.info("  %s: %s: %s", one.aim, one.found, "met" if one.met else "NOT MET")
    return asdict(scenario)


def _read(record: Record) -> Scenario:
    """Return a scenario as it was kept."""
    return Scenario(
        record["title"],
        record["told"],
        [Criterion(**one) for one in record["criteria"]],
        [(what, figure) for what, figure in record["rows"]],
        {name: [(at, value) for at, value in points] for name, points in record["curves"].items()},
    )


def _write(scenarios: list[Scenario], document: Path, about: dict[str, str]) -> None:
    """Write the plot and the section."""
    image = document.parent / about["image"]
    draw(scenarios, image)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    put_section(document, _SECTION, render(scenarios, {"date": date, **about}))
    log.info("Written: %s and %s", document, image)


if __name__ == "__main__":
    sys.exit(main())
