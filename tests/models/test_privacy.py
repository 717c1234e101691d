"""Nothing is told to others."""

import os
import subprocess
import sys
from pathlib import Path


def test_onnx_runtime_leaves_no_telemetry_behind(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    environment.pop("XDG_CACHE_HOME", None)
    subprocess.run([sys.executable, "-c", "import models.runtime"], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
