"""A configuration against ASVS 5.0 (V7 and V3.3) and the levels of NIST SP 800-63B-4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["pass", "fail", "yours"]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

LEVELS: Mapping[str, tuple[str, float, float | None]] = {
    "aal1": ("2.1.3", 30 * DAY, None),
    "aal2": ("2.2.3", DAY, HOUR),
    "aal3": ("2.3.3", 12 * HOUR, 15 * MINUTE),
}


@dataclass(frozen=True)
class Finding:
    """One requirement and how the configuration stands to it. ``yours`` is what no library can see or decide."""

    source: str
    level: str
    requirement: str
    verdict: Verdict
    why: str


def findings(policy: Mapping[str, Any], level: str | None = None, *, is_guarded: bool = False) -> list[Finding]:
    """All requirements, for a policy as the native module tells it; ``level`` is the NIST level to be met, and
    ``is_guarded`` says whether an adapter was seen that refuses forged requests."""
    return [
        *_asvs_sessions(policy),
        *_asvs_cookies(policy),
        _forged(is_guarded),
        *_nist(policy, level or policy["preset"] or "aal1"),
    ]


def _forged(is_guarded: bool) -> Finding:
    why = "csrf of the adapter" if is_guarded else "csrf=True for the adapter, unless something else sees to it"
    return Finding("ASVS 3.5.1", "L1", "forged requests are refused", "pass" if is_guarded else "yours", why)


def _asvs_sessions(policy: Mapping[str, Any]) -> Iterator[Finding]:
    def of(clause: str, level: str, requirement: str, verdict: Verdict, why: str) -> Finding:
        return Finding(f"ASVS {clause}", level, requirement, verdict, why)

    idle, absolute, limit = policy["idle"], policy["absolute"], policy["limit"]
    yield of(
        "7.1.1",
        "L2",
        "idle and absolute limit are written down, with reasons",
        "yours",
        f"here idle is {span(idle)} and absolute {span(absolute)}: say why they suit your users",
    )
    if limit:
        yield of("7.1.2", "L2", "how many sessions a user may have", "pass", f"{limit[1]}, then `{limit[0]}`")
    else:
        yield of(
            "7.1.2",
            "L2",
            "how many sessions a user may have",
            "yours",
            'any number: write that down, or set limit=("evict-oldest", N)',
        )
    yield of("7.1.3", "L2", "lifetimes with single sign-on are coordinated", "yours", "only if there is single sign-on")
    yield of("7.2.1", "L1", "sessions are verified on the server", "pass", "always")
    yield of("7.2.2", "L1", "tokens are made per session, no static keys", "pass", "always: only the core makes ids")
    yield of("7.2.3", "L1", "reference tokens are unique and random, 128 bits", "pass", "always: 256 bits")
    yield of("7.2.4", "L1", "a new token at login, the old one ends", "pass", "always, by `session.login`")
    if idle is None:
        yield of("7.3.1", "L2", "there is an idle limit", "fail", "idle=None: set `idle`, unless you accept the risk")
    else:
        yield of("7.3.1", "L2", "there is an idle limit", "pass", span(idle))
    if absolute > 30 * DAY:
        yield of("7.3.2", "L2", "there is an absolute limit", "fail", f"{span(absolute)}: no standard allows so long")
    else:
        yield of("7.3.2", "L2", "there is an absolute limit", "pass", f"{span(absolute)}, moved by a full login alone")
    yield of("7.4.1", "L1", "after the end no further use", "pass", "always: the record is judged at every use")
    yield of("7.4.2", "L1", "disabling an account ends its sessions", "yours", "call `sessions.revoke_all(principal)`")
    yield of(
        "7.4.3",
        "L2",
        "the other sessions can be ended after a change of a factor",
        "yours",
        "offer `session.revoke_others()`",
    )
    yield of("7.4.4", "L2", "logout is easy to reach", "yours", "a button that posts, and calls `session.logout()`")
    yield of("7.4.5", "L2", "administrators can end sessions", "pass", "`coatroom sessions revoke`, or your own page")
    yield of(
        "7.5.1", "L2", "a fresh login before changes of the account", "yours", "call `session.require_fresh(minutes=5)`"
    )
    yield of("7.5.2", "L2", "users see and end their sessions", "yours", "`session.devices()`, after `require_fresh`")
    yield of("7.5.3", "L3", "one more factor for the most sensitive", "yours", "call `session.require_level(2)`")
    yield of("7.6.1", "L2", "federated sessions behave as documented", "yours", "only if there is single sign-on")
    yield of("7.6.2", "L2", "a session needs an act of the user", "pass", "always: nothing is stored before a write")
    refuses_only = policy["reuse"] == "danger-refuse-only"
    yield Finding(
        "RFC 9700 4.14.2",
        "must",
        "a copied id ends what it opens",
        "fail" if refuses_only else "pass",
        "reuse=danger-refuse-only keeps the copy's session: use `destroy`" if refuses_only else policy["reuse"],
    )


def _asvs_cookies(policy: Mapping[str, Any]) -> Iterator[Finding]:
    def of(clause: str, level: str, requirement: str, verdict: Verdict, why: str) -> Finding:
        return Finding(f"ASVS {clause}", level, requirement, verdict, why)

    plain, domain, path = policy["plain_http"], policy["domain"], policy["path"]
    if policy.get("transport", "cookie") == "header":
        yield of("3.3.1", "L1", "cookies", "pass", "there are none: ids travel in headers")
        return
    if plain:
        yield of("3.3.1", "L1", "cookies are Secure and have a prefix", "fail", "dev=True: leave it out in production")
    else:
        yield of("3.3.1", "L1", "cookies are Secure and have a prefix", "pass", policy["login_cookie"])
    if policy["same_site"] == "none":
        yield of(
            "3.3.2",
            "L2",
            "SameSite suits the purpose",
            "fail",
            "none: every site can send requests with the session; set `lax`, unless pages of others embed yours",
        )
    else:
        yield of("3.3.2", "L2", "SameSite suits the purpose", "pass", policy["same_site"])
    if plain:
        yield of("3.3.3", "L2", "__Host- unless shared by design", "fail", "dev=True: plain http cannot carry it")
    elif domain is not None:
        yield of(
            "3.3.3",
            "L2",
            "__Host- unless shared by design",
            "yours",
            f"shared with all hosts of {domain}: each of them can set and read the cookies",
        )
    elif path != "/":
        yield of("3.3.3", "L2", "__Host- unless shared by design", "fail", f"path={path} keeps nobody out: use /")
    else:
        yield of("3.3.3", "L2", "__Host- unless shared by design", "pass", "this host alone")
    yield of("3.3.4", "L2", "cookies are HttpOnly", "pass", "always")
    yield of("3.3.5", "L3", "cookies have at most 4,096 bytes", "pass", "always: 88 characters and their attributes")


def _nist(policy: Mapping[str, Any], wanted: str) -> Iterator[Finding]:
    idle, absolute = policy["idle"], policy["absolute"]
    for name, (section, most_absolute, most_idle) in LEVELS.items():
        too_long = absolute > most_absolute
        too_idle = most_idle is not None and (idle is None or idle > most_idle)
        limits = f"absolute at most {span(most_absolute)}" + (f", idle {span(most_idle)}" if most_idle else "")
        why = f"absolute {span(absolute)}, idle {span(idle)}"
        verdict: Verdict = "pass"
        if too_long or too_idle:
            # A level above the one that is wanted is for information.
            verdict = "fail" if list(LEVELS).index(name) <= list(LEVELS).index(wanted) else "yours"
            field = "absolute" if too_long else "idle"
            most = most_absolute if too_long else most_idle
            why += f": for {name.upper()} lower `{field}` to {span(most)}"
        yield Finding(f"NIST 800-63B {section}", name.upper(), limits, verdict, why)


def span(seconds: float | None) -> str:
    """A span in the largest unit that leaves a short number."""
    if seconds is None:
        return "none"
    for unit, size in (("d", DAY), ("h", HOUR), ("min", MINUTE)):
        if seconds >= size and (seconds / size).is_integer() and (unit != "d" or seconds > DAY):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
