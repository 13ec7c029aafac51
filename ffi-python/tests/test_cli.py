"""The command line: what it says, what it never says, and what it does to a store."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import coatroom
import coatroom.tokens
import flask
import pytest
from coatroom import _check, cli
from coatroom._show import printable
from coatroom.flask import Coatroom
from coatroom.testing import ManualClock
from conftest import TEST_KEYS, Browser
from starlette.applications import Starlette
from starlette.middleware import Middleware

SETTINGS: dict[str, Any] = coatroom.Sessions("memory", TEST_KEYS)._native.policy()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COATROOM_KEYS", TEST_KEYS)
    monkeypatch.delenv("COATROOM_KEYS_FILE", raising=False)
    monkeypatch.setenv("COATROOM_STORE", f"sqlite:{tmp_path}/sessions.db")
    return f"sqlite:{tmp_path}/sessions.db"


def login(store: str, name: str, label: str = "", clock: ManualClock | None = None) -> Browser:
    browser = Browser()
    session = coatroom.Sessions(store, clock=clock).open("")
    session.set_client(label, "192.0.2.1")
    session.login(name)
    session["secret"] = "what the user left"
    session._commit(200)
    browser.take(session._exchange.head()[2])
    return browser


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """The exit status, and the document that ``--json`` gives."""
    status = cli.main([*arguments, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out)


def is_live(store: str, browser: Browser) -> bool:
    return coatroom.Sessions(store).open(browser.header).principal is not None


def test_sessions_are_listed_shown_and_revoked(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    phone, laptop, other = login(store, "ann", "Phone"), login(store, "ann", "Laptop"), login(store, "ben")
    status, listed = run(capsys, "sessions", "list")
    assert (status, len(listed["sessions"]), listed["more"]) == (0, 3, False)
    _, of_ann = run(capsys, "sessions", "list", "--principal", "ann")
    assert {session["label"] for session in of_ann["sessions"]} == {"Phone", "Laptop"}
    _, cut = run(capsys, "sessions", "list", "--limit", "2")
    assert (len(cut["sessions"]), cut["more"]) == (2, True)
    handle = next(session["handle"] for session in of_ann["sessions"] if session["label"] == "Phone")
    _, shown = run(capsys, "sessions", "show", handle)
    assert (shown["kind"], shown["principal"], shown["address"]) == ("login", "ann", "192.0.2.1")
    assert run(capsys, "sessions", "revoke", handle) == (0, {"ended": 1})
    assert run(capsys, "sessions", "revoke", handle) == (1, {"ended": 0})
    assert [is_live(store, browser) for browser in (phone, laptop, other)] == [False, True, True]
    assert run(capsys, "sessions", "revoke", "--principal", "ann") == (0, {"ended": 1})
    assert [is_live(store, browser) for browser in (laptop, other)] == [False, True]
    assert run(capsys, "sessions", "revoke", "--everything", "--yes") == (0, {"ended": 1})
    assert not is_live(store, other)


@pytest.mark.parametrize("place", ["", "cookie-until-login+"])
@pytest.mark.parametrize("of", ["--principal", "handle"])
def test_what_is_revoked_loses_its_access_tokens_whatever_the_command_was_told(
    store: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, of: str, place: str
) -> None:
    login(place + store, "ann")
    monkeypatch.setenv("COATROOM_STORE", place + store)
    _, listed = run(capsys, "sessions", "list")
    which = ("--principal", "ann") if of == "--principal" else (listed["sessions"][0]["handle"],)
    assert run(capsys, "sessions", "revoke", *which) == (0, {"ended": 1})
    assert len(coatroom.tokens.Revocations(store)) == 1


def test_everything_is_not_revoked_without_a_yes(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    browser = login(store, "ann")
    assert run(capsys, "sessions", "revoke", "--everything")[0] == 2
    assert is_live(store, browser)


def test_a_visitor_is_not_revoked_by_handle(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    session = coatroom.Sessions(store).open("")
    session["n"] = 1
    session._commit(200)
    _, listed = run(capsys, "sessions", "list", "--kind", "visitor")
    assert run(capsys, "sessions", "revoke", listed["sessions"][0]["handle"]) == (1, {"ended": 0})


def test_a_handle_that_begins_with_a_minus_sign_is_a_handle(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = run(capsys, "sessions", "show", "-_-_-_-_-_-_-_-_")
    assert (status, shown["handle"]) == (1, "-_-_-_-_-_-_-_-_")


# spec: SEC-1 89db
def test_no_command_prints_an_id_a_key_or_what_a_session_holds(store: str, capfd: pytest.CaptureFixture[str]) -> None:
    browser = login(store, "ann", "Phone")
    (id_,) = browser.cookies.values()
    handle = coatroom.Sessions(store).open(browser.header).handle or ""
    for arguments in (
        ["check"],
        ["sessions", "list"],
        ["sessions", "show", handle],
        ["stats"],
        ["bench", "--times", "3"],
        ["keys", "list"],
        ["sweep"],
        ["sessions", "revoke", handle],
    ):
        for form in ([], ["--json"]):
            cli.main([*arguments, *form])
    printed = "".join(capfd.readouterr())
    assert handle in printed
    assert id_ not in printed
    # Nothing as long as a secret or a key either, whatever it is the text of.
    assert re.search(r"[A-Za-z0-9_-]{40}", printed) is None
    assert "what the user left" not in printed


def test_what_strangers_chose_cannot_drive_the_terminal(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    login(store, "ann\x1b[2J", "\x1b]0;owned\x07[red]Phone\u202e\n")
    cli.main(["sessions", "list"])
    printed = capsys.readouterr().out
    assert "[red]Phone" in printed
    assert not set(printed) & {"\x1b", "\x07", "\u202e"}
    assert len(printed.splitlines()) == 2
    assert printable("plain ünïcode 字") == "plain ünïcode 字"


def test_a_sweep_removes_what_is_over_and_stats_count_the_rest(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    long_ago = ManualClock(datetime.now(timezone.utc) - timedelta(days=2))
    for name in ("ann", "ben", "cleo"):
        login(store, name, clock=long_ago)
    login(store, "ann")
    _, before = run(capsys, "stats")
    assert before["kinds"] == {"login": 1, "visitor": 0, "expired": 3, "ended": 0, "unreadable": 0}
    assert run(capsys, "sweep", "--batch", "2") == (0, {"removed": 3})
    _, after = run(capsys, "stats")
    assert (after["records"], after["principals"], after["most_of_one_principal"]) == (1, 1, 1)


def test_bench_measures_and_leaves_no_login_behind(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, measured = run(capsys, "bench", "--times", "4")
    assert status == 0
    assert set(measured["exchanges"]) == {"create", "login", "read", "write", "logout"}
    assert all(0 < times["median_us"] <= times["p95_us"] for times in measured["exchanges"].values())
    assert run(capsys, "stats")[1]["kinds"]["login"] == 0


def test_a_key_goes_in_signs_and_goes_out_and_nobody_is_logged_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, store = tmp_path / "keys", f"sqlite:{tmp_path}/sessions.db"
    monkeypatch.delenv("COATROOM_KEYS", raising=False)
    monkeypatch.setenv("COATROOM_KEYS_FILE", str(file))
    assert run(capsys, "keys", "new", "--file", str(file))[0] == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run(capsys, "keys", "new", "--file", str(file))[0] == 2, "an existing file is not written over"
    browser = login(store, "ann")
    assert run(capsys, "keys", "rotate", "add")[1] == {"step": "add", "number": 2, "ring": [1, 2]}
    assert is_live(store, browser)
    assert run(capsys, "keys", "rotate", "drop")[0] == 2, "which one has to be said"
    assert run(capsys, "keys", "rotate", "sign")[1]["ring"] == [2, 1]
    assert is_live(store, browser)
    _, listed = run(capsys, "keys", "list")
    assert [(key["number"], key["use"]) for key in listed["keys"]] == [(2, "signs"), (1, "verifies")]
    assert run(capsys, "keys", "rotate", "drop", "2")[0] == 2, "the key that signs stays"
    assert run(capsys, "keys", "rotate", "drop", "1")[1]["ring"] == [2]
    assert not is_live(store, browser)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "keys" in path.name] == ["keys"], "nothing is left beside it"


def test_a_malformed_ring_is_refused_without_a_word_of_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for ring in ("1:TooShort", "1:" + "x" * 43 + ",one:secretsecret", TEST_KEYS + "," + TEST_KEYS):
        monkeypatch.setenv("COATROOM_KEYS", ring)
        assert cli.main(["keys", "list"]) == 2
        printed = "".join(capfd.readouterr())
        assert "the key ring" in printed
        assert not any(part in printed for part in ("TooShort", "xxxx", "secret", TEST_KEYS[2:]))


def test_a_key_for_the_environment_is_all_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COATROOM_KEYS", TEST_KEYS)
    assert cli.main(["keys", "rotate", "add"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("2:")
    assert TEST_KEYS not in printed
    coatroom.Sessions("memory", f"{TEST_KEYS},{printed.strip()}")


def verdicts(level: str | None = None, **changed: Any) -> dict[str, str]:
    return {finding.source: finding.verdict for finding in _check.findings({**SETTINGS, **changed}, level)}


def test_the_defaults_fail_nothing() -> None:
    assert "fail" not in verdicts().values()
    assert "fail" not in verdicts("aal2").values()
    clauses = set(verdicts())
    assert {f"ASVS 7.{clause}" for clause in ("1.1", "2.4", "3.1", "3.2", "4.1", "5.1", "6.2")} <= clauses
    assert {f"ASVS 3.3.{clause}" for clause in range(1, 6)} <= clauses


@pytest.mark.parametrize(
    ("changed", "source"),
    [
        ({"idle": None}, "ASVS 7.3.1"),
        ({"absolute": 31 * 86400.0}, "ASVS 7.3.2"),
        ({"absolute": 31 * 86400.0}, "NIST 800-63B 2.1.3"),
        ({"plain_http": True}, "ASVS 3.3.1"),
        ({"plain_http": True}, "ASVS 3.3.3"),
        ({"same_site": "none"}, "ASVS 3.3.2"),
        ({"path": "/app"}, "ASVS 3.3.3"),
        ({"reuse": "danger-refuse-only"}, "RFC 9700 4.14.2"),
    ],
)
def test_a_weaker_choice_fails_its_clause(changed: dict[str, Any], source: str) -> None:
    assert verdicts(**changed)[source] == "fail"


def test_a_level_that_is_wanted_and_not_met_fails() -> None:
    assert verdicts("aal3")["NIST 800-63B 2.3.3"] == "fail"
    assert verdicts("aal2", idle=3601.0)["NIST 800-63B 2.2.3"] == "fail"
    assert verdicts("aal1", idle=3601.0)["NIST 800-63B 2.2.3"] == "yours"
    assert verdicts("aal3", idle=900.0)["NIST 800-63B 2.3.3"] == "pass"


def test_the_check_tells_programs_by_its_exit_status(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check")[0] == 0
    status, report = run(capsys, "check", "--dev", "--set", "same_site=lax", "--set", "idle=None")
    assert (status, report["failed"]) == (1, 3)
    assert run(capsys, "check", "--set", "nonsense=1")[0] == 2


flask_app = flask.Flask(__name__)
Coatroom(flask_app, coatroom.Sessions("memory", TEST_KEYS, same_site="none"))


guarded_app = flask.Flask(__name__)
Coatroom(guarded_app, coatroom.Sessions("memory", TEST_KEYS), csrf=True)


def starlette_app() -> Starlette:
    from coatroom.asgi import CoatroomMiddleware

    sessions = coatroom.Sessions("memory", TEST_KEYS, same_site="none")
    return Starlette(middleware=[Middleware(CoatroomMiddleware, sessions=sessions)])


@pytest.mark.parametrize("target", ["test_cli:flask_app", "test_cli:starlette_app()"])
def test_the_settings_of_an_application_are_what_is_checked(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = run(capsys, "check", "--app", target)
    assert status == 1
    assert [finding["source"] for finding in report["findings"] if finding["verdict"] == "fail"] == ["ASVS 3.3.2"]


def test_protection_against_forged_requests_is_seen_in_an_application(capsys: pytest.CaptureFixture[str]) -> None:
    def verdict(target: str) -> str:
        findings = run(capsys, "check", "--app", target)[1]["findings"]
        return next(str(finding["verdict"]) for finding in findings if finding["source"] == "ASVS 3.5.1")

    assert [verdict("test_cli:guarded_app"), verdict("test_cli:flask_app")] == ["pass", "yours"]


@pytest.mark.parametrize("target", ["no_such_module:app", "test_cli:nothing", "test_cli:SETTINGS", ":"])
def test_an_application_that_is_not_there_is_a_plain_refusal(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", "--app", target)[0] == 2


def test_a_store_that_cannot_answer_has_a_status_of_its_own(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "stats", "--store", "redis://127.0.0.1:1")[0] == 3


def test_a_command_says_nothing_but_its_answer(store: str) -> None:
    command = [sys.executable, "-m", "coatroom.cli", "stats", "--dev", "--store", "sqlite:dev.db"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(store.partition(":")[2]).parent)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "most of one principal" in ran.stdout


def test_a_database_that_cannot_answer_may_lack_its_tables(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, document = run(capsys, "stats", "--store", "postgres://nobody@127.0.0.1:1/none")
    assert status == 3
    assert "coatroom migrate" in document["message"]


def test_on_a_terminal_long_work_shows_its_progress_and_a_pipe_stays_clean(store: str) -> None:
    login(store, "ann", "Phone")
    command = [sys.executable, "-m", "coatroom.cli", "stats", "--json"]
    here, there = pty.openpty()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=there, check=True, timeout=60)
    os.close(there)
    os.close(here)
    assert json.loads(done.stdout)["records"] == 1
    here, there = pty.openpty()
    done = subprocess.run(command[:-1], stdout=subprocess.PIPE, stderr=there, check=True, timeout=60)
    os.close(there)
    assert b"reading" in os.read(here, 4096)
    os.close(here)
    assert b"\x1b" not in done.stdout


def test_the_wheel_brings_the_command_and_the_plugin() -> None:
    for group, module in (("console_scripts", "coatroom.cli"), ("pytest11", "coatroom.pytest_plugin")):
        (entry,) = entry_points(group=group, name="coatroom")
        assert (entry.module, entry.load() is not None) == (module, True)
    done = subprocess.run([Path(sys.executable).parent / "coatroom", "--help"], capture_output=True, timeout=60)
    assert (done.returncode, b"keys" in done.stdout) == (0, True)
