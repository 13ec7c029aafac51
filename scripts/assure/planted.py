"""What of the core no shipped build runs: tests, and what only a planted defect (`core/src/bugs.rs`) reaches."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ONLY_IF_PLANTED = re.compile(r"(?<!!)\bplanted\(Bug::\w+\)(?!.*\|\|).*\{$")
# Of a condition, what is asked only after a planted defect; shipped, it is never evaluated.
OPERAND = re.compile(r"(?<!!)\bplanted\(Bug::\w+\) && [^|)]*")


def is_unshipped(file: Path, line: int, column: int) -> bool:
    """Whether a place, counted from 1, is in no shipped build."""
    text = file.read_text().splitlines()[line - 1]
    after = (match.span() for match in OPERAND.finditer(text))
    return line in unshipped_lines(file) or any(start < column <= end for start, end in after)


def unshipped_lines(file: Path) -> set[int]:
    if file.name == "bugs.rs":
        return set(range(1, len(file.read_text().splitlines()) + 1))
    unshipped: set[int] = set()
    closing = None
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if closing is not None:
            unshipped.add(number)
            if line.startswith(closing):
                closing = None
        elif line.startswith("#[cfg(test)]"):
            closing = "\0"  # to the end: tests come last
            unshipped.add(number)
        elif ONLY_IF_PLANTED.search(line) and "||" not in line:
            closing = line[: len(line) - len(line.lstrip())] + "}"
    return unshipped
