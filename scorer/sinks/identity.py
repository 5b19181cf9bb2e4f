"""Tokens of the node's identity, for what signs in by them: Event Hubs, and databases at Azure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.contract.publishing.sinks import SinkReason
from shared.contract.text import clip_text, find_sign_in_line

from .base import SinkError

# What azure-identity says of an endpoint that did not answer; it raises the same error for one that did.
_SILENT = (
    "no response from",
    "failed to establish",
    "failed to resolve",
    "timed out",
    "connection aborted",
    "connection reset",
)
_ANSWER = "token request error"  # follows "no response from" where the endpoint has refused


def _open_credential() -> Any:
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """*label*: who wants a token, as messages name it; *expected*: what would do."""

    label: str
    expected: str = "a token of the node's identity"
    credential: Any = field(default_factory=_open_credential)

    def get_token(self, scope: str) -> Any:
        """A token of azure-identity, which keeps it until it ends. Raises SinkError: DENIED, or UNAVAILABLE."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        try:
            return self.credential.get_token(scope)
        except AzureError as error:
            line = find_sign_in_line(str(error))
            is_denied = isinstance(error, ClientAuthenticationError) and _has_answered(line)
            reason = SinkReason.DENIED if is_denied else SinkReason.UNAVAILABLE
            message = f"{self.label}: expected {self.expected}, got none: {clip_text(line)}"
            raise SinkError(reason, message) from error


def _has_answered(line: str) -> bool:
    text = line.lower()
    return _ANSWER in text or not any(words in text for words in _SILENT)
