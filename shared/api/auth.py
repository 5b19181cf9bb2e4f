"""Who may do what over HTTP: by app roles of Microsoft Entra, or by keys of the app, which are stored as hashes. Pure.

An app that is reachable from the internet is closed until keys or a sign-in are configured.
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


class Decision(StrEnum):
    """The result of a check. `CLOSED`: no keys and no sign-in are configured, and the app is public."""

    ALLOWED = "pass"
    UNAUTHENTICATED = "unknown"  # no sign-in, no key, or an unknown key
    FORBIDDEN = "forbidden"  # a reader where an operator is needed, or signed in without a role
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Authorizer:
    """SHA-256 hashes of the keys in hex, "" where there is none.

    *signs_in*: App Service authentication runs in front of the app; it sets the header of the principal, and removes
    one that a client sends. *public*: the app is reachable from the internet.
    """

    read_key_sha256: str = ""
    operate_key_sha256: str = ""
    signs_in: bool = False
    public: bool = False

    def authorize_request(self, key: str, principal: str, *, operates: bool) -> Decision:
        """Whether the holder of *key*, or the *principal* of that header, may read; or, with *operates*, operate."""
        if not (self.read_key_sha256 or self.operate_key_sha256 or self.signs_in):
            return Decision.CLOSED if self.public else Decision.ALLOWED
        roles = self._find_roles(key)
        signed_in = self.signs_in and bool(principal)
        if signed_in:
            roles |= parse_roles(principal)
        if Role.OPERATOR in roles or (Role.READER in roles and not operates):
            return Decision.ALLOWED
        return Decision.FORBIDDEN if roles or signed_in else Decision.UNAUTHENTICATED

    def _find_roles(self, key: str) -> frozenset[str]:
        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        hashes = {Role.READER: self.read_key_sha256, Role.OPERATOR: self.operate_key_sha256}
        return frozenset(role for role, key_hash in hashes.items() if hmac.compare_digest(digest, key_hash))


def parse_roles(principal: str) -> frozenset[str]:
    """The roles in a header `X-MS-CLIENT-PRINCIPAL`; none where it cannot be read.

    Base64 of JSON: {"role_typ": "roles", "claims": [{"typ": "roles", "val": "Reader"}, ...]}. Source:
    https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
    """
    try:
        document = json.loads(base64.b64decode(principal, validate=True))
        types = {"roles", document.get("role_typ")}
        return frozenset(str(claim["val"]) for claim in document["claims"] if claim["typ"] in types)
    except (ValueError, TypeError, KeyError, AttributeError):
        return frozenset()
