"""The side panel: one card for each exchange, with what Coatroom did in it and what that means."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

import coatroom

#: What the id that the browser sent was found to be.
STATES = {
    None: "Your browser sent no id.",
    "Created": "Your browser sent an id that was never shown before.",
    "Active": "Your browser sent its id, and the session is within its time limits.",
    "Expired": "The session of this id reached a time limit. The id never works again.",
    "Destroyed": "The session of this id was ended, or there is none. The id never works again.",
    "Regenerated": "Your browser sent an id whose place a newer one has taken.",
}

#: What each thing that was written is for.
CHANGES = {
    "created": "A session was made for you, with a fresh id.",
    "data": "The changes of this request, and nothing else, were put into the session.",
    "logged in": "Your name was put into the session under a fresh id. Every older id is dead.",
    "elevated": "You are trusted more, under a fresh id.",
    "rotated": "The id was replaced; you and your data stayed.",
    "confirmed": "Your browser showed a new id for the first time. From now on the one before it is on its way out.",
    "touched": "You were here: the idle limit begins anew.",
    "ended": "The session is over, for every copy of its id.",
}

#: What a change makes of the id that the browser sent; the first that applies.
BECOMES = {"ended": "Destroyed", "logged in": "Regenerated", "elevated": "Regenerated", "rotated": "Regenerated"}


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
    meaning: str
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


def outcome(trace: coatroom.Trace) -> str:
    """What the id was that the browser sent, and what has become of it."""
    if trace.state is None:
        return "none → Created" if "created" in trace.written else "none"
    if trace.state != "Active":
        return trace.state
    after = next((after for change, after in BECOMES.items() if change in trace.written), None)
    return f"Active → {after}" if after else "Active"


#: What a logout means where the session was in its cookie and nobody else was told.
NOT_TAKEN_BACK = (
    "Your browser forgets the cookie. Whoever has a copy of it is logged in until its time is over: a deny list would "
    "end that, and so would a store."
)
LARGEST_COOKIE = 4096


def describe(trace: coatroom.Trace, sent: Iterable[str], set_cookies: Iterable[str], stateless: str = "") -> list[Fact]:
    """Puts a trace and the cookies of an exchange into words."""
    lines = list(set_cookies)
    over = "ended" in trace.written and "created" not in trace.written
    trips = Fact("Store trips", str(trace.trips), _trips(trace, stateless))
    facts = [*_identity(trace, over), _written(trace, stateless), trips]
    facts += _kept(trace, lines, stateless)
    facts += [] if over else _time_left(trace)
    facts.append(_sent(list(sent)))
    facts.append(_set([_cookie(line) for line in lines]))
    if trace.events:
        facts.append(Fact("Events", ", ".join(trace.events), "What a log would say, with the handle and never the id."))
    return facts


def _identity(trace: coatroom.Trace, over: bool) -> list[Fact]:
    if trace.handle is None:
        return []
    meaning = "The public name of the session. It opens nothing: it may be shown and logged."
    handle = Fact("Handle", trace.handle, meaning)
    if over:
        return [handle]
    generation = trace.generation or 0
    ids = "the first id" if generation == 0 else f"id number {generation + 1}"
    meaning = f"You carry {ids} of this session. Login and rotation issue the next one."
    return [handle, Fact("Generation", str(generation), meaning)]


def _kept(trace: coatroom.Trace, lines: list[str], stateless: str) -> list[Fact]:
    """Where the session is by now, if not in a store."""
    if not stateless or (stateless == "until-login" and ("logged in" in trace.written or not lines)):
        return []
    sizes = [len(line) for line in lines if "." in line.partition(";")[0] and "max-age=0" not in line.lower()]
    if not sizes:
        return []
    meaning = "Encrypted, and nowhere else. Of two requests at once, the one that is answered last undoes the other."
    return [Fact("Kept", f"in your cookie, {sizes[0]} of {LARGEST_COOKIE} bytes", meaning)]


def _written(trace: coatroom.Trace, stateless: str = "") -> Fact:
    if not trace.written:
        return Fact("Written", "nothing", "Reading a session writes no data.")
    changes = CHANGES | {"ended": NOT_TAKEN_BACK} if stateless == "alone" else CHANGES
    meaning = " ".join(changes.get(change, "") for change in trace.written)
    return Fact("Written", ", ".join(trace.written), meaning.strip())


def _trips(trace: coatroom.Trace, stateless: str = "") -> str:
    if trace.trips == 0:
        return "There is no store." if stateless == "alone" else "The store was not asked at all."
    if stateless == "deny":
        return "One call asks whether the session is still good. Logins and ends are one more, so that they are final."
    if trace.trips == 1:
        return "One call, which created it." if "created" in trace.written else "One call, which loaded it."
    return "Loading is one call, writing everything in one atomic swap is one more."


def _time_left(trace: coatroom.Trace) -> list[Fact]:
    if trace.absolute_left is None:
        return []
    whole = duration(trace.absolute_left)
    if trace.idle_left is None:
        return [Fact("Time left", whole, "However busy you are. Only a login moves this limit.")]
    meaning = "Each visit renews the first limit, only a login the second."
    return [Fact("Time left", f"{duration(trace.idle_left)} idle, {whole} in all", meaning)]


def duration(seconds: float) -> str:
    """Time left, for people."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    words = f"{minutes} min {rest:02} s"
    if minutes == 0:
        words = f"{rest} s"
    elif minutes >= 60:
        words = f"{minutes // 60} h {minutes % 60:02} min"
    return words.replace(" ", "\N{NO-BREAK SPACE}")


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
