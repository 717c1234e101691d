"""The README's way from pictures to answers, run as it is written but for fewer steps and pictures."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.test_readme import ROOT
from tests.system.serving import running_server

pytestmark = pytest.mark.system

ADDRESS = "http://127.0.0.1:8001"


def test_train_evaluate_serve_and_search(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## From a folder of pictures to answers")[1]
    blocks = re.findall(r"^```\n(.*?)^```", section.split("\n## ")[0], flags=re.S | re.M)
    draw, train, evaluate, serve, search = blocks
    (tmp_path / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)

    def shell(block: str) -> str:
        return subprocess.run(
            ["/bin/sh", "-eu", "-c", block],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout

    shell(draw.replace("--identities 60", "--identities 25").replace("--identities 30", "--identities 8"))
    shown = shell(train.replace("--steps 200", "--steps 4").replace("--identities 16", "--identities 5"))
    assert "held out" in shown
    assert "calibration" in shown
    assert "random weights" in shell(evaluate)
    assert (tmp_path / "bundles" / "mine.evaluation" / "report.html").is_file()
    assert serve.startswith(".venv/bin/lookalike serve --encoder bundles/mine --port 8001 ")
    with running_server(tmp_path / "data", "--encoder", str(tmp_path / "bundles" / "mine")) as server:
        answer = shell(search.replace(ADDRESS, server.url))
    assert answer.count('"created":1') == 3
    assert answer.rpartition('"matches"')[2].count('"identity"') == 1
