"""What notifications and events over HTTP have in common: how a body is signed, and what an answer means. Pure."""

from __future__ import annotations

import hashlib
import hmac

from .sinks import SinkReason

SIGNATURE = "X-Fleetscore-Signature-256"  # the header
_RETRY_LATER, _DENIED, _CLIENT_ERROR, _SERVER_ERROR = (408, 425, 429), (401, 403), 400, 500


def sign_body(body: bytes, key: str) -> dict[str, str]:
    """The header that signs a body by HMAC-SHA-256, in hex; none without a key."""
    return {SIGNATURE: f"sha256={hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}"} if key else {}


def sort_status(status: int) -> SinkReason:
    """Why a receiver did not take a body, by the status of its answer. A redirect, which is not followed, may pass."""
    if status in _RETRY_LATER or not _CLIENT_ERROR <= status < _SERVER_ERROR:
        return SinkReason.UNAVAILABLE
    return SinkReason.DENIED if status in _DENIED else SinkReason.FAILED
