"""The command ``coatroom``: keys, a report on the configuration, sessions, and the care of a store.

Exit status: 0 done, 1 the answer is no (a check failed, no such session), 2 called wrongly, 3 the store cannot answer.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from coatroom import _bench, _check, _keys, _records
from coatroom._show import Out
from coatroom.errors import CoatroomError, ConfigError, StoreUnavailable, Unavailable
from coatroom.remember import PREFIX
from coatroom.sessions import Sessions

COLUMNS = ("handle", "kind", "principal", "label", "address", "created", "seen", "over", "level")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; what the shell calls."""
    parser = _parser()
    args = parser.parse_args(_with_handle_last(sys.argv[1:] if arguments is None else arguments))
    out = Out(as_json=args.json)
    # What is told to the log of a program that starts is for `check` to say here.
    logging.getLogger("coatroom").addHandler(logging.NullHandler())
    try:
        status = args.run(args, out)
    except CoatroomError as error:
        message = str(error) + _hint(args, error)
        if args.json:
            out.document({"error": error.code, "message": message})
        print(f"coatroom: {message}", file=sys.stderr)
        return 3 if isinstance(error, Unavailable) else 2
    except BrokenPipeError:
        # Whoever read along has seen enough; nothing is left to flush for the interpreter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return int(status)


def _hint(args: argparse.Namespace, error: CoatroomError) -> str:
    """What a database without tables looks like from here."""
    is_postgres = (getattr(args, "store", None) or "").startswith("postgres")
    wants_tables = isinstance(error, StoreUnavailable) and is_postgres
    return "; a database that is new to this release wants `coatroom migrate` first" if wants_tables else ""


def _with_handle_last(arguments: Sequence[str]) -> list[str]:
    """One handle in 64 begins with a minus sign, and would be taken for an option."""
    is_handle = [re.fullmatch(r"-[A-Za-z0-9_-]{15}", argument) is not None for argument in arguments]
    handles = [argument for argument, is_one in zip(arguments, is_handle, strict=True) if is_one]
    others = [argument for argument, is_one in zip(arguments, is_handle, strict=True) if not is_one]
    return [*others, "--", *handles] if handles else others


