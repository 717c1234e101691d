"""The servers of the comparison: how each is started and asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.load import Form
from benchmarks.serving.peers.engine import ENCODER, ENGINE, THREADS

__all__ = ["EAGER", "OURS", "SERVERS", "Server", "Start"]

OURS = "Lookalike"
EAGER = ", eager PyTorch"

_RAW = Form("raw JPEG", "/embed", "image/jpeg", None, ("embedding",))
_FORMS = {
    "LitServe": Form("JSON, base64", "/predict", "application/json", '{"image": "%s"}', ("embedding",)),
    "mosec": Form("raw JPEG", "/inference", "image/jpeg", None, ("embedding",)),
    "BentoML": Form("JSON, base64", "/embed", "application/json", '{"images": ["%s"]}', (0,)),
    "Ray Serve": _RAW,
    "FastAPI, threads": _RAW,
}
_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "LitServe": ("python", "-m", "benchmarks.serving.peers.litserve_app", "{port}"),
    "mosec": (
        *("python", "-m", "benchmarks.serving.peers.mosec_app", "--address", "127.0.0.1"),
        *("--timeout", "30000", "--port", "{port}"),
    ),
    "BentoML": (
        *("bentoml", "serve", "benchmarks.serving.peers.bentoml_app:Embedding"),
        *("--host", "127.0.0.1", "--port", "{port}"),
    ),
    "Ray Serve": ("python", "-m", "benchmarks.serving.peers.ray_app", "{port}"),
    "FastAPI, threads": ("python", "-m", "benchmarks.serving.peers.fastapi_app", "{port}"),
}
# The package whose installation may have failed, where it is not the environment's own.
_PACKAGES = {"LitServe": "litserve", "mosec": "mosec", "BentoML": "bentoml", "Ray Serve": "ray"}
_OURS_FORM = Form("raw JPEG", "/v1/embeddings", "image/jpeg", None, ("data", 0, "embedding"))


@dataclass(frozen=True, slots=True)
class Start:
    """Where things are for a start.

    Attributes:
        encoder: the encoder's folder.
        work: a folder for what the server writes.
        peers: the peers' environment.
        python: of the project.
        threads: of the budget.
        port: to listen on.
    """

    encoder: Path
    work: Path
    peers: Path
    python: str
    threads: int
    port: int


@dataclass(frozen=True, slots=True)
class Server:
    """One way to serve an encoder.

    Attributes:
        title: in the document.
        peer: whose it is, a key of `_FORMS`; None for ours.
        engine: onnxruntime or pytorch.
    """

    title: str
    peer: str | None
    engine: str = "onnxruntime"

    @property
    def key(self) -> str:
        """Return its name in files."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    @property
    def form(self) -> Form:
        """Return how it takes a picture."""
        return _FORMS[self.peer] if self.peer else _OURS_FORM

    def missing(self, start: Start) -> str:
        """Return why it cannot be started here; empty where it can."""
        if self.peer is None:
            bundle = self._bundle(start)
            return "" if bundle.is_dir() else "no such network in `models.networks`"
        failed = start.peers / f"{_PACKAGES.get(self.peer, '')}.failed"
        return f"not installed: {failed.read_text().strip()}" if failed.is_file() else ""

    def command(self, start: Start) -> list[str]:
        """Return what starts it."""
        if self.peer:
            program, *arguments = _COMMANDS[self.peer]
            return [
                str((start.peers / "bin" / program).absolute()),
                *(one.format(port=start.port) for one in arguments),
            ]
        options = {"port": start.port, "data-dir": start.work / "data", "threads": start.threads}
        options |= {"encoder": self._bundle(start), "engine": self.engine}
        given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return [start.python, "-m", "service.cli", "serve", *given]

    def environment(self, start: Start) -> dict[str, str]:
        """Return the variables that it is started with."""
        if self.peer is None:
            return {}
        return {
            ENCODER: str(start.encoder.resolve()),
            ENGINE: self.engine,
            THREADS: str(start.threads),
            "PYTHONPATH": ".",
            "BENTOML_HOME": str((start.work / "bentoml").resolve()),
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",  # else it writes a token into the home folder
        }

    def _bundle(self, start: Start) -> Path:
        name = "onnx-bundle" if self.engine == "onnxruntime" else "pytorch-bundle"
        return (start.encoder / name).resolve()


# Ours first; each of the others with the same engine, then as it is usually set up.
SERVERS = (
    Server(OURS, None),
    *(Server(peer, peer) for peer in _FORMS),
    Server(f"{OURS}, PyTorch", None, "pytorch"),
    *(Server(f"{peer}{EAGER}", peer, "pytorch") for peer in _FORMS),
)
