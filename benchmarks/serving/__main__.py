"""Load the hosted encoder and its peers, and write docs/benchmarks.md.

python -m benchmarks.serving            all of it (make bench-serving); interrupted, it goes on where it was
python -m benchmarks.serving --quick    short loads in one round, into the results' folder
python -m benchmarks.serving --report   measure nothing; write what is there

The load comes from wrk (apt-get install wrk). The peers are installed into an environment of their own when
it is first run. Every server of a round has a file of results; those of another plan or machine are not used,
those of an earlier state of the code are, until --fresh forgets them.
"""

import argparse
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.core.children import Children, FailedError, TimedOutError
from benchmarks.core.document import put_section
from benchmarks.core.machine import describe_machine, describe_versions
from benchmarks.learning.records import Record, Records
from benchmarks.serving.checking import WrongAnswerError
from benchmarks.serving.encoders import ENCODERS, Served, expected_embeddings, make_encoder
from benchmarks.serving.limit import measure_limit
from benchmarks.serving.load import lists_of
from benchmarks.serving.pictures import draw_pictures
from benchmarks.serving.plan import FULL, QUICK, Plan
from benchmarks.serving.plotting import draw
from benchmarks.serving.processes import StartError, free_port
from benchmarks.serving.report import render
from benchmarks.serving.running import Sent, measure_server
from benchmarks.serving.servers import SERVERS, Server, Start
from benchmarks.serving.summary import Summary
from service.cpus import available_cpus

log = logging.getLogger("benchmarks.serving")

_ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
_SECTION = "bench-serving"
_COMPARED = 32
_LIMIT_TIMEOUT_S = 600.0


class _Run:
    """One run: what it measures with, and where its results are.

    Args:
        plan: for how long.
        options: of the command line.
        records: of the results.
    """

    def __init__(self, plan: Plan, options: argparse.Namespace, records: Records) -> None:
        self.plan, self.options, self.records = plan, options, records
        self._children = Children(options.threads)
        self._made = options.results / "made"
        self._pictures = draw_pictures(self._made / "pictures", plan.pictures)
        self._lists = lists_of(self._pictures, self._made / "lists")
        self._sent: dict[Served, Sent] = {}

    def measure(self) -> int:
        """Measure what is missing, and return how much of it failed."""
        failed = 0
        jobs = list(_jobs(self.plan))
        for number, (served, server, turn) in enumerate(jobs, start=1):
            name = _name(served, server, turn)
            known = self.records.get(name)
            if known is not None and "problem" not in known:
                continue
            title = server.title if server else "the loop"
            log.info("%d of %d: %s, %s", number, len(jobs), served.title, title)
            found = self._server(served, server) if server else self._limit(served)
            self.records.put(name, {**found, "date": f"{datetime.now(UTC):%Y-%m-%d}"})
            if "problem" in found:
                log.warning("%s came to nothing: %s", title, found["problem"])
                failed += "optional" not in found
        return failed

    def _prepare(self, served: Served) -> Sent:
        """Make an encoder, and what its answers must be."""
        if served not in self._sent:
            folder = self._folder(served)
            make_encoder(served, folder, self._pictures)
            expected = expected_embeddings(folder, self._pictures[:_COMPARED], self.options.threads)
            self._sent[served] = Sent(self._pictures, self._lists, expected)
        return self._sent[served]

    def _limit(self, served: Served) -> Record:
        self._prepare(served)
        arguments = (self._folder(served), self._pictures, self.options.threads)
        times = (self.plan.loop_s, self.plan.bare_calls)
        try:
            return self._children.run(measure_limit, *arguments, *times, timeout_s=_LIMIT_TIMEOUT_S)
        except (TimedOutError, FailedError) as error:
            return {"problem": str(error) or "it took too long"}

    def _server(self, served: Served, server: Server) -> Record:
        sent = self._prepare(served)
        with tempfile.TemporaryDirectory() as work:
            start = Start(
                self._folder(served),
                Path(work),
                self.options.peers,
                sys.executable,
                self.options.threads,
                free_port(),
            )
            missing = server.missing(start)
            if missing:
                return {"problem": missing, "optional": True}
            try:
                return measure_server(server, start, sent, self.plan)
            except (StartError, WrongAnswerError, RuntimeError, OSError) as error:
                return {"problem": str(error)}

    def _folder(self, served: Served) -> Path:
        folder: Path = self._made / "encoders" / served.name
        return folder


