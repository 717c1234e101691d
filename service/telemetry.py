"""What is counted and timed, in the form that Prometheus reads. Every server has a registry of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = [
    "CLIENT_LEFT",
    "EncoderMetrics",
    "Fetched",
    "Rejected",
    "RequestMetrics",
    "Telemetry",
    "UrlMetrics",
]

# No finer than what a client is told: who reads the metrics shall not learn what this machine can reach.
Fetched = Literal["fetched", "refused", "unavailable", "too_large"]
Rejected = Literal["queue_full", "too_many", "too_late", "deadline", "left", "unusable"]

CLIENT_LEFT = 499  # as nginx logs it; nobody is there to be answered
_REASONS = {
    408: "stalled",
    413: "too_large",
    429: "overloaded",
    CLIENT_LEFT: "left",
    503: "unavailable",
    504: "deadline",
}

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class EncoderMetrics:
    """The stages of one encoder.

    Attributes:
        decode_seconds: of a picture, finding its faces included.
        wait_seconds: of a decoded picture, for its batch.
        batch_size: pictures of a batch.
        encode_seconds: of a batch.
        dropped_images: admitted, and dropped because nobody waited for them any more.
        failed_batches: that raised, halves of one among them.
        restarts: of the encoder's thread.
        waiting_images, waiting_bytes: admitted and not yet answered.
        expected_wait: until all of these are, in seconds.
    """

    decode_seconds: Histogram
    wait_seconds: Histogram
    batch_size: Histogram
    encode_seconds: Histogram
    dropped_images: Counter
    failed_batches: Counter
    restarts: Counter
    waiting_images: Gauge
    waiting_bytes: Gauge
    expected_wait: Gauge

    def note_batch(self, took: float, waits: Sequence[float]) -> None:
        """Note a batch that was encoded, and how long each of its pictures waited for it, in seconds."""
        self.encode_seconds.observe(took)
        self.batch_size.observe(len(waits))
        for wait in waits:
            self.wait_seconds.observe(wait)


@dataclass(frozen=True, slots=True)
class UrlMetrics:
    """Pictures by URL.

    Attributes:
        outcomes: of fetches that ended.
        seconds: that they took, from their turn on.
        waiting: admitted and not yet answered.
    """

    outcomes: Counter
    seconds: Histogram
    waiting: Gauge

    def note(self, outcome: Fetched, took: float) -> None:
        """Note a fetch and the seconds it took."""
        self.outcomes.labels(outcome).inc()
        self.seconds.observe(took)


class RequestMetrics:
    """What becomes of requests, whatever they ask for.

    Attributes:
        running: how many are being served; changed by the event loop alone, for which a number will do.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = 0
        running = Gauge("lookalike_running_requests", "Requests being served.", registry=registry)
        running.set_function(lambda: self.running)
        rejected = Counter(
            "lookalike_rejected_requests",
            "Requests by the reason why they were not served: overloaded (429), too_large (413), stalled "
            "(its body, 408), unavailable (503), deadline (504), left (the client, before its answer was "
            "whole).",
            ["reason"],
            registry=registry,
        )
        self._rejected = {status: rejected.labels(reason) for status, reason in _REASONS.items()}

    def note(self, status: int) -> None:
        """Count a request that ended with this status, where it was rejected."""
        if rejected := self._rejected.get(status):
            rejected.inc()


class Telemetry:
    """The metrics of one server.

    Attributes:
        registry: what is shown.
        urls: of pictures by URL.
        requests: see `RequestMetrics`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = RequestMetrics(self.registry)
        self._rejected = self._counter(
            "rejected_images",
            "Pictures without an answer, by reason: queue_full, too_many and too_late were not admitted, of "
            "deadline and left the deadline passed or the client left before.",
            "reason",
        )
        self._dropped = self._counter("dropped_images", "Admitted pictures that nobody waited for any more.")
        self._decode = self._seconds("decode", "Decoding a picture, and finding the faces in it.")
        self._wait = self._seconds("encode_wait", "A decoded picture's wait for its batch.")
        self._encode = self._seconds("encode", "Encoding a batch.")
        self._sizes = Histogram(
            "lookalike_batch_size",
            "Pictures of a batch.",
            ["encoder"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self._failed = self._counter("failed_batches", "Batches that raised, halves of one among them.")
        self._restarts = self._counter("encoder_restarts", "Threads of an encoder that were replaced.")
        self._images = self._gauge("waiting_images", "Pictures admitted and not yet answered.")
        self._bytes = self._gauge("waiting_bytes", "Their files' bytes.")
        self._expected = self._gauge("expected_wait_seconds", "Until all of these are answered.")
        self.urls = UrlMetrics(
            outcomes=Counter(
                "lookalike_fetched_urls",
                "Pictures by URL, by what came of them.",
                ["outcome"],
                registry=self.registry,
            ),
            seconds=Histogram(
                "lookalike_fetch_seconds",
                "Fetching a picture by its URL.",
                buckets=_SECONDS,
                registry=self.registry,
            ),
            waiting=Gauge(
                "lookalike_waiting_urls", "URLs that wait or are being fetched.", registry=self.registry
            ),
        )

    def of_encoder(self, name: str) -> EncoderMetrics:
        """Return the metrics of an encoder; those of one name go on where they were."""
        return EncoderMetrics(
            decode_seconds=self._decode.labels(name),
            wait_seconds=self._wait.labels(name),
            batch_size=self._sizes.labels(name),
            encode_seconds=self._encode.labels(name),
            dropped_images=self._dropped.labels(name),
            failed_batches=self._failed.labels(name),
            restarts=self._restarts.labels(name),
            waiting_images=self._images.labels(name),
            waiting_bytes=self._bytes.labels(name),
            expected_wait=self._expected.labels(name),
        )

    def forget_queue(self, name: str) -> None:
        """Show no queue of an encoder that is hosted no longer; what shows it would keep its weights."""
        for gauge in (self._images, self._bytes, self._expected):
            gauge.remove(name)

    def rejected(self, encoder: str, reason: Rejected, images: int) -> None:
        """Count pictures that were not admitted, or that nobody waits for any more."""
        self._rejected.labels(encoder, reason).inc(images)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"lookalike_{name}", about, ["encoder", *labels], registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"lookalike_{name}", about, ["encoder"], registry=self.registry)

    def _seconds(self, name: str, about: str) -> Histogram:
        return Histogram(
            f"lookalike_{name}_seconds", about, ["encoder"], buckets=_SECONDS, registry=self.registry
        )
