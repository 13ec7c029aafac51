"""What a token costs in Python, beside PyJWT: CPU microseconds of one call, in one run.

Interleaved rounds, medians. Both verify the same tokens with keys that are loaded before, check issuer, audience, dates
and which claims are there, and hand out what is stated. PyJWT looks at less: it knows no type and no endings, and its
caller finds the key. `bare` is the signature alone, by the primitives that PyJWT uses: `cryptography` and `hmac`.

    tokens.py
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import statistics
import time
from collections.abc import Callable
from typing import Any

import coatroom
import jwt
from coatroom.testing import KEYS
from coatroom.tokens import Issuer, Revocations, Verifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMES = ("https://shop.example", "orders")
ROUNDS = 25
SECONDS = 0.02
"""How long one case is run in each round."""
REQUIRED = ["iss", "aud", "sub", "exp", "nbf", "iat", "jti", "sid", "roles", "level"]


def logged_in(sessions: coatroom.Sessions) -> coatroom.Session:
    session = sessions.open("")
    session.login("ada@shop.example", roles=["admin", "staff"])
    session._commit(200)
    return sessions.open(session._exchange.head()[2][0].partition(";")[0])


def cases_of(algorithm: Any) -> dict[str, Callable[[], object]]:
    keys = Issuer.new_key("2026-11", algorithm)
    text = keys.rpartition(":")[2]
    material = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    sessions = coatroom.Sessions("memory", KEYS, announce=True)
    issuer = Issuer(*NAMES, keys)
    session = logged_in(sessions)
    token = issuer.issue(session).text
    is_shared = algorithm == "HS256"
    given: dict[str, Any] = {"shared_keys": keys} if is_shared else {"jwks": issuer.jwks()}
    revocations = Revocations(sessions)
    fed = Verifier(*NAMES, revocations=revocations, **given)
    private: Any = material if is_shared else Ed25519PrivateKey.from_private_bytes(material)
    public: Any = material if is_shared else private.public_key()
    decode, options = jwt.PyJWT().decode, jwt.types.Options(require=REQUIRED)
    stated = decode(token, public, algorithms=[algorithm], audience=NAMES[1], issuer=NAMES[0])
    signed, _, signature = token.rpartition(".")
    raw, message = base64.urlsafe_b64decode(signature + "=="), signed.encode()

    def bare() -> None:
        if is_shared:
            assert hmac.compare_digest(hmac.digest(material, message, hashlib.sha256), raw)
        else:
            public.verify(raw, message)

    def pyjwt() -> object:
        return decode(token, public, algorithms=[algorithm], audience=NAMES[1], issuer=NAMES[0], options=options)

    verifier = Verifier(*NAMES, **given)
    return {
        "verify, bare": bare,
        "verify, PyJWT": pyjwt,
        "verify, Coatroom": lambda: verifier.verify(token),
        "verify, Coatroom with a feed": lambda: fed.verify(token),
        "issue, PyJWT": lambda: jwt.encode(stated, private, algorithm, {"kid": "2026-11", "typ": "at+jwt"}),
        "issue, Coatroom": lambda: issuer.issue(session),
    }


def measure(call: Callable[[], object]) -> float:
    """CPU microseconds of one call."""
    calls, start = 0, time.thread_time_ns()
    while True:
        for _ in range(16):
            call()
        calls += 16
        spent = time.thread_time_ns() - start
        if spent > SECONDS * 1e9:
            return spent / calls / 1000


def main() -> None:
    print(f"{'':44} µs    times as fast as PyJWT")
    for algorithm in ("EdDSA", "HS256"):
        cases = cases_of(algorithm)
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, call in cases.items():
                taken[name].append(measure(call))
        medians = {name: statistics.median(times) for name, times in taken.items()}
        for name, median in medians.items():
            peer = medians[name.partition(",")[0] + ", PyJWT"]
            print(f"{algorithm + ' ' + name:40} {median:7.1f}  {peer / median:6.1f}")


if __name__ == "__main__":
    main()
