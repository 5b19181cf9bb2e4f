"""Who may ask what over HTTP: by Microsoft Entra's app roles, or by our own keys, kept as hashes. Pure.

Closed by default where the world can reach it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The app roles of the app's registration at Microsoft Entra, by their values."""

    READER = "Reader"
    OPERATOR = "Operator"  # may read too


class Answer(StrEnum):
    """What the guard says to a request."""

    PASS = "pass"  # noqa: S105  # no password
    UNKNOWN = "unknown"  # nobody signed in, no key, or one that is not ours
    FORBIDDEN = "forbidden"  # a reader, where an operator is wanted; or signed in, without a role
    CLOSED = "closed"  # nothing is configured, and this is no developer's machine


@dataclass(frozen=True, slots=True)
class Guard:
    """SHA-256 hashes of the keys in hex, "" where there is none.

    *signs_in*: App Service authentication stands before the app; it sets the header of the principal, and takes away
    what a client sends under that name. *public*: the world can reach this app.
    """

    read_key_sha256: str = ""
    operate_key_sha256: str = ""
    signs_in: bool = False
    public: bool = False

    def judge(self, key: str, principal: str, *, operates: bool) -> Answer:
        """Whether the bearer of *key*, or the *principal* of that header, may read, or operate."""
        if not (self.read_key_sha256 or self.operate_key_sha256 or self.signs_in):
            return Answer.CLOSED if self.public else Answer.PASS
        roles = self._of_key(key)
        signed_in = self.signs_in and bool(principal)
        if signed_in:
            roles |= roles_of(principal)
        if Role.OPERATOR in roles or (Role.READER in roles and not operates):
            return Answer.PASS
        return Answer.FORBIDDEN if roles or signed_in else Answer.UNKNOWN

    def _of_key(self, key: str) -> frozenset[str]:
        found = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        hashes = {Role.READER: self.read_key_sha256, Role.OPERATOR: self.operate_key_sha256}
        return frozenset(role for role, ours in hashes.items() if hmac.compare_digest(found, ours))


def roles_of(principal: str) -> frozenset[str]:
    """The roles that a header `X-MS-CLIENT-PRINCIPAL` tells; none where it cannot be read.

    Base64 of JSON: {"role_typ": "roles", "claims": [{"typ": "roles", "val": "Reader"}, ...]}. Source:
    https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
    """
    try:
        told = json.loads(base64.b64decode(principal, validate=True))
        types = {"roles", told.get("role_typ")}
        return frozenset(str(claim["val"]) for claim in told["claims"] if claim["typ"] in types)
    except (ValueError, TypeError, KeyError, AttributeError):
        return frozenset()
