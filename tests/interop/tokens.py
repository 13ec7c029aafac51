"""PyJWT against the tokens of `spec/vectors/tokens`: it accepts what counts, and makes tokens that count.

python tests/interop/tokens.py            checks every accepted token
python tests/interop/tokens.py --make     prints tokens of its own, as `tests/src/tokens/foreign.rs` has them
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FOLDER = Path(__file__).parents[2] / "spec/vectors/tokens"
NOW = 1_767_225_600


def material(text: str) -> bytes:
    key = text.rsplit(":", 1)[1]
    return base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))


def check(given: dict[str, Any]) -> int:
    keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_json(given["jwks"]).keys}
    shared = material(given["hs256"])
    count = 0
    for case in json.loads((FOLDER / "accepted.json").read_text())["cases"]:
        token, name = case["token"], case["name"]
        key = shared if case["keys"] == "hs256" else keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(
            token,
            key,
            algorithms=["HS256" if case["keys"] == "hs256" else "EdDSA"],
            audience=given["audience"],
            issuer=given["issuer"],
            # PyJWT reads the system's clock: dates are compared by the vectors alone.
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "iat", "sub"]},
        )
        expected = case["expect"]["claims"]
        stated = {field: claims[field] for field in ("sub", "sid", "jti", "level", "roles")}
        assert stated == {field: expected[field] for field in stated}, name
        count += 1
    return count


def make(given: dict[str, Any]) -> None:
    claims = {
        "iss": given["issuer"], "aud": given["audience"], "sub": "ada", "sid": "AAECAwQFBgcICQoL", "jti": "token-1",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300, "level": 1, "roles": ["admin", "staff"],
    }  # fmt: skip
    key = Ed25519PrivateKey.from_private_bytes(b"obviously a test key, not a secr")
    print(jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": "ed-1", "typ": "at+jwt"}))
    print(jwt.encode(claims, material(given["hs256"]), algorithm="HS256", headers={"kid": "hs-1", "typ": "at+jwt"}))


def main() -> None:
    given = json.loads((FOLDER / "index.json").read_text())["given"]
    if sys.argv[1:] == ["--make"]:
        make(given)
    else:
        print(f"PyJWT {jwt.__version__} accepts {check(given)} tokens")


if __name__ == "__main__":
    main()
