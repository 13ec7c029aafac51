"""What the command line puts on a terminal: tables, notes, progress. Plain text; nicer where `rich` is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol


class Step(Protocol):
    """Tells that ``n`` more are done."""

    def __call__(self, n: int = 1) -> None: ...


class Out:
    """Where a command writes: text for people, or one JSON document for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.is_rich = not as_json and sys.stdout.isatty() and _has_rich()

    def document(self, document: Mapping[str, Any]) -> None:
        """The whole answer, for programs."""
        sys.stdout.write(json.dumps(document, default=_plain) + "\n")

    def say(self, text: str) -> None:
        print(printable(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        cells = [[_cell(value) for value in row] for row in rows]
        if self.is_rich:
            _rich_table(columns, cells)
            return
        widths = [max([len(column), *(len(row[at]) for row in cells)]) for at, column in enumerate(columns)]
        for line in [list(columns), *cells]:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())

    @contextmanager
    def progress(self, what: str) -> Iterator[Step]:
        """Counts on the terminal's error output while something long is under way; nowhere else."""
        if self.as_json or not sys.stderr.isatty():
            yield lambda n=1: None
        elif _has_rich():
            yield from _rich_progress(what)
        else:
            yield from _plain_progress(what)


def printable(text: str) -> str:
    """Labels and names were chosen by strangers: no character of theirs moves the cursor or changes colours."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return printable(str(value))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"pass": "green", "fail": "bold red", "yours": "yellow"}
    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        # As Text, for a label may look like markup.
        table.add_row(*(Text(cell, style=colours.get(cell, "")) for cell in row))
    Console().print(table)


def _rich_progress(what: str) -> Iterator[Step]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda n=1: progress.advance(task, n)


def _plain_progress(what: str) -> Iterator[Step]:
    done = 0

    def step(n: int = 1) -> None:
        nonlocal done
        done += n
        print(f"\r{what} {done:,}", end="", file=sys.stderr, flush=True)

    yield step
    print("\r" + " " * (len(what) + 16) + "\r", end="", file=sys.stderr, flush=True)
