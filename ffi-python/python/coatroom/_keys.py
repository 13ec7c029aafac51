"""The key ring as text: entries ``number:base64url``, the first one signs."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from coatroom.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One key. Its text never leaves by ``repr``."""

    number: int
    text: str

    @property
    def fingerprint(self) -> str:
        """Tells keys apart, and tells nothing of them: 32 bits of a hash over 256 random ones."""
        return hashlib.sha256(b"coatroom key fingerprint|" + self.material).hexdigest()[:8]

    @property
    def bits(self) -> int:
        return len(self.material) * 8

    def __repr__(self) -> str:
        return f"<key {self.number}>"

    @property
    def material(self) -> bytes:
        key = self.text.partition(":")[2]
        return base64.urlsafe_b64decode(key + "=" * (-len(key) % 4))


def parse(ring: str) -> list[Entry]:
    """The entries of a ring that :class:`coatroom.Sessions` accepts."""
    entries = [entry.strip() for entry in ring.replace("\n", ",").split(",") if entry.strip()]
    try:
        parsed = [Entry(int(entry.partition(":")[0]), entry) for entry in entries]
        if any(key.bits < 256 for key in parsed):
            raise ValueError
    except ValueError:
        # The message of the native module would do, but it wants a store; and nothing of the text may be shown.
        raise ConfigError("the key ring is malformed: entries are `number:base64url`, 32 random bytes each") from None
    if len({key.number for key in parsed}) != len(parsed):
        raise ConfigError("the key ring has a number twice: give each key its own")
    return parsed


def next_number(ring: list[Entry]) -> int:
    """A number that the ring does not have. One that was dropped is not taken again as long as later ones stand."""
    number = max((key.number for key in ring), default=0) + 1
    if number > 65535:
        taken = {key.number for key in ring}
        number = next(free for free in range(1, 65536) if free not in taken)
    return number


def write(path: Path, ring: list[Entry]) -> None:
    """Puts a whole new file in place of the old one, readable by its owner alone."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.writelines(key.text + "\n" for key in ring)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"the key file cannot be written ({type(error).__name__})") from None
