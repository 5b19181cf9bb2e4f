"""What a file of predictions was before `fleetscore predictions upgrade` rewrote it. Pure.

The ledger knows a committed part by its etag, and a report knows it by its bytes and MD5. Rewriting changes all three,
and the rows stay. So the rewritten blob says in its metadata what it was, and a commit or a rebuild takes it for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Original:
    """A file as ledger and report know it."""

    etag: str
    bytes: int
    md5: str  # base64

    def to_metadata(self) -> dict[str, str]:
        """For the rewritten blob. Metadata values are text everywhere."""
        return {"original_etag": self.etag, "original_bytes": str(self.bytes), "original_md5": self.md5}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """None for a blob that was not rewritten."""
        etag, size, md5 = (metadata.get(f"original_{name}", "") for name in cls.__slots__)
        return cls(etag, int(size), md5) if etag and size.isdecimal() else None
