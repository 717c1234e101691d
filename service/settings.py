"""Everything that can be set, once. The only place that reads the environment."""

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["ENV_PREFIX", "Settings", "unknown_variables"]

ENV_PREFIX = "LOOKALIKE_"

_CLOSE = 0.7  # of 1: two letters of four that have changed places

Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """The settings of one server, each also an option of `lookalike serve` and a LOOKALIKE_* variable."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 picks a free one.")
    data_dir: Path = Field(Path("data"), description="Folder of the collections; created where absent.")
    backup_dir: str = Field(
        "", description="Folder of the backups that operators make over REST; DATA_DIR/backups if left out."
    )
    encoder: str = Field(
        "vehicle", min_length=1, description="Encoder to host: a shipped bundle's name or a bundle's folder."
    )
    encoders: str = Field(
        "", description="Further encoders to host: BUNDLE or NAME=BUNDLE, several with commas between them."
    )
    bundles_dir: Path = Field(
        Path("bundles"), description="Folder whose bundles an operator may host while the server runs."
    )
    operator_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys, with commas between them, that may replace encoders and make backups; none "
        "forbids it.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where encoders run; auto takes a GPU where the engine has one."
    )
    engine: Literal["auto", "pytorch", "onnxruntime"] = Field(
        "auto",
        description="What runs encoders that are no ONNX graphs; auto measures once which is faster.",
    )
    threads: int = Field(
        0, ge=0, description="Threads for computing; 0 for as many as the machine or container grants."
    )
    max_batch: Count = Field(64, description="Most pictures that go through the encoder at once.")
    max_waiting_images: Count = Field(
        4096, description="Most pictures that may wait for the encoder; more are answered 429."
    )
    max_waiting_bytes: Count = Field(
        512 * 2**20,
        description="Most bytes of picture files that may wait, for each encoder, and again of those fetched "
        "by URL; more are answered 429.",
    )
    batch_target_ms: Count = Field(
        50,
        description="Batches of one request's pictures are kept so small that encoding one takes no longer; "
        "one picture each of many requests, four times that.",
    )
    encode_timeout_s: Count = Field(
        30, description="After so many seconds an encoder that does not answer is replaced."
    )
    deadline_ms: int = Field(
        0, ge=0, description="Milliseconds that a request has without X-Deadline-Ms; 0 for no limit."
    )
    max_body_bytes: Count = Field(64 * 2**20, description="Largest request body.")
    body_timeout_s: Count = Field(
        30, description="Seconds that a body may bring nothing before it is answered 408."
    )
    keep_alive_s: Count = Field(
        75,
        description="Seconds that an idle connection is kept; longer than a load balancer in front keeps it.",
    )
    max_image_bytes: Count = Field(20 * 2**20, description="Largest input picture as a file.")
    max_image_pixels: Count = Field(
        50_000_000, description="Largest input picture in pixels (width x height)."
    )
    url_hosts: str = Field(
        "",
        description="Hosts from which pictures are fetched by URL, with commas between them: "
        "pictures.example.org, *.example.org, either with :PORT, or * for any public host; none switches "
        "URLs off.",
    )
    url_networks: str = Field(
        "",
        description="Networks such as 10.1.0.0/16, with commas between them, whose addresses are allowed "
        "though they are not public, for the hosts that are listed by name.",
    )
    url_ca_file: str = Field(
        "", description="File (PEM) of certificate authorities to trust beside the system's for https URLs."
    )
    url_timeout_s: float = Field(
        10, gt=0, description="Seconds that a picture's URL may take, from its look-up to its last byte."
    )
    url_redirects: int = Field(3, ge=0, le=20, description="Redirects that are followed, each checked again.")
    url_at_once: Count = Field(32, description="Most pictures that are fetched by URL at once.")
    max_waiting_urls: Count = Field(
        1024, description="Most URLs that may wait or be fetched; more are answered 429."
    )
    max_work_bytes: Count = Field(
        2**30, description="Most memory that one request for distances or losses may take."
    )
    max_waiting_computations: Count = Field(
        64, description="Most large distance and loss computations that may wait; more are answered 429."
    )
    max_waiting_searches: Count = Field(
        1024, description="Most searches that may wait; more are answered 429."
    )
    scrub_hours: float = Field(
        24, ge=0, description="Hours from one check of all items' checksums to the next; 0 for none."
    )
    max_k: Count = Field(10_000, description="Largest k of a search.")
    drain_s: int = Field(
        0,
        ge=0,
        description="Seconds after SIGTERM in which /health/ready is 503 and all else is still answered.",
    )
    shutdown_grace_s: int = Field(
        4, ge=0, description="Seconds that running requests get to finish after SIGTERM and the drain."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    def backups_dir(self) -> Path:
        """Return the folder of the backups that are made over REST."""
        return Path(self.backup_dir) if self.backup_dir else self.data_dir / "backups"

    def bundles(self) -> list[tuple[str | None, str]]:
        """Return the encoders to host, the default first: a name (None: the bundle's own) and a bundle."""
        further = [one.strip() for one in self.encoders.split(",") if one.strip()]
        parted = [one.rpartition("=") for one in further]
        return [(None, self.encoder), *((name or None, bundle) for name, _, bundle in parted)]


def unknown_variables() -> list[str]:
    """Return a sentence for each LOOKALIKE_* variable in the environment that is no setting."""
    known = [name.upper() for name in Settings.model_fields]
    sentences = []
    for variable in sorted(os.environ):
        name = variable.removeprefix(ENV_PREFIX)
        if name != variable and name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=_CLOSE)
            hint = f"; did you mean {ENV_PREFIX}{close[0]}?" if close else "."
            sentences.append(f"{variable} is set but is no setting{hint}")
    return sentences
