"""Who may ask what over HTTP: our own keys, kept as hashes. Closed by default where the world can reach it. Pure."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What the guard says to a request."""

    PASS = "pass"  # noqa: S105  # no password
    UNKNOWN = "unknown"  # no key, or one that is not ours
    FORBIDDEN = "forbidden"  # a reader's key where an operator's is wanted
    CLOSED = "closed"  # nothing is configured, and this is no developer's machine


@dataclass(frozen=True, slots=True)
class Guard:
    """SHA-256 hashes of the keys in hex, "" where there is none; *public*: the world can reach this app."""

    read_key_sha256: str = ""
    operate_key_sha256: str = ""
    public: bool = False

    def judge(self, key: str, *, operates: bool) -> Answer:
        """Whether the bearer of *key* may read, or operate. An operator may do both."""
        if not self.read_key_sha256 and not self.operate_key_sha256:
            return Answer.CLOSED if self.public else Answer.PASS
        found = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        if hmac.compare_digest(found, self.operate_key_sha256):
            return Answer.PASS
        if hmac.compare_digest(found, self.read_key_sha256):
            return Answer.FORBIDDEN if operates else Answer.PASS
        return Answer.UNKNOWN
