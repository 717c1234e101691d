"""`lookalike encoder use` where nobody answers, or nobody can be asked."""

import socket
from pathlib import Path

from tests.service.cli.commands import run


def test_a_swap_that_takes_longer_than_one_waits_may_still_happen_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it connects, and never answers
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = run(
            "encoder", "use", "vehicle", "--server", server, "--key-file", tmp_path / "key", "--wait-s", "0.2"
        )
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "within 0.2 seconds: the swap has not finished, and may still happen." in said
    assert f"GET {server}/v1/encoders tells" in said


def test_without_a_terminal_the_key_comes_from_a_file() -> None:
    result = run("encoder", "use", "vehicle", "--server", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "give --key-file" in result.output
    assert "Aborted" not in result.output
