"""What `scripts/wheel` has built: `make wheel` runs it and then these tests."""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from interpreters import interpreters

REPOSITORY = Path(__file__).parents[3]
DIST = REPOSITORY / "target" / "dist"
LICENCES = {"LICENSE-APACHE", "LICENSE-MIT", "LICENSE-THIRD-PARTY"}


def wheel() -> Path:
    (path,) = DIST.glob("*.whl")
    return path


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def one(path: Path, ending: str) -> bytes:
    (found,) = (data for name, data in contents(path).items() if name.endswith(ending))
    return found


def test_one_wheel_serves_every_cpython_from_3_10_on_and_every_glibc_from_2_17_on() -> None:
    tags = {str(tag) for tag in email.message_from_bytes(one(wheel(), ".dist-info/WHEEL")).get_all("Tag", [])}
    machine = os.uname().machine
    assert tags == {f"cp310-abi3-{platform}_{machine}" for platform in ("manylinux2014", "manylinux_2_17")}


def test_the_module_asks_for_no_glibc_above_2_17(tmp_path: Path) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(one(wheel(), "_native.abi3.so"))
    symbols = subprocess.run(["objdump", "-T", module], check=True, capture_output=True, text=True).stdout
    versions = {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([\d.]+)", symbols)}
    assert versions
    assert max(versions) <= (2, 17)
    needed = subprocess.run(["objdump", "-p", module], check=True, capture_output=True, text=True).stdout
    libraries = {name.partition(".so")[0] for name in re.findall(r"NEEDED\s+(\S+)", needed)}
    assert libraries <= {"libc", "libm", "libdl", "libpthread", "librt", "libgcc_s", "ld-linux-x86-64"}


def test_types_and_the_texts_of_all_licences_are_inside() -> None:
    files = contents(wheel())
    assert {"coatroom/py.typed", "coatroom/_native.pyi"} <= files.keys()
    assert {name.rpartition("/")[2] for name in files if "/licenses/" in name} == LICENCES
    metadata = email.message_from_bytes(one(wheel(), ".dist-info/METADATA"))
    assert metadata["License-Expression"] == "MIT OR Apache-2.0"


def test_every_crate_that_is_linked_is_named_with_its_licence() -> None:
    bill: dict[str, Any] = json.loads(one(wheel(), ".cyclonedx.json"))
    named = one(wheel(), "LICENSE-THIRD-PARTY").decode()
    ours = {"coatroom-core", "coatroom-store", "coatroom-token", "coatroom-python"}
    linked = {part["name"] for part in bill["components"] if part.get("scope", "required") == "required"} - ours
    assert len(linked) > 20
    assert [name for name in linked if not re.search(rf"^{re.escape(name)} \d", named, re.MULTILINE)] == []


LIFE = """
import coatroom, coatroom.asgi, coatroom.wsgi, flask, sys
from coatroom.flask import Coatroom

app = flask.Flask(__name__)
Coatroom(app, coatroom.Sessions("sqlite:sessions.db", coatroom.Sessions.new_key(1)))
app.add_url_rule("/count", "count", lambda: {"n": flask.session.add("n", 1), "user": flask.session.principal})
app.add_url_rule("/in", "in", lambda: {"in": flask.session.login("ada")})
app.add_url_rule("/out", "out", lambda: {"out": flask.session.logout()})
client = app.test_client()
seen = [client.get(path, base_url="https://shop.test").json for path in ("/count", "/in", "/count", "/out", "/count")]
assert seen[2] == {"n": 2, "user": "ada"} and seen[4] == {"n": 1, "user": None}, seen
print(*sys.version_info[:2], coatroom.__file__)
"""


@pytest.mark.parametrize("interpreter", interpreters())
def test_an_application_runs_on_the_wheel_in_a_fresh_environment(interpreter: str, tmp_path: Path) -> None:
    subprocess.run([interpreter, "-m", "venv", "fresh"], check=True, cwd=tmp_path)
    environment = {"PATH": f"{tmp_path}/fresh/bin:{os.environ['PATH']}"}

    def run(*command: str | Path) -> str:
        ran = subprocess.run(list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    run("fresh/bin/pip", "install", "--quiet", "--disable-pip-version-check", f"coatroom[flask] @ {wheel().as_uri()}")
    assert str(tmp_path) in run("fresh/bin/python", "-c", LIFE)
    assert run("fresh/bin/coatroom", "keys", "new").startswith("1:")


def test_the_source_distribution_builds_away_from_the_repository(tmp_path: Path) -> None:
    (source,) = DIST.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.glob("LICENSE-*")} >= {"LICENSE-APACHE", "LICENSE-MIT"}
    maturin = Path(sys.executable).with_name("maturin")
    # The crates of others may come from builds of this repository; ours are built from what was unpacked.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(REPOSITORY / "target")}
    subprocess.run(
        [maturin, "build", "--quiet", "--release", "--out", tmp_path / "out"], check=True, cwd=folder, env=environment
    )
    (built,) = (tmp_path / "out").glob("*.whl")
    code = {name for name in contents(wheel()) if name.startswith("coatroom/")}
    assert code == {name for name in contents(built) if name.startswith("coatroom/")}
