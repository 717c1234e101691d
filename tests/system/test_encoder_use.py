"""`lookalike encoder use` against a real server: another encoder is hosted, or one sentence says why not."""

import shutil
from pathlib import Path

import pytest

from tests.service.cli.commands import run
from tests.system.serving import running_server

pytestmark = pytest.mark.system


def test_an_operator_hosts_another_encoder_from_the_command_line(bundle: Path, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    shutil.copytree(bundle, bundles / "second")
    key = tmp_path / "key"
    key.write_text("secret-1\n")
    options = ("--encoder", str(bundle), "--bundles-dir", str(bundles), "--operator-keys", "other,secret-1")
    with running_server(tmp_path / "data", *options) as server, server.client() as client:
        use = ("encoder", "use", "--server", server.url, "--key-file", key)
        done = run(*use, "second")
        assert done.exit_code == 0, done.output
        assert f"{server.url} hosts 'second': " in done.output
        named = run(*use, "second/", "--name", "third")
        assert named.exit_code == 0, named.output
        hosted = client.get("/v1/encoders").json()
        assert {"second", "third"} < {one["name"] for one in hosted["encoders"]}

        assert "There is no bundle 'nosuch'" in run(*use, "nosuch").output
        key.write_text("wrong")
        refused = run(*use, "second")
        assert (refused.exit_code, "This is for operators." in refused.output) == (1, True)


def test_where_no_such_server_listens_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k")
    result = run(
        "encoder", "use", "vehicle", "--server", "http://127.0.0.1:1", "--key-file", tmp_path / "key"
    )
    assert result.exit_code == 1
    assert "127.0.0.1:1 does not answer as a Lookalike server: " in result.output
    other = run("encoder", "use", "vehicle", "--server", "localhost:8000", "--key-file", tmp_path / "key")
    assert other.exit_code == 2
    assert "http://HOST:PORT" in other.output