def main() -> int:
    """Run from the command line."""
    options = _options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    plan = QUICK if options.quick else FULL
    machine = {"machine": describe_machine("cpu", options.threads), "versions": describe_versions()}
    folder = options.results / ("quick" if options.quick else "full")
    records = Records(folder, asdict(plan) | machine | {"peers": _pins()})
    if options.fresh:
        records.forget()
    failed = 0
    if not options.report:
        if shutil.which("wrk") is None:
            sys.stderr.write("The load comes from wrk, which is not installed: apt-get install wrk.\n")
            return 1
        log.info("installing the peers into %s, where they are not there yet", options.peers)
        subprocess.run([_HERE / "install_peers.sh", sys.executable, options.peers], check=True)
        try:
            failed = _Run(plan, options, records).measure()
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted. The same command goes on from here.\n")
            return 130
    _write(plan, records, options, machine)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="short loads, to try the command with")
    parser.add_argument("--fresh", action="store_true", help="forget what has been measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the document again")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="of the processor")
    results = _ROOT / "benchmarks" / "results" / "serving"
    parser.add_argument("--results", type=Path, default=results, help="the folder of results")
    peers = _ROOT / "runs" / "peers-venv"
    parser.add_argument("--peers", type=Path, default=peers, help="the environment of the peers")
    parser.add_argument("--document", type=Path, help="the file to write into; else docs/benchmarks.md")
    return parser.parse_args()


def _jobs(plan: Plan) -> Iterator[tuple[Served, Server | None, int]]:
    """Yield encoder, server (None: the loop) and round; every other round begins with the last server."""
    for turn in range(plan.rounds):
        servers = [one for one in SERVERS if turn < _rounds(plan, one)]
        for served in ENCODERS:
            yield served, None, turn
            for server in servers[:: -1 if turn % 2 else 1]:
                yield served, server, turn


def _rounds(plan: Plan, server: Server) -> int:
    return plan.rounds if server.engine == "onnxruntime" else 1


def _name(served: Served, server: Server | None, turn: int) -> str:
    return f"{served.name}-{server.key if server else 'loop'}-{turn}"


def _pins() -> str:
    """Return the versions of the peers and of what they run."""
    lines = (_HERE / "requirements-peers.txt").read_text(encoding="utf-8").splitlines()
    return ", ".join(line.replace("==", " ") for line in lines if line and not line.startswith("#"))


def _write(plan: Plan, records: Records, options: argparse.Namespace, machine: dict[str, str]) -> None:
    """Write the plot and the section; a quick run's are for a look, and go beside its results."""
    dates: set[str] = set()

    def found(served: Served, server: Server | None) -> list[Record]:
        names = [_name(served, server, turn) for turn in range(plan.rounds)]
        known = [record for name in names if (record := records.get(name))]
        dates.update(record["date"] for record in known)
        return known

    summaries = {
        served: Summary(
            [one for one in found(served, None) if "problem" not in one],
            {server.key: found(served, server) for server in SERVERS},
        )
        for served in ENCODERS
    }
    document = options.document
    if document is None:
        document = records.folder / "quick.md" if options.quick else _ROOT / "docs" / "benchmarks.md"
    image = "images/serving.svg"
    draw(summaries, document.parent / image)
    about: dict[str, Any] = {
        "command": "python -m benchmarks.serving --quick" if options.quick else "make bench-serving",
        "date": " to ".join(dict.fromkeys((min(dates), max(dates)))) if dates else "Nothing measured yet",
        "threads": options.threads,
        "rounds": max(len(found(served, None)) for served in ENCODERS),
        "compared": _COMPARED,
        "peers": _pins(),
        "image": image,
        **machine,
    }
    put_section(document, _SECTION, render(plan, summaries, about))
    log.info("Written: %s and %s", document, document.parent / image)


if __name__ == "__main__":
    sys.exit(main())
