"""The quick starts, step by step as a reader takes them: files are written, servers started, answers compared."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from coatroom.cli import _parser

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(str(page.relative_to(DOCS)) for page in (DOCS / "start").glob("*.md"))
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
# The packages are here, and the interpreter of this environment takes the place of a fresh one.
SETUP = ("python3 -m venv", ". .venv/bin/activate", "pip install")


class Reader:
    """Somebody in an empty folder."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.server: subprocess.Popen[bytes] | None = None
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {"PATH": path, "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}

    def text(self, text: str) -> str:
        return text.replace("8000", str(self.port))

    def follow(self, kind: str, title: str, body: str) -> None:
        if kind == "python":
            name, comma, _ = title.partition(", at the end")
            with (self.folder / name).open("a" if comma else "w") as file:
                file.write(self.text(body))
        elif kind == "sh" and title == "first terminal":
            self.serve(body)
        elif kind == "sh":
            lines = [line for line in body.splitlines() if not line.startswith(SETUP)]
            self.run("\n".join(["set -e", *lines]))
        elif kind == "console":
            assert self.run(commands(body)) == answers(body)

    def run(self, script: str) -> str:
        ran = subprocess.run(
            ["bash", "-c", self.text(script)], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        return "".join(line + "\n" for line in ran.stdout.splitlines() if line)

    def serve(self, command: str) -> None:
        with (self.folder / "server.log").open("wb") as log:
            self.server = subprocess.Popen(
                self.text(command).split(), cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.server.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def leave(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            try:
                self.server.wait(10)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()


def commands(body: str) -> str:
    # An answer may lack its last line break: one is given to each.
    return "\n".join(line[2:] + "; echo" for line in body.splitlines() if line.startswith("$ "))


def answers(body: str) -> str:
    return "".join(line + "\n" for line in body.splitlines() if line and not line.startswith("$ "))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


@pytest.mark.parametrize("page", PAGES)
def test_a_quick_start_works_as_it_is_written(page: str, reader: Reader) -> None:
    for kind, title, body in FENCE.findall((DOCS / page).read_text()):
        reader.follow(kind, title, body)
    if (reader.folder / "app.py").exists():
        assert '"principal": "ada"' in reader.run("coatroom sessions list --app app:app --json")


def test_there_is_a_quick_start_for_each_framework() -> None:
    frameworks = ("asgi", "django", "fastapi", "flask", "litestar", "starlette", "wsgi")
    assert [f"start/{name}.md" for name in frameworks] == PAGES


def test_the_shell_of_the_page_on_deployment_works_as_it_is_written(reader: Reader) -> None:
    for kind, title, body in FENCE.findall((DOCS / "deployment.md").read_text()):
        if kind == "sh":
            reader.follow(kind, title, body)


def pages() -> list[Path]:
    return [*sorted(DOCS.rglob("*.md")), DOCS.parent / "README.md", DOCS.parent / "ffi-python" / "README.md"]


def calls(page: Path) -> list[str]:
    """Every call of the command line in a code block, fenced or indented."""
    lines = re.findall(r"^(?:    |\$ )?(coatroom .*)$", page.read_text(), re.MULTILINE)
    return [
        line.partition(" #")[0].replace("...", "sqlite:x").strip()
        for line in lines
        if not line.startswith("coatroom: ")
    ]


@pytest.mark.parametrize("page", [page for page in pages() if calls(page)], ids=lambda page: page.name)
def test_every_command_on_a_page_is_one_that_there_is(page: Path) -> None:
    for call in calls(page):
        arguments = shlex.split(call)[1:]
        assert vars(_parser().parse_args(arguments))["run"]


def test_every_example_on_a_page_is_run_by_a_test() -> None:
    """By a test that names the page; those of the quick starts are found by their folder."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for page in pages():
        if "```python" in page.read_text() and page.parent.name != "start":
            assert f'"{page.name}"' in tests, f"no test runs the examples of {page}"
