"""What `lookalike serve` makes of others' log records."""

import logging

from service.cli.serving import GraceOver


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


def test_requests_that_outlast_the_grace_are_a_warning_of_ours() -> None:
    logger, kept = logging.getLogger("tests.uvicorn"), _Kept()
    logger.addFilter(GraceOver())
    logger.addHandler(kept)
    logger.error("Cancel %s running task(s), timeout graceful shutdown exceeded", 20)
    logger.error("Something else: %s", 1)
    assert kept.lines == [
        ("WARNING", "Requests that outlasted LOOKALIKE_SHUTDOWN_GRACE_S, and are ended now: 20."),
        ("ERROR", "Something else: 1"),
    ]
    logger.setLevel("ERROR")
    logger.error("Cancel %s running task(s), timeout graceful shutdown exceeded", 20)
    assert len(kept.lines) == 2
