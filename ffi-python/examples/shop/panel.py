"""The side panel: one card for each exchange, with what Coatroom did in it and what that means."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import coatroom

STATES = {
    None: "There is no session: nothing is stored for you, and you carry no id.",
    "Created": "A new id was issued. It becomes active when your browser shows it for the first time.",
    "Active": "Your browser showed its id, and the session is within its time limits.",
    "Expired": "The session reached a time limit. Its id never works again.",
    "Destroyed": "The session was ended, or nothing is stored under this id. It never works again.",
    "Regenerated": "A newer id took the place of the one your browser sent.",
}

@dataclass(frozen=True)
class Fact:
    """One line of a card: a value and what it means."""

    label: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Card:
    """What one exchange did."""

    request: str
    status: int
    state: str
    message: str = ""
    facts: list[Fact] = field(default_factory=list)

    def to_json(self) -> str:
        """The card as text, to hand it to another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The card again."""
        fields = json.loads(text)
        return cls(**{**fields, "facts": [Fact(**fact) for fact in fields["facts"]]})


def describe(trace: coatroom.Trace, sent: Iterable[str], set_cookies: Iterable[str]) -> list[Fact]:
    """Puts a trace and the cookies of an exchange into words."""
    state = trace.state
    facts = [Fact("State", state or "none", STATES.get(state, "")), *_identity(trace)]
    facts.append(_written(trace))
    facts.append(Fact("Store trips", str(trace.trips), _trips(trace.trips)))
    facts.extend(_time_left(trace))
    facts.append(_sent(list(sent)))
    facts.append(_set([_cookie(line) for line in set_cookies]))
    if trace.events:
        facts.append(Fact("Events", ", ".join(trace.events), "What a log would say, with the handle and never the id."))
    return facts


def _identity(trace: coatroom.Trace) -> list[Fact]:
    if trace.handle is None:
        return []
    generation = trace.generation or 0
    ids = "the first id" if generation == 0 else f"id number {generation + 1}"
    return [
        Fact("Handle", trace.handle, "The public name of the session. It opens nothing, so it may be shown and logged."),
        Fact("Generation", str(generation), f"You carry {ids} of this session. Login and rotation issue the next one."),
    ]


def _written(trace: coatroom.Trace) -> Fact:
    if not trace.written:
        return Fact("Written", "nothing", "Reading a session writes no data.")
    return Fact("Written", ", ".join(trace.written), "All of it in one atomic swap, before the response was sent.")


def _trips(trips: int) -> str:
    if trips == 0:
        return "The store was not asked at all."
    if trips == 1:
        return "One call, to load the session or to create it."
    return "Loading is one call, writing is one more."


def _time_left(trace: coatroom.Trace) -> Iterable[Fact]:
    if trace.idle_left is not None:
        yield Fact("Idle limit", duration(trace.idle_left), "The session ends when it is left alone this long.")
    if trace.absolute_left is not None:
        yield Fact("Absolute limit", duration(trace.absolute_left), "Then it ends however busy you are. Only a login moves it.")


def duration(seconds: float) -> str:
    """Time left, for people."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def _sent(names: list[str]) -> Fact:
    if not names:
        return Fact("Cookies sent", "none", "Your browser showed no id.")
    return Fact("Cookies sent", ", ".join(names), "The id inside is a secret, so this page does not print it.")


def _set(cookies: list[str]) -> Fact:
    if not cookies:
        return Fact("Cookies set", "none", "The id in your browser stays as it is.")
    return Fact("Cookies set", ", ".join(cookies), "Sent only after the store had acknowledged the change.")


def _cookie(line: str) -> str:
    name, _, rest = line.partition("=")
    return f"{name} (removed)" if "max-age=0" in rest.lower() else f"{name} (new id)"
