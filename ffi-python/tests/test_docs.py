"""The examples of the task pages run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def examples(page: str) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    return "\n".join(blocks)


@pytest.mark.parametrize("page", ["testing.md"])
def test_the_tests_of_a_page_pass(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_example.py").write_text(examples(page))
    monkeypatch.chdir(tmp_path)
    assert pytest.main(["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "test_example.py"]) == 0
