"""Fail where a Python file has grown beyond 300 lines: one idea a module."""

import subprocess
import sys
from pathlib import Path

LIMIT = 300

tracked = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607 - git is wherever the PATH has it
    check=True,
    capture_output=True,
    text=True,
).stdout.split()
sizes = {name: len(Path(name).read_text().splitlines()) for name in tracked if Path(name).exists()}
too_long = {name: lines for name, lines in sizes.items() if lines > LIMIT}
for name, lines in too_long.items():
    sys.stderr.write(f"{name}: {lines} lines (at most {LIMIT})\n")
sys.exit(1 if too_long else 0)