def _parser() -> argparse.ArgumentParser:
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--json", action="store_true", help="one JSON document instead of text")
    store = argparse.ArgumentParser(add_help=False, parents=[both])
    where = store.add_argument_group("which store", "--app is best: the commands then judge by your own settings")
    where.add_argument("--app", help="module:name of your Sessions, or of an application that has them")
    where.add_argument(
        "--store", default=os.environ.get("COATROOM_STORE"), help="such as sqlite:PATH ($COATROOM_STORE)"
    )
    where.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, such as idle=900; spans in seconds"
    )
    where.add_argument("--dev", action="store_true", help="the keys of dev=True, beside the store")

    parser = argparse.ArgumentParser(prog="coatroom", description="Looks after web sessions.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(to: Any, name: str, run: Any, parent: argparse.ArgumentParser, text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = to.add_parser(name, parents=[parent], help=text, description=text)
        command.set_defaults(run=run)
        return command

    keys = commands.add_parser("keys", help="the key ring").add_subparsers(required=True, metavar="COMMAND")
    new = add(keys, "new", keys_new, both, "Prints a new key, or makes a key file.")
    new.add_argument("--number", type=int, default=1, help="1 to 65535, another one than those in the ring")
    new.add_argument("--file", type=Path, help="a file to be made, readable by you alone; then nothing is printed")
    rotate = add(keys, "rotate", keys_rotate, both, "Changes the key that signs, in three steps, and logs nobody out.")
    rotate.add_argument("step", choices=["add", "sign", "drop"], help="one after the other, with every node in between")
    rotate.add_argument("number", type=int, nargs="?", help="the key meant: the last one, unless it is to be dropped")
    rotate.add_argument("--file", type=Path, help="the key file ($COATROOM_KEYS_FILE)")
    listing = add(keys, "list", keys_list, both, "Lists numbers and fingerprints of the keys, never a key.")
    listing.add_argument("--file", type=Path, help="the key file ($COATROOM_KEYS_FILE)")

    check = add(commands, "check", check_, store, "Holds the configuration against ASVS 5.0 and NIST SP 800-63B-4.")
    check.add_argument("--level", choices=list(_check.LEVELS), help="the NIST level to be met; else that of `preset`")

    sessions = commands.add_parser("sessions", help="what is stored").add_subparsers(required=True, metavar="COMMAND")
    listing = add(sessions, "list", sessions_list, store, "Lists sessions.")
    listing.add_argument("--principal", help="the live sessions of one user, by the index")
    listing.add_argument("--kind", choices=["login", "visitor", "expired", "ended", "unreadable"])
    listing.add_argument("--limit", type=int, default=100, help="at most so many; 0 for all (default 100)")
    show = add(sessions, "show", sessions_show, store, "Shows one session.")
    show.add_argument("handle")
    revoke = add(sessions, "revoke", sessions_revoke, store, "Ends sessions, at once.")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("handle", nargs="?", help="the login with this handle")
    which.add_argument("--principal", help="all sessions of this user, logins under way included")
    which.add_argument("--everything", action="store_true", help="every login there is, after an incident")
    revoke.add_argument("--yes", action="store_true", help="do not ask; needed for --everything without a terminal")

    sweep = add(commands, "sweep", sweep_, store, "Removes what is over. Only space depends on it.")
    sweep.add_argument("--batch", type=int, default=1000, help="records at a time (default 1000)")
    add(commands, "stats", stats, store, "Counts what is stored.")
    add(commands, "migrate", migrate, store, "Makes the tables of a PostgreSQL store, or brings them up to date.")
    bench = add(commands, "bench", bench_, store, "Measures exchanges on your store, with sessions of its own.")
    bench.add_argument("--times", type=int, default=200, help="exchanges of each kind (default 200)")
    return parser


def keys_new(args: argparse.Namespace, out: Out) -> int:
    if not 1 <= args.number <= 65535:
        raise ConfigError("the number of a key is 1 to 65535")
    entry = Sessions.new_key(args.number)
    if args.file is None:
        out.document({"key": entry}) if args.json else print(entry)
        return 0
    if args.file.exists():
        raise ConfigError("this file exists: `coatroom keys rotate add --file ...` adds a key to it")
    _keys.write(args.file, _keys.parse(entry))
    return _told(out, {"file": str(args.file), "number": args.number}, f"made {args.file} with key {args.number}")


# spec: KEY-3 e373, KEY-5 59c3
def keys_rotate(args: argparse.Namespace, out: Out) -> int:
    ring, path = _ring(args)
    if not ring:
        raise ConfigError("there is no key yet: `coatroom keys new`")
    if args.step == "add":
        fresh = _keys.parse(Sessions.new_key(args.number or _keys.next_number(ring)))[0]
        if fresh.number in {key.number for key in ring}:
            raise ConfigError("the ring has this number already: leave it out")
        if path is None:
            # The ring is not ours to change; the one key that nobody knows yet is all that is printed.
            out.document({"append": fresh.text}) if args.json else print(fresh.text)
            print("append this to COATROOM_KEYS on every node, then put it first on every node", file=sys.stderr)
            return 0
        return _changed(out, args.step, fresh, [*ring, fresh], path)
    if path is None:
        raise ConfigError("COATROOM_KEYS is yours to change: this step needs a key file")
    number = args.number if args.number is not None else ring[-1].number
    chosen = next((key for key in ring if key.number == number), None)
    if chosen is None:
        raise ConfigError("there is no key of this number: `coatroom keys list`")
    rest = [key for key in ring if key is not chosen]
    if args.step == "sign":
        return _changed(out, args.step, chosen, [chosen, *rest], path)
    if args.number is None or chosen is ring[0]:
        raise ConfigError("say which key to drop, and not the one that signs")
    return _changed(out, args.step, chosen, rest, path)


def _changed(out: Out, step: str, key: _keys.Entry, ring: list[_keys.Entry], path: Path) -> int:
    _keys.write(path, ring)
    text = {
        "add": "is in the ring and does not sign yet: put the ring on every node, then `coatroom keys rotate sign`",
        "sign": "signs: put the ring on every node, and drop the old key after the longest absolute limit",
        "drop": "is gone: put the ring on every node; ids under it are no longer known",
    }[step]
    document = {"step": step, "number": key.number, "ring": [entry.number for entry in ring]}
    return _told(out, document, f"key {key.number} {text}")


def keys_list(args: argparse.Namespace, out: Out) -> int:
    ring, _ = _ring(args)
    rows = [(key.number, key.fingerprint, key.bits, "signs" if at == 0 else "verifies") for at, key in enumerate(ring)]
    columns = ("number", "fingerprint", "bits", "use")
    if args.json:
        out.document({"keys": [dict(zip(columns, row, strict=True)) for row in rows]})
    else:
        out.table(columns, rows)
    return 0


def check_(args: argparse.Namespace, out: Out) -> int:
    sessions = _sessions(args, keys_matter=False)
    is_guarded = args.app is not None and any(getattr(at, "csrf", None) for at in _candidates(_named(args.app)))
    policy = sessions._native.policy() | {"transport": "header" if sessions._uses_headers else "cookie"}
    found = _check.findings(policy, args.level, is_guarded=is_guarded)
    warnings = sessions.warnings()
    failed = sum(finding.verdict == "fail" for finding in found)
    if args.json:
        out.document({"failed": failed, "findings": [asdict(finding) for finding in found], "store": warnings})
        return int(failed > 0)
    columns = ("verdict", "source", "level", "requirement", "why")
    out.table(columns, [[getattr(finding, column) for column in columns] for finding in found])
    for warning in warnings:
        out.say(f"store: {warning}")
    yours = sum(finding.verdict == "yours" for finding in found)
    out.say(f"{len(found) - failed - yours} pass, {failed} fail, {yours} are yours to see to")
    return int(failed > 0)


def sessions_list(args: argparse.Namespace, out: Out) -> int:
    sessions = _sessions(args)
    shown: list[_records.Record] = []
    more = False
    if args.principal is not None:
        found = [record for record in _records.of_principal(sessions, args.principal) if args.kind in (None, "login")]
        shown, more = _cut(found, args.limit)
    else:
        with out.progress("reading") as step:
            for batch in _records.records(sessions):
                step(len(batch))
                shown += [record for record in batch if args.kind in (None, record.kind)]
                shown, more = _cut(shown, args.limit)
                if more:
                    break
    if args.json:
        out.document({"sessions": [record.document() for record in shown], "more": more})
        return 0
    documents = [record.document() for record in shown]
    out.table(COLUMNS, [[document.get(column) for column in COLUMNS] for document in documents])
    if more:
        out.say(f"and more: --limit {args.limit * 10}, or --limit 0 for all")
    return 0


def sessions_show(args: argparse.Namespace, out: Out) -> int:
    record = _records.look_up(_sessions(args), args.handle)
    if record is None:
        return _told(out, {"handle": args.handle, "kind": None}, "nothing is stored under this handle", 1)
    if args.json:
        out.document(record.document())
    else:
        out.table(("what", "value"), list(record.document().items()))
    return 0


# spec: IDX-5 75ca
def sessions_revoke(args: argparse.Namespace, out: Out) -> int:
    sessions = _sessions(args, announces=True)
    if args.everything:
        if not args.yes and not _agreed("end every login there is?"):
            raise ConfigError("nothing was ended: say --yes")
        ended = _end_everything(sessions, out)
    elif args.principal is not None:
        ended = sessions.revoke_all(args.principal)
        # Also where the settings do not say that logins are remembered: the credentials are in the store.
        sessions.revoke_all(PREFIX + args.principal)
    else:
        record = _records.look_up(sessions, args.handle)
        if record is None or record.kind != "login" or record.principal is None:
            return _told(out, {"ended": 0}, "there is no live login under this handle", 1)
        ended = int(sessions.revoke(record.principal, args.handle))
    return _told(out, {"ended": ended}, f"{ended} ended")


def _end_everything(sessions: Sessions, out: Out) -> int:
    ended, seen = 0, set[str]()
    with out.progress("ending") as step:
        # User by user, so that it can be watched and stopped; then what has come meanwhile, at once.
        for batch in _records.records(sessions):
            names = {record.principal for record in batch if record.kind == "login" and record.principal is not None}
            for name in names - seen:
                ended += sessions.revoke_all(name)
            seen |= names
            step(len(batch))
        return ended + sessions.revoke_everything()


def sweep_(args: argparse.Namespace, out: Out) -> int:
    sessions, removed = _sessions(args), 0
    with out.progress("removing") as step:
        while swept := sessions.sweep(args.batch):
            removed += swept
            step(swept)
            if swept < args.batch:
                break
    return _told(out, {"removed": removed}, f"{removed} removed")


def stats(args: argparse.Namespace, out: Out) -> int:
    statistics = _records.Statistics()
    with out.progress("reading") as step:
        for batch in _records.records(_sessions(args)):
            step(len(batch))
            for record in batch:
                statistics.count(record)
    document = statistics.document()
    if args.json:
        out.document(document)
        return 0
    kinds, causes = document.pop("kinds"), document.pop("causes")
    counts = {**kinds, **document}
    out.table(("what", "count"), [(name.replace("_", " "), count) for name, count in counts.items()])
    if causes:
        out.table(("ended by", "count"), sorted(causes.items()))
    return 0


def migrate(args: argparse.Namespace, out: Out) -> int:
    _sessions(args).migrate()
    return _told(out, {"migrated": True}, "the store is up to date")


def bench_(args: argparse.Namespace, out: Out) -> int:
    if args.times < 1:
        raise ConfigError("--times is at least 1")
    with out.progress("measuring") as step:
        figures = _bench.bench(_sessions(args), args.times, step)
    if args.json:
        out.document({"exchanges": figures})
    else:
        rows = [(name, values["median_us"], values["p95_us"]) for name, values in figures.items()]
        out.table(("exchange", "median µs", "95 % below, µs"), rows)
    return 0


def _told(out: Out, document: dict[str, Any], text: str, status: int = 0) -> int:
    if out.as_json:
        out.document(document)
    else:
        out.say(text)
    return status


def _cut(records: list[_records.Record], limit: int) -> tuple[list[_records.Record], bool]:
    return (records[:limit], True) if 0 < limit < len(records) else (records, False)


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _ring(args: argparse.Namespace) -> tuple[list[_keys.Entry], Path | None]:
    """The ring, and the file that it is in, if it is in one."""
    named = args.file or os.environ.get("COATROOM_KEYS_FILE")
    if args.file is None and "COATROOM_KEYS" in os.environ:
        return _keys.parse(os.environ["COATROOM_KEYS"]), None
    if not named:
        raise ConfigError("no keys: set COATROOM_KEYS or COATROOM_KEYS_FILE, or say --file")
    try:
        return _keys.parse(Path(named).read_text("ascii")), Path(named)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key file cannot be read ({type(error).__name__})") from None


def _sessions(args: argparse.Namespace, *, keys_matter: bool = True, announces: bool = False) -> Sessions:
    if args.app is not None:
        return _of_app(args.app)
    if args.store is None and keys_matter:
        raise ConfigError("which store? say --app module:name, or --store and --set as in your program")
    settings: dict[str, Any] = dict(_setting(text) for text in args.set)
    if announces and args.store != "cookie":
        # Whether the program issues access tokens is not known here; announcing where nobody listens does no harm.
        settings.setdefault("announce", True)
    # A report on settings alone needs neither store nor keys.
    keys = None if keys_matter else Sessions.new_key(1)
    return Sessions(args.store or "memory", keys, dev=args.dev, **settings)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError("a setting is NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        # A word, such as concurrency=serial.
        return name, value


def _of_app(target: str) -> Sessions:
    for candidate in _candidates(_named(target)):
        if isinstance(candidate, Sessions):
            return candidate
    raise ConfigError(f"{target} has no coatroom.Sessions: name the object itself")


def _named(target: str) -> Any:
    module_name, _, path = target.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name.removesuffix("()"))
            if name.endswith("()"):
                found = found()
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{target} cannot be imported: {error}") from None
    return found


def _candidates(found: Any) -> list[Any]:
    """Where an application keeps its sessions: itself, an adapter, Flask, Starlette, Litestar."""
    middleware = getattr(found, "user_middleware", ())
    layers = [made for layer in middleware for made in (*layer.args, SimpleNamespace(**layer.kwargs))]
    adapters = [found, getattr(found, "session_interface", None), *layers, *getattr(found, "plugins", ())]
    return [*adapters, *(getattr(adapter, "sessions", None) for adapter in adapters)]


if __name__ == "__main__":
    sys.exit(main())
