"""The URL of a database, SQL_URL, as the app and its nodes read it. Pure.

No message has a text of it: where a URL is not as expected, a password may be anywhere in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from shared.contract.errors import Malformed


class Dialect(StrEnum):
    """A kind of database, by the scheme of its URL."""

    POSTGRESQL = "postgresql"
    MSSQL = "mssql"  # SQL Server, Azure SQL, and the dedicated pools of Synapse


_OPTIONS = {
    Dialect.POSTGRESQL: ("sslmode", "sslrootcert"),
    Dialect.MSSQL: ("encrypt", "trust_server_certificate"),
}


@dataclass(frozen=True, slots=True)
class Database:
    """A database. There is no password in it."""

    dialect: Dialect
    host: str
    port: int | None
    name: str
    user: str  # "": the identity of the node
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Database:
        """Parse a URL such as postgresql://USER@HOST:5432/DATABASE. Raises Malformed, without any text of it."""
        parts = _split_url(text)
        if parts is None:
            raise Malformed(
                "expected postgresql://USER@HOST:5432/DATABASE or mssql://HOST/DATABASE, "
                f"got {len(text)} characters that are none of these"
            )
        if parts.password is not None:
            raise Malformed("expected a URL without a password, which nodes take from SQL_PASSWORD, got one with it")
        dialect, options = Dialect(parts.scheme), _parse_options(parts.query)
        names = _OPTIONS[dialect]
        if options is None or not options.keys() <= set(names):
            raise Malformed(f"expected the options {' and '.join(names)} alone, each once, got others")
        user, database = unquote(parts.username or ""), unquote(parts.path[1:])
        return cls(dialect, parts.hostname or "", parts.port, database, user, options)


def _split_url(text: str) -> SplitResult | None:
    """The parts of a URL that names a database; None for any other text."""
    try:
        parts = urlsplit(text)
        dialect, port = Dialect(parts.scheme), parts.port
    except ValueError:  # another scheme, a port that is none, brackets that are not closed
        return None
    has_user = bool(parts.username) or dialect is Dialect.MSSQL  # libpq would take that of the operating system
    is_port = port != 0 and not parts.netloc.endswith(":")
    # An @ after the host, or a fragment, is the rest of a password that has a / or a # in it.
    is_path = re.fullmatch(r"/[^/@]+", parts.path) is not None and "/" not in unquote(parts.path[1:])
    is_plain = not re.search(r"[\s\x00-\x1f#]", text) and "@" not in parts.query
    is_named = bool(parts.hostname) and (has_user or parts.password is not None)
    return parts if is_named and is_port and is_path and is_plain else None


def _parse_options(query: str) -> Mapping[str, str] | None:
    """The options by their names; None where one comes twice, or is none."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        return None
    options = dict(pairs)
    return options if len(options) == len(pairs) else None
