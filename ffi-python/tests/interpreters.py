"""The interpreters on which the wheel is tried."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def interpreters() -> list[str]:
    """Every CPython from 3.10 to 3.13 that is installed, by PATH or by pyenv."""
    found = {}
    for minor in range(10, 14):
        pyenv = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3.{minor}"))
        on_path = shutil.which(f"python3.{minor}")
        for candidate in [*map(str, pyenv), *([on_path] if on_path else [])]:
            answer = subprocess.run([candidate, "-c", ""], capture_output=True)
            if answer.returncode == 0:
                found[minor] = candidate
                break
    return list(found.values())
