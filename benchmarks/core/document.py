"""One section of a document between two markers: the rest of the file is somebody else's."""

from pathlib import Path

__all__ = ["INTRODUCTION", "put_section"]

INTRODUCTION = """\
# Benchmarks

What Lookalike costs beside its peers, measured. Each section is written by the command that it names, from
what that command measured; edit the command, not the section.
"""


def put_section(path: Path, name: str, text: str) -> None:
    """Write text between <!-- name --> and <!-- /name -->, at the end where the markers are not there yet.

    Raises:
        ValueError: the file has one of the markers without the other.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    document = path.read_text(encoding="utf-8") if path.exists() else INTRODUCTION
    if (start in document) != (end in document):
        raise ValueError(f"{path} has only one of {start} and {end}.")
    section = f"{start}\n{text.strip()}\n{end}"
    if start in document:
        before, rest = document.split(start, 1)
        _, after = rest.split(end, 1)
        document = before + section + after
    else:
        document = f"{document.rstrip()}\n\n{section}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document, encoding="utf-8")
