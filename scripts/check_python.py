"""Refuse an unsuitable interpreter with a sentence, before pip does it with a page."""

import sys

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    sys.exit(
        f"Lookalike needs Python 3.11 to 3.13, and {sys.executable} is {sys.version.split()[0]}. "
        "Name another one: make PYTHON=python3.12 setup"
    )
