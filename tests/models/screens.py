"""A terminal's screen, for the tests of what is drawn on one."""

import re

__all__ = ["screen"]

_PARTS = re.compile(r"\x1b\[(?P<number>\??\d*(?:;\d+)*)(?P<letter>[A-Za-z])|(?P<character>[\s\S])")


def screen(written: str) -> list[str]:
    """Return the lines that a wide terminal shows after these characters, the empty ones left out.

    It knows the line end, the return to a line's start, the way up, and the clearing of a line; colours and
    the cursor's look are passed over, and everything else is refused.
    """
    lines, row, column = [""], 0, 0
    for part in _PARTS.finditer(written):
        letter, character = part["letter"], part["character"]
        if letter == "A":
            row = max(0, row - int(part["number"] or 1))
        elif letter == "K":
            assert part["number"] == "2"
            lines[row] = ""
        elif character == "\n":  # a terminal's driver puts a return before it
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif character == "\r":
            column = 0
        elif character is not None:
            lines[row] = lines[row].ljust(column)[:column] + character + lines[row][column + 1 :]
            column += 1
        else:
            assert letter in "mhl", letter
    return [line.rstrip() for line in lines if line.strip()]
